package smoke

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/bench/report"
)

// A short run comes to an end, with figures in all groups for all contestants. What they are worth is not looked at: the
// machine may be busy.
func TestShortRun(t *testing.T) {
	dir := t.TempDir()
	opNode, upstream := build(t, dir, "op-node/cmd"), filepath.Join(dir, "upstream-op-node")
	_ = runProgram(t, build(t, dir, "ops/bench/buildupstream"), "--out="+upstream, "--dir=../../../bin/upstream")
	results := filepath.Join(dir, "results")
	table := runProgram(t, build(t, dir, "ops/bench"), "--short", "--op-node="+opNode, "--upstream="+upstream, "--out="+results)
	require.Contains(t, table, "### Devnet: lag")

	data, err := os.ReadFile(filepath.Join(results, "results.json"))
	require.NoError(t, err)
	var r report.Results
	require.NoError(t, json.Unmarshal(data, &r))
	require.True(t, r.Short)
	require.NotEmpty(t, r.Budgets)
	two := []string{report.Ours, report.UpstreamFollow}
	three := append(two[:2:2], report.UpstreamDerive)
	for _, want := range []struct {
		group, figure string
		columns       []string
	}{
		{report.LiveLag, report.LagSafe, three},
		{report.LiveCalls, report.SourceRequests, two},
		{report.LiveCost, report.AllocsPerBlock, three},
		{report.ModelFollow, report.LagSafe, two},
		{"model-fleet", "3 followers: requests per minute to the source", two},
		{report.ModelRecovery, report.RecoveryPolls, two},
		{report.ModelBacklog, "allocations per payload", two},
	} {
		g := r.Group(want.group)
		require.NotNil(t, g, want.group)
		require.FileExists(t, filepath.Join(results, want.group+".svg"))
		for _, column := range want.columns {
			v, ok := g.Value(want.figure, column)
			require.True(t, ok, "%s, %s of %s", want.group, want.figure, column)
			require.Positive(t, v.Median, "%s, %s of %s", want.group, want.figure, column)
		}
	}
}

func TestFlagsThatCannotWork(t *testing.T) {
	program := build(t, t.TempDir(), "ops/bench")
	for flag, complaint := range map[string]string{
		"--only=devnet,nothing": "--only",
		"--op-node=/nowhere":    "make bench",
		"--nothing":             "not defined",
		"nothing":               "--compare",
		"--compare":             "two runs",
	} {
		out, err := exec.CommandContext(t.Context(), program, flag).CombinedOutput()
		require.Error(t, err, flag)
		require.Contains(t, string(out), complaint)
	}
}

// build compiles a program of this module.
func build(t *testing.T, dir, pkg string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(pkg))
	_ = runProgram(t, "go", "build", "-o", path, "github.com/lightcl/op-node/"+pkg)
	return path
}

// runProgram returns what a program printed, and fails the test with all of it if the program fails.
func runProgram(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
