package report

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// What it takes for a ratio to be expected to repeat. The median of n lags that are spread evenly over an interval has a
// standard deviation of one part in √n of itself, and three runs lie 1.7 of that apart on average: with two hundred samples
// on either side they are well within the spread. At p99, five samples have to be beyond it, or it is a matter of one.
const (
	// Spread is how far apart the largest and the smallest of the ratios may be.
	Spread        = 0.20
	medianSamples = 200
	p99Samples    = 500
)

// Ratio is one ratio between contestants, in several runs.
type Ratio struct {
	// Group, Figure and Column say of what; it is to the first column. P99 is set for the ratio of the 99th percentiles.
	Group, Figure, Column string
	P99                   bool
	// Values are by run.
	Values []float64
	// Samples is the smallest number of samples behind a value of a distribution, zero for totals.
	Samples int
	// Judged ratios are those expected to repeat.
	Judged bool
}

// Spread is how much larger the largest value is than the smallest, as a part of it.
func (r Ratio) Spread() float64 {
	low, high := slices.Min(r.Values), slices.Max(r.Values)
	if low == high {
		return 0
	}
	return high/low - 1
}

// Repeats tells whether the values are as close to each other as they have to be.
func (r Ratio) Repeats() bool { return r.Spread() <= Spread }

// Compare finds the ratios that all of several runs have, the judged ones first, and those with the largest spread first
// of all.
func Compare(runs []Results) ([]Ratio, error) {
	if len(runs) < 2 {
		return nil, errors.New("it takes two runs to compare")
	}
	for i, r := range runs {
		if r.Short {
			return nil, fmt.Errorf("run %d is a smoke run, whose figures mean nothing", i+1)
		}
	}
	var all []Ratio
	for _, g := range runs[0].Groups {
		for _, f := range g.Figures {
			if f.Bare {
				continue
			}
			for _, column := range g.Columns[1:] {
				for _, p99 := range []bool{false, true} {
					r := Ratio{Group: g.ID, Figure: f.Name, Column: column, P99: p99}
					if r.collect(runs) {
						all = append(all, r)
					}
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Ratio) int {
		switch {
		case a.Judged == b.Judged:
			return cmp.Compare(b.Spread(), a.Spread())
		case a.Judged:
			return -1
		default:
			return 1
		}
	})
	return all, nil
}

// collect takes the ratio from all runs, and tells whether they all have it.
func (r *Ratio) collect(runs []Results) bool {
	r.Samples = math.MaxInt
	rough := false
	for _, run := range runs {
		g := run.Group(r.Group)
		if g == nil || len(g.Columns) == 0 {
			return false
		}
		base, ok := g.Value(r.Figure, g.Columns[0])
		other, too := g.Value(r.Figure, r.Column)
		if !ok || !too || (r.P99 && min(base.N, other.N) == 0) {
			return false
		}
		of := medianOf
		if r.P99 {
			of = p99Of
		}
		if of(base) <= 0 || of(other) <= 0 {
			return false
		}
		r.Values = append(r.Values, of(other)/of(base))
		r.Samples = min(r.Samples, base.N, other.N)
		rough = rough || g.rough(r.Figure) || r.Column == g.Yardstick
	}
	switch {
	case rough:
	case r.P99:
		r.Judged = r.Samples >= p99Samples
	default:
		r.Judged = r.Samples == 0 || r.Samples >= medianSamples
	}
	return true
}

func (g *Group) rough(name string) bool {
	return slices.ContainsFunc(g.Figures, func(f Figure) bool { return f.Name == name && f.Rough })
}

// Comparison is several runs as text: the ratios that have to repeat, and the others behind them. It also counts the judged
// ones and those of them that do not repeat.
func Comparison(ratios []Ratio) (text string, judged, failed int) {
	var b strings.Builder
	rows := func(title string, of []Ratio) {
		if len(of) == 0 {
			return
		}
		fmt.Fprintf(&b, "### %s\n\n| ratio | samples | values | spread | |\n|---|---:|---|---:|---|\n", title)
		for _, r := range of {
			name, samples, mark := r.Figure, "total", ""
			if r.P99 {
				name += ", p99"
			}
			if r.Samples > 0 {
				samples = fmt.Sprint(r.Samples)
			}
			if r.Judged && !r.Repeats() {
				mark = "**too much**"
			}
			var values []string
			for _, v := range r.Values {
				values = append(values, number(v))
			}
			fmt.Fprintf(&b, "| %s: %s, %s | %s | %s | %.0f %% | %s |\n", r.Group, name, r.Column, samples, strings.Join(values, " "), r.Spread()*100, mark)
		}
		b.WriteString("\n")
	}
	for _, r := range ratios {
		if r.Judged {
			judged++
			if !r.Repeats() {
				failed++
			}
		}
	}
	rows("Ratios that have to repeat", ratios[:judged])
	rows("Ratios of too few samples, or of extremes", ratios[judged:])
	fmt.Fprintf(&b, "%d of %d ratios repeat within %.0f %%.\n", judged-failed, judged, Spread*100)
	return b.String(), judged, failed
}
