package screen

import (
	"fmt"
	"io"
	"strings"
)

// Terminal redraws a table in place. It is not safe for concurrent use.
type Terminal struct {
	out   io.Writer
	width func() int
	lines []string // the table that is on the screen, below which the cursor stands
}

// NewTerminal draws on a terminal of the width that width reports, in columns; 0 or less is unknown.
func NewTerminal(out io.Writer, width func() int) *Terminal {
	return &Terminal{out: out, width: width}
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearBelow = "\x1b[J"
	clearRight = "\x1b[K"
	bold       = "\x1b[1m"
	plain      = "\x1b[0m"
)

// Show implements Display.
func (t *Terminal) Show(v View) {
	t.draw("", table(v))
}

// Note implements Display.
func (t *Terminal) Note(text string) {
	t.draw(strings.TrimRight(text, "\n")+"\n", t.lines)
}

// Close implements Display; the last table stays.
func (t *Terminal) Close() {
	_, _ = io.WriteString(t.out, showCursor)
}

// draw writes text where the table was and the table below it, in one write so that nothing flickers.
func (t *Terminal) draw(text string, lines []string) {
	var b strings.Builder
	b.WriteString(hideCursor)
	if n := len(t.lines); n > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", n)
	}
	if text != "" {
		b.WriteString(clearBelow + text)
	}
	width := t.width()
	for i, line := range lines {
		line = clip(line, width)
		if i < 2 { // what is no row of a node
			line = bold + line + plain
		}
		b.WriteString(line + clearRight + "\n")
	}
	b.WriteString(clearBelow)
	t.lines = lines
	_, _ = io.WriteString(t.out, b.String())
}

// clip cuts a line to the width: one that wraps would take two lines of the screen.
func clip(line string, width int) string {
	runes := []rune(line)
	if width <= 0 || len(runes) <= width {
		return line
	}
	return string(runes[:width])
}
