package printable

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	oplog "github.com/ethereum-optimism/optimism/op-service/log"
)

const nasty = "a\u0007b\u009b31mc\u202ed\u2066e\u200ff\u2028g\ufeffh\x1b[2J\ri"

type shown struct{ Name string }

// Whatever the format, and wherever in a record foreign text stands, a log has only characters that stand for themselves.
func TestHandler(t *testing.T) {
	for _, format := range []oplog.FormatType{oplog.FormatText, oplog.FormatTerminal, oplog.FormatLogFmt, oplog.FormatJSON} {
		t.Run(format.String(), func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(Handler(oplog.NewLogHandler(&out, oplog.CLIConfig{Level: slog.LevelInfo, Format: format})))
			log.With("peer", nasty).Info("said "+nasty, "text", nasty, "err", errors.New(nasty), "list", []string{nasty},
				"struct", &shown{nasty}, slog.Group("in", "deep", nasty), nasty, 1, "number", 7, "words", "for humans\n\tin lines")
			require.NotEmpty(t, out.String())
			for _, r := range out.String() {
				require.True(t, unicode.IsPrint(r) || r == '\n' || r == '\t', "%U in %q", r, out.String())
			}
			require.Contains(t, out.String(), "words")
		})
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"plain = \"text\" 節點": "plain = \"text\" 節點",
		"two\n\tlines":        "two\n\tlines",
		"\u202egnp.exe":       `\u202egnp.exe`,
		"\u009b1m \x07\r":     `\u009b1m \a\r`,
		"cut\xffoff":          "cut\ufffdoff",
		"it's \u200b":         `it's \u200b`,
	} {
		require.Equal(t, want, Text(in))
	}
}

func TestLevelCanBeReached(t *testing.T) {
	inner := slog.NewTextHandler(&bytes.Buffer{}, nil)
	unwrapper, ok := Handler(inner).(interface{ Unwrap() slog.Handler })
	require.True(t, ok)
	require.Same(t, slog.Handler(inner), unwrapper.Unwrap())
}
