// Package screen shows the state of a devnet: as a table that is redrawn in place on a terminal, and as a line for
// each change anywhere else.
package screen

import (
	"fmt"
	"strings"
	"time"

	"github.com/lightcl/op-node/ops/devnet/mirror"
)

// View is the state to show.
type View struct {
	// Elapsed is the time since everything was up.
	Elapsed time.Duration
	// L1 and L1Final are L1's head and its newest final block.
	L1, L1Final mirror.Ref
	// State is a word or two on how the run is going.
	State string
	Rows  []Row
}

// Row is one node.
type Row struct {
	Name  string
	Heads mirror.Heads
	// Lag is how late the node showed its safe head, compared with the source; negative is unknown.
	Lag time.Duration
	// Note says what is the matter; it replaces the heads when the node does not answer.
	Note string
}

// NoLag is the lag of a node that is not compared.
const NoLag = time.Duration(-1)

// Display shows views and, between them, lines that stay.
type Display interface {
	// Show makes v the current state.
	Show(v View)
	// Note prints a text, which may have several lines, and keeps it.
	Note(text string)
	// Close leaves the display in a state for others to write on.
	Close()
}

const nameWidth = 12

// header names the columns of a table's rows.
func header() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", nameWidth, "")
	for _, l := range mirror.Labels() {
		fmt.Fprintf(&b, " %14s", l)
	}
	fmt.Fprintf(&b, " %9s", "safe lag")
	return b.String()
}

// line is a row of the table.
func line(r Row) string {
	if r.Note != "" {
		return fmt.Sprintf("%-*s %s", nameWidth, r.Name, r.Note)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", nameWidth, r.Name)
	for _, l := range mirror.Labels() {
		fmt.Fprintf(&b, " %14s", r.Heads[l])
	}
	fmt.Fprintf(&b, " %9s", lag(r.Lag))
	return b.String()
}

func lag(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func clock(d time.Duration) string { return fmt.Sprintf("%7.1fs", d.Seconds()) }

// table is the whole view, a line each.
func table(v View) []string {
	lines := []string{
		strings.TrimSpace(fmt.Sprintf("%s  L1 head %s  finalized %s   %s", strings.TrimSpace(clock(v.Elapsed)), v.L1, v.L1Final, v.State)),
		header(),
	}
	for _, r := range v.Rows {
		lines = append(lines, line(r))
	}
	return lines
}
