package report

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Markdown is the run as text. Charts are linked by the names that Write gives them, below the prefix.
func (r *Results) Markdown(charts string) string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "Run of %s, %s, on %d CPUs (%s), %d MB, %s, %s; load before the run: %s.\n\n",
		r.Date.Format("2006-01-02 15:04 MST"), time.Duration(r.Took*float64(time.Second)).Round(time.Second),
		m.CPUs, m.Model, m.MemoryMB, m.OS, m.Go, m.Load)
	if r.Short {
		b.WriteString("**A smoke run: its figures mean little.**\n\n")
	}
	b.WriteString("Each cell is the median, with p99 behind a slash where there is a distribution, and in brackets the ratio of its median " +
		"to the first column's.\n\n")
	if len(r.Budgets) > 0 {
		b.WriteString("### Budgets\n\n| budget | limit | measured | held |\n|---|---:|---:|---|\n")
		for _, budget := range r.Budgets {
			held := "yes"
			if !budget.Held {
				held = "**no**"
			}
			fmt.Fprintf(&b, "| %s | %s %s | %s %s | %s |\n", budget.Text, number(budget.Limit), budget.Unit,
				number(budget.Measured), budget.Unit, held)
		}
		b.WriteString("\n")
	}
	for _, g := range r.Groups {
		g.markdown(&b, charts)
	}
	return b.String()
}

func (g *Group) markdown(b *strings.Builder, charts string) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n| figure | unit |", g.Title, g.Text)
	for _, c := range g.Columns {
		fmt.Fprintf(b, " %s |", c)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---:|", len(g.Columns)) + "\n")
	for _, f := range g.Figures {
		fmt.Fprintf(b, "| %s | %s |", f.Name, f.Unit)
		for i, c := range g.Columns {
			fmt.Fprintf(b, " %s |", f.cell(g.Columns[0], c, i > 0))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "\n![%s](%s%s.svg)\n\n", g.Title, charts, g.ID)
}

func (f *Figure) cell(first, column string, ratio bool) string {
	v, ok := f.Values[column]
	if !ok {
		return "–"
	}
	text := number(v.Median)
	if v.N > 0 {
		text += " / " + number(v.P99)
	}
	if base, ok := f.Values[first]; ok && ratio && !f.Bare && base.Median > 0 {
		text += fmt.Sprintf(" (%s×)", number(v.Median/base.Median))
	}
	return text
}

// number has three digits that count.
func number(v float64) string {
	size := math.Abs(v)
	switch {
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case size >= 0.01:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.2g", v)
	}
}
