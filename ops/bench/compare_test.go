package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/bench/report"
)

func TestCompareFiles(t *testing.T) {
	written := func(theirs float64) string {
		g := report.Group{ID: "g", Columns: []string{report.Ours, report.UpstreamFollow}}
		g.Set("f", "", report.Ours, report.Single(1))
		g.Set("f", "", report.UpstreamFollow, report.Single(theirs))
		r := report.Results{Groups: []report.Group{g}}
		dir := t.TempDir()
		require.NoError(t, r.Write(dir))
		return filepath.Join(dir, "results.json")
	}
	var out bytes.Buffer
	require.NoError(t, compare(&out, []string{written(2), written(2.3), written(2.2)}))
	require.Contains(t, out.String(), "1 of 1 ratios repeat")
	out.Reset()
	require.ErrorContains(t, compare(&out, []string{written(2), written(3)}), "1 of 1 ratios do not repeat")
	require.Contains(t, out.String(), "| g: f, upstream, follow | total | 2 3 | 50 % | **too much** |")

	broken := filepath.Join(t.TempDir(), "x.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o644))
	require.ErrorContains(t, compare(&out, []string{written(2), broken}), broken)
	require.ErrorIs(t, compare(&out, []string{written(2), "nowhere.json"}), os.ErrNotExist)
}
