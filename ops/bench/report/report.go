// Package report holds the results of a benchmark run, and writes them as JSON, Markdown and SVG.
package report

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Results are a whole run.
type Results struct {
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	// Took is the length of the run in seconds; Short marks a smoke run, whose figures mean little.
	Took    float64  `json:"took_s"`
	Short   bool     `json:"short"`
	Groups  []Group  `json:"groups"`
	Budgets []Budget `json:"budgets"`
}

// Machine is where the run took place.
type Machine struct {
	CPUs     int    `json:"cpus"`
	Model    string `json:"model"`
	MemoryMB int    `json:"memory_mb"`
	OS       string `json:"os"`
	Go       string `json:"go"`
	// Load is the load average over the minute before the run: what else was going on.
	Load string `json:"load"`
}

// Group is a set of figures that belong together: one table and one chart.
type Group struct {
	// ID is the name of its chart's file.
	ID    string `json:"id"`
	Title string `json:"title"`
	// Text says how the figures came about.
	Text string `json:"text"`
	// Columns are the contestants, or the steps of a scale. Ratios are to the first.
	Columns []string `json:"columns"`
	// Yardstick is the column that is no contestant, if there is one.
	Yardstick string   `json:"yardstick,omitempty"`
	Figures   []Figure `json:"figures"`
}

// Figure is one measured quantity; lower is better unless its name says otherwise.
type Figure struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Values are by column. A column without a value is one that the figure does not apply to.
	Values map[string]Value `json:"values"`
	// Bare figures are facts about the run rather than results, such as a number of samples; they get no ratio and no bar.
	Bare bool `json:"bare,omitempty"`
	// Rough figures are extremes, or matters of few events: nobody expects them to be the same in another run.
	Rough bool `json:"rough,omitempty"`
}

// Value is a distribution, or a single number if N is 0.
type Value struct {
	Median float64 `json:"median"`
	P99    float64 `json:"p99,omitempty"`
	N      int     `json:"n,omitempty"`
}

// Budget is a limit and what was measured.
type Budget struct {
	Text     string  `json:"text"`
	Limit    float64 `json:"limit"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	Held     bool    `json:"held"`
}

// Single is a value without a distribution.
func Single(v float64) Value { return Value{Median: v} }

// Of is the distribution of samples; no samples are no value.
func Of(samples []float64) Value {
	if len(samples) == 0 {
		return Value{Median: math.NaN()}
	}
	sorted := slices.Clone(samples)
	slices.SortFunc(sorted, cmp.Compare[float64])
	return Value{Median: Quantile(sorted, 0.5), P99: Quantile(sorted, 0.99), N: len(sorted)}
}

// Quantile interpolates in sorted samples.
func Quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	part := at - float64(low)
	return sorted[low]*(1-part) + sorted[low+1]*part
}

// Millis are durations as samples in milliseconds.
func Millis(ds []time.Duration) []float64 {
	out := make([]float64, len(ds))
	for i, d := range ds {
		out[i] = float64(d) / float64(time.Millisecond)
	}
	return out
}

// Set puts a value into a figure of the group, which is added if it is new. What is no number, such as a share of nothing,
// is no value.
func (g *Group) Set(name, unit, column string, v Value) {
	g.figure(name, unit).set(column, v)
}

// Note is Set for what is a fact about the run rather than a result.
func (g *Group) Note(name, unit, column string, v float64) {
	f := g.figure(name, unit)
	f.Bare = true
	f.set(column, Single(v))
}

// Roughly marks figures of the group as rough.
func (g *Group) Roughly(names ...string) {
	for i := range g.Figures {
		g.Figures[i].Rough = g.Figures[i].Rough || slices.Contains(names, g.Figures[i].Name)
	}
}

func (g *Group) figure(name, unit string) *Figure {
	for i := range g.Figures {
		if g.Figures[i].Name == name {
			return &g.Figures[i]
		}
	}
	g.Figures = append(g.Figures, Figure{Name: name, Unit: unit, Values: make(map[string]Value)})
	return &g.Figures[len(g.Figures)-1]
}

func (f *Figure) set(column string, v Value) {
	if !math.IsNaN(v.Median) && !math.IsInf(v.Median, 0) {
		f.Values[column] = v
	}
}

// Value looks a value up.
func (g *Group) Value(name, column string) (Value, bool) {
	for _, f := range g.Figures {
		if f.Name == name {
			v, ok := f.Values[column]
			return v, ok
		}
	}
	return Value{}, false
}

// Group looks a group up.
func (r *Results) Group(id string) *Group {
	for i := range r.Groups {
		if r.Groups[i].ID == id {
			return &r.Groups[i]
		}
	}
	return nil
}
