package screen

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/mirror"
)

func ref(number uint64) mirror.Ref {
	return mirror.Ref{Number: number, Hash: common.Hash{byte(number), 0xbb, 0xcc, 0xdd}}
}

func row(name string, unsafe, safe uint64) Row {
	r := Row{Name: name, Lag: NoLag}
	r.Heads[mirror.Unsafe], r.Heads[mirror.LocalSafe], r.Heads[mirror.Safe] = ref(unsafe), ref(safe), ref(safe)
	return r
}

func view(at time.Duration, rows ...Row) View {
	return View{Elapsed: at, L1: ref(6), L1Final: ref(3), State: "watching", Rows: rows}
}

func TestTable(t *testing.T) {
	follower := row("follower-1", 12, 9)
	follower.Lag = 35 * time.Millisecond
	dead := Row{Name: "follower-2", Note: "no answer: connection refused"}
	got := strings.Join(table(view(12340*time.Millisecond, row("source", 12, 9), follower, dead)), "\n")
	require.Equal(t, strings.Trim(`
12.3s  L1 head 6:06bbcc  finalized 3:03bbcc   watching
                     unsafe     local_safe           safe      finalized     current_l1  safe lag
source            12:0cbbcc       9:09bbcc       9:09bbcc              -              -         -
follower-1        12:0cbbcc       9:09bbcc       9:09bbcc              -              -     35 ms
follower-2   no answer: connection refused
`, "\n"), got)
}

// terminal keeps what a terminal would show of the output, for the few sequences that are used.
type terminal struct {
	rows   []string
	cursor int
}

var sequence = regexp.MustCompile(`^\x1b\[\??([0-9]*)([A-Za-z])`)

func (s *terminal) Write(p []byte) (int, error) {
	text := string(p)
	col := ""
	for text != "" {
		if m := sequence.FindStringSubmatch(text); m != nil {
			switch m[2] {
			case "A":
				n, _ := strconv.Atoi(m[1])
				s.cursor -= n
			case "J":
				if s.cursor < len(s.rows) {
					s.rows = s.rows[:s.cursor]
				}
			}
			text = text[len(m[0]):]
			continue
		}
		switch c := text[0]; c {
		case '\n':
			for len(s.rows) <= s.cursor {
				s.rows = append(s.rows, "")
			}
			s.rows[s.cursor] = col
			s.cursor++
			col = ""
		case '\r':
		default:
			col += string(c)
		}
		text = text[1:]
	}
	return len(p), nil
}

func TestTerminalRedrawsInPlaceBelowTheNotes(t *testing.T) {
	var screen terminal
	term := NewTerminal(&screen, func() int { return 0 })
	term.Note("hello\nworld\n")
	first := view(time.Second, row("source", 1, 0), row("follower-1", 1, 0))
	term.Show(first)
	require.Equal(t, append([]string{"hello", "world"}, table(first)...), screen.rows)

	second := view(2*time.Second, row("source", 2, 0))
	term.Show(second)
	require.Equal(t, append([]string{"hello", "world"}, table(second)...), screen.rows, "a smaller table leaves nothing behind")

	term.Note("safe first mirrored")
	require.Equal(t, append([]string{"hello", "world", "safe first mirrored"}, table(second)...), screen.rows)
	term.Show(first)
	require.Equal(t, append([]string{"hello", "world", "safe first mirrored"}, table(first)...), screen.rows)
}

func TestTerminalClipsToTheWidth(t *testing.T) {
	var screen terminal
	term := NewTerminal(&screen, func() int { return 20 })
	term.Show(view(0, row("source", 1, 0)))
	for _, line := range screen.rows {
		require.LessOrEqual(t, len(line), 20)
	}
	require.Len(t, screen.rows, 3)
}

func TestTerminalGivesTheCursorBack(t *testing.T) {
	var out bytes.Buffer
	term := NewTerminal(&out, func() int { return 80 })
	term.Show(view(0))
	term.Close()
	require.Contains(t, out.String(), hideCursor)
	require.True(t, strings.HasSuffix(out.String(), showCursor))
}

func TestLinesPrintChanges(t *testing.T) {
	var out bytes.Buffer
	lines := NewLines(&out)
	at := func(s float64, rows ...Row) string {
		out.Reset()
		lines.Show(view(time.Duration(s*float64(time.Second)), rows...))
		return out.String()
	}
	follower := row("follower-1", 1, 0)
	follower.Lag = 20 * time.Millisecond
	require.Equal(t, "    1.0s  l1=6:06bbcc  source       unsafe=1:01bbcc local_safe=0:00bbcc safe=0:00bbcc finalized=- current_l1=-\n"+
		"    1.0s  l1=6:06bbcc  follower-1   unsafe=1:01bbcc local_safe=0:00bbcc safe=0:00bbcc finalized=- current_l1=- safe_lag_ms=20\n",
		at(1, row("source", 1, 0), follower))
	require.Empty(t, at(2, row("source", 1, 0), follower), "nothing changed")
	require.Empty(t, at(3, row("source", 2, 0), follower), "only unsafe changed")
	require.Contains(t, at(4, row("source", 3, 2), follower), "safe=2:02bbcc")
	require.Contains(t, at(9, row("source", 4, 2), follower), "unsafe=4:04bbcc", "unsafe changed and it has been a while")
	require.Contains(t, at(9.1, Row{Name: "source", Note: "no answer"}), "source       no answer")
	require.Empty(t, at(9.2, Row{Name: "source", Note: "no answer"}))
	out.Reset()
	lines.Note("a note\n")
	lines.Close()
	require.Equal(t, "a note\n", out.String())
}
