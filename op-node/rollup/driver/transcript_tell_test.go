package driver_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// telling is a line of a transcript to be: something that happened once or several times in a row.
type telling struct {
	from, to time.Duration
	times    int
	text     string
	// first and last are the ends of a row of blocks that became the head, verb is how.
	verb, first, last string
	// quick tells that they were overdue.
	quick bool
}

// Tell implements testutil.Story.
func (s *story) Tell() string {
	s.mu.Lock()
	events := slices.Clone(s.events)
	s.mu.Unlock()
	slices.SortStableFunc(events, func(a, b happening) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.rank - b.rank
	})
	var out strings.Builder
	for _, line := range condense(events, s.began) {
		out.WriteString(line.String() + "\n")
	}
	for _, line := range s.changes() {
		out.WriteString(line + "\n")
	}
	if out.Len() == 0 {
		return "ok"
	}
	return out.String()
}

// condense shows rows of blocks by their ends, and what repeats itself by how often. What repeats itself does not
// interrupt a row.
func condense(events []happening, began time.Time) (lines []telling) {
	for _, e := range events {
		now := telling{from: e.at.Sub(began), to: e.at.Sub(began), times: 1, text: e.text,
			verb: e.verb, first: e.block, last: e.block}
		if i := now.goesOn(lines); i >= 0 {
			lines[i].add(now)
		} else {
			lines = append(lines, now)
		}
	}
	return lines
}

// goesOn finds the line that a new one can be added to; -1 is none.
func (l telling) goesOn(lines []telling) int {
	const lookBack = 4
	for i := len(lines) - 1; i >= max(0, len(lines)-lookBack); i-- {
		switch before := lines[i]; {
		case l.first == "" && before.text == l.text && before.first == "":
			return i
		case l.first == "":
		case before.first == "" && before.times == 1:
			return -1 // something happened between the blocks
		case before.first != "" && before.verb == l.verb && (before.times == 1 || before.quick == (l.from-before.to < time.Second)):
			return i
		case before.first != "":
			return -1 // another measure
		}
	}
	return -1
}

func (l *telling) add(next telling) {
	l.quick = l.first != "" && next.from-l.to < time.Second
	l.last, l.to = next.last, next.to
	l.times++
}

// String is a line with its time, in tenths of seconds since the command.
func (l telling) String() string {
	const tenth = 100 * time.Millisecond
	from, to := l.from.Round(tenth), l.to.Round(tenth)
	text := l.text
	switch {
	case l.first != "" && l.times == 1:
		text = l.verb + " " + l.first
	case l.quick:
		text = fmt.Sprintf("%s %s..%s at once", l.verb, l.first, l.last)
	case l.first != "":
		text = fmt.Sprintf("%s %s..%s", l.verb, l.first, l.last)
	case l.times > 1:
		text += fmt.Sprintf(" (%d times)", l.times)
	}
	at := ""
	if from > 0 || to > 0 {
		at = fmt.Sprintf("+%.1fs", from.Seconds())
	}
	if to-from >= time.Second {
		at += fmt.Sprintf(" to +%.1fs", to.Seconds())
	}
	return strings.TrimLeft(fmt.Sprintf("%-16s %s", at, text), " ")
}
