package rules

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/patches/series"
)

// maxRemoved is how many lines of upstream the series may remove, and so hold.
const maxRemoved = 80

func loadSeries(t *testing.T) []series.Patch {
	t.Helper()
	all, err := series.Load(filepath.Join(root, "patches", "series"))
	require.NoError(t, err)
	return all
}

func upstreamDir(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", upstream).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// What upstream's maintainers get is in their form, and holds none of their lines but the few that it removes.
func TestPatches(t *testing.T) {
	all, dir := loadSeries(t), upstreamDir(t)
	for i, p := range all {
		require.Empty(t, p.Problems())
		require.Equal(t, p.FileName(i+1), p.File, "the number or the title has changed: make patches-save")
	}
	require.LessOrEqual(t, series.Total(all).Removed, maxRemoved)
	shared, err := series.Overlap(all, dir, 6)
	require.NoError(t, err)
	require.Empty(t, shared)
	unknown, err := series.Claims(all, dir)
	require.NoError(t, err)
	require.Empty(t, unknown)
}
