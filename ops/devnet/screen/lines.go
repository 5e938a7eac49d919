package screen

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lightcl/op-node/ops/devnet/mirror"
)

// unsafePause is how often a row is printed that changed in nothing but its unsafe head.
const unsafePause = 5 * time.Second

// Lines prints a line whenever a node's labels change. It is not safe for concurrent use.
type Lines struct {
	out     io.Writer
	printed map[string]printed
}

type printed struct {
	row Row
	at  time.Duration
}

// NewLines prints on out.
func NewLines(out io.Writer) *Lines { return &Lines{out: out, printed: make(map[string]printed)} }

// Show implements Display.
func (l *Lines) Show(v View) {
	for _, row := range v.Rows {
		last, seen := l.printed[row.Name]
		if seen && !worthALine(last, row, v.Elapsed) {
			continue
		}
		l.printed[row.Name] = printed{row: row, at: v.Elapsed}
		_, _ = fmt.Fprintf(l.out, "%s  l1=%s  %s\n", clock(v.Elapsed), v.L1, words(row))
	}
}

// Note implements Display.
func (l *Lines) Note(text string) {
	_, _ = fmt.Fprintln(l.out, strings.TrimRight(text, "\n"))
}

// Close implements Display.
func (l *Lines) Close() {}

func worthALine(last printed, now Row, at time.Duration) bool {
	was, is := last.row, now
	if was.Note != is.Note {
		return true
	}
	if is.Note != "" || was.Heads == is.Heads {
		return false
	}
	was.Heads[mirror.Unsafe] = is.Heads[mirror.Unsafe]
	return was.Heads != is.Heads || at-last.at >= unsafePause
}

// words is a row for people who search with grep.
func words(r Row) string {
	if r.Note != "" {
		return fmt.Sprintf("%-*s %s", nameWidth, r.Name, r.Note)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", nameWidth, r.Name)
	for _, label := range mirror.Labels() {
		fmt.Fprintf(&b, " %s=%s", label, r.Heads[label])
	}
	if r.Lag >= 0 {
		fmt.Fprintf(&b, " safe_lag_ms=%d", r.Lag.Milliseconds())
	}
	return b.String()
}
