package report

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// runs are results that differ in one value.
func runs(set func(g *Group, v float64), values ...float64) (all []Results) {
	for _, v := range values {
		g := Group{ID: "g", Columns: []string{"ours", "theirs"}}
		set(&g, v)
		all = append(all, Results{Groups: []Group{g}})
	}
	return all
}

func TestCompareJudges(t *testing.T) {
	total := func(g *Group, v float64) {
		g.Set("f", "", "ours", Single(2))
		g.Set("f", "", "theirs", Single(v))
	}
	distribution := func(n int) func(g *Group, v float64) {
		return func(g *Group, v float64) {
			g.Set("f", "", "ours", Value{Median: 1, P99: 1, N: n + 1})
			g.Set("f", "", "theirs", Value{Median: v, P99: 4, N: n})
		}
	}
	type verdict struct {
		p99, judged, repeats bool
		spread               float64
		samples              int
	}
	for name, test := range map[string]struct {
		runs []Results
		want []verdict
	}{
		"equal":             {runs(total, 3, 3, 3), []verdict{{judged: true, repeats: true}}},
		"close":             {runs(total, 5, 6, 5.5), []verdict{{judged: true, repeats: true, spread: 0.2}}},
		"apart":             {runs(total, 5, 5, 6.5), []verdict{{judged: true, spread: 0.3}}},
		"in the middle run": {runs(total, 6.5, 5, 6.5), []verdict{{judged: true, spread: 0.3}}},
		"few samples":       {runs(distribution(199), 5, 50), []verdict{{spread: 9, samples: 199}, {p99: true, repeats: true, samples: 199}}},
		"enough for a median": {runs(distribution(200), 5, 50),
			[]verdict{{judged: true, spread: 9, samples: 200}, {p99: true, repeats: true, samples: 200}}},
		"enough for p99": {runs(distribution(500), 5, 50),
			[]verdict{{judged: true, spread: 9, samples: 500}, {p99: true, judged: true, repeats: true, samples: 500}}},
		"a note": {runs(func(g *Group, v float64) {
			g.Note("f", "", "ours", 1)
			g.Note("f", "", "theirs", v)
		}, 1, 2), nil},
		"an extreme": {runs(func(g *Group, v float64) {
			total(g, v)
			g.Roughly("f")
		}, 1, 2), []verdict{{spread: 1}}},
		"a yardstick": {runs(func(g *Group, v float64) {
			total(g, v)
			g.Yardstick = "theirs"
		}, 1, 2), []verdict{{spread: 1}}},
		"nothing to divide by": {runs(func(g *Group, v float64) {
			g.Set("f", "", "ours", Single(0))
			g.Set("f", "", "theirs", Single(v))
		}, 1, 2), nil},
		"missing in one run": {append(runs(total, 1), Results{}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			ratios, err := Compare(test.runs)
			require.NoError(t, err)
			var got []verdict
			for _, r := range ratios {
				require.Len(t, r.Values, len(test.runs))
				got = append(got, verdict{r.P99, r.Judged, r.Repeats(), 0, r.Samples})
				require.InDelta(t, test.want[len(got)-1].spread, r.Spread(), 1e-9)
				got[len(got)-1].spread = test.want[len(got)-1].spread
			}
			require.ElementsMatch(t, test.want, got)
		})
	}
}

func TestCompareOrderAndText(t *testing.T) {
	var all []Results
	for _, v := range []float64{1, 1.1, 1.5} {
		g := Group{ID: "g", Columns: []string{"ours", "theirs"}}
		g.Set("steady", "", "ours", Single(1))
		g.Set("steady", "", "theirs", Single(2))
		g.Set("few", "ms", "ours", Value{Median: 1, P99: 1, N: 9})
		g.Set("few", "ms", "theirs", Value{Median: v * v, P99: 1, N: 9})
		g.Set("wild", "", "ours", Single(1))
		g.Set("wild", "", "theirs", Single(v))
		all = append(all, Results{Groups: []Group{g}})
	}
	ratios, err := Compare(all)
	require.NoError(t, err)
	var names []string
	for _, r := range ratios {
		names = append(names, r.Figure)
	}
	require.Equal(t, []string{"wild", "steady", "few", "few"}, names)
	text, judged, failed := Comparison(ratios)
	require.Equal(t, 2, judged)
	require.Equal(t, 1, failed)
	require.Contains(t, text, "| g: wild, theirs | total | 1 1.10 1.50 | 50 % | **too much** |")
	require.Contains(t, text, "| g: steady, theirs | total | 2 2 2 | 0 % |  |")
	require.Contains(t, text, "| g: few, theirs | 9 | 1 1.21 2.25 | 125 % |  |")
	require.Contains(t, text, "1 of 2 ratios repeat within 20 %.")
}

func TestCompareRefuses(t *testing.T) {
	_, err := Compare([]Results{{}})
	require.ErrorContains(t, err, "two runs")
	_, err = Compare([]Results{{}, {Short: true}})
	require.ErrorContains(t, err, "run 2 is a smoke run")
}
