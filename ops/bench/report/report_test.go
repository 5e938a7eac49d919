package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDistribution(t *testing.T) {
	var samples []float64
	for i := 100; i >= 0; i-- {
		samples = append(samples, float64(i))
	}
	require.Equal(t, Value{Median: 50, P99: 99, N: 101}, Of(samples))
	require.Equal(t, 100.0, samples[0], "the samples are left as they were")
	require.Equal(t, Value{Median: 1.5, P99: 1.99, N: 2}, Of([]float64{2, 1}))
	require.Equal(t, Value{Median: 7, P99: 7, N: 1}, Of([]float64{7}))
	require.True(t, math.IsNaN(Of(nil).Median))
	require.Equal(t, []float64{1500, 0.5}, Millis([]time.Duration{1500 * time.Millisecond, 500 * time.Microsecond}))
}

func example() Results {
	g := Group{ID: "lag", Title: "Lag & calls", Text: "How it was measured.", Columns: []string{"ours", "theirs", "derive"}}
	g.Set("safe lag", "ms", "ours", Value{Median: 25, P99: 90, N: 40})
	g.Set("safe lag", "ms", "theirs", Value{Median: 1000, P99: 1990, N: 40})
	g.Set("share of nothing", "", "ours", Single(math.NaN()))
	g.Set("share of nothing", "", "theirs", Single(math.Inf(1)))
	g.Note("samples", "", "ours", 40)
	g.Note("samples", "", "theirs", 20)
	return Results{
		Date: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Took: 61,
		Machine: Machine{CPUs: 2, Model: "a <fast> one", MemoryMB: 4096, OS: "linux", Go: "go1.26", Load: "0.1"},
		Groups:  []Group{g},
		Budgets: []Budget{{Text: "lag", Limit: 0.25, Measured: 0.025, Unit: "×", Held: true}, {Text: "calls", Limit: 1, Measured: 2}},
	}
}

func TestMarkdown(t *testing.T) {
	r := example()
	text := r.Markdown("results/")
	for _, want := range []string{
		"Run of 2026-11-22 09:00 UTC, 1m1s, on 2 CPUs",
		"| lag | 0.25 × | 0.03 × | yes |",
		"| calls | 1  | 2  | **no** |",
		"| safe lag | ms | 25.0 / 90.0 | 1000 / 1990 (40.0×) | – |",
		"| share of nothing |  | – | – | – |",
		"| samples |  | 40.0 | 20.0 | – |",
		"![Lag & calls](results/lag.svg)",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "smoke run")
	r.Short = true
	require.Contains(t, r.Markdown(""), "smoke run")
}

func TestChart(t *testing.T) {
	r := example()
	svg := r.Groups[0].SVG()
	require.Equal(t, 2, strings.Count(svg, `height="11"`)-len(r.Groups[0].Columns), "one bar for each value that is a result")
	require.Contains(t, svg, "Lag &amp; calls")
	require.NotContains(t, svg, "samples")
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	r := example()
	require.NoError(t, r.Write(dir))
	data, err := os.ReadFile(filepath.Join(dir, "results.json"))
	require.NoError(t, err)
	var back Results
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, r, back)
	for _, name := range []string{"results.md", "lag.svg"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	v, ok := back.Group("lag").Value("safe lag", "theirs")
	require.True(t, ok)
	require.Equal(t, 1000.0, v.Median)
	_, ok = back.Group("lag").Value("safe lag", "derive")
	require.False(t, ok)
	require.Nil(t, back.Group("other"))
}

func TestJudge(t *testing.T) {
	g := Group{ID: LiveLag, Columns: []string{Ours, UpstreamFollow}}
	g.Set(LagSafe, "ms", Ours, Value{Median: 100, P99: 1500, N: 9})
	g.Set(LagSafe, "ms", UpstreamFollow, Value{Median: 1000, P99: 2000, N: 9})
	g.Set(FirstApplied, "ms", Ours, Value{Median: 300, P99: 400, N: 9})
	r := Results{Groups: []Group{g}}
	r.Judge()
	require.Equal(t, []Budget{
		{Text: "devnet: safe lag, median, to upstream's", Limit: 0.25, Measured: 0.1, Unit: "×", Held: true},
		{Text: "devnet: safe lag, p99, to upstream's", Limit: 0.5, Measured: 0.75, Unit: "×"},
		{Text: "devnet: process start to first applied status, median", Limit: 1000, Measured: 300, Unit: "ms", Held: true},
	}, r.Budgets)
}

func TestEmbed(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "README.md")
	r := example()
	require.NoError(t, os.WriteFile(document, []byte("# Title\n"), 0o644))
	require.ErrorContains(t, r.Embed(document, dir), "marks")
	require.NoError(t, os.WriteFile(document, []byte("# Title\n"+beginMark+"\nold\n"+endMark+"\nThe end.\n"), 0o644))
	for range 2 {
		require.NoError(t, r.Embed(document, filepath.Join(dir, "results")))
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		require.Equal(t, "# Title\n"+beginMark+"\n\n"+r.Markdown("results/")+endMark+"\nThe end.\n", string(text))
	}
}
