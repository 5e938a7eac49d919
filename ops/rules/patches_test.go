package rules

import (
	"fmt"
	"os"
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

// sentAtOnce is the number of patches that need no issue first.
const sentAtOnce = 9

// The cover letter lists the patches as they are, shows what they claim to have been measured, and knows the issues to open.
func TestPatchesCoverLetter(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "patches", "README.md"))
	require.NoError(t, err)
	letter := string(text)
	for i, p := range loadSeries(t) {
		size := p.Size()
		_, title, _ := strings.Cut(p.Subject, ": ")
		require.Contains(t, letter, fmt.Sprintf("| %d | [%s](series/%s) |", i+1, title, p.File))
		row := letter[strings.Index(letter, "](series/"+p.File):]
		row, _, _ = strings.Cut(row, "\n")
		require.Contains(t, row, fmt.Sprintf("| %d | %d | %d |", size.Code, size.Tests, size.Removed), p.File)
		if claim, ok := strings.CutPrefix(p.Notes[series.NoteAnswers], "Measured: "); ok {
			require.Contains(t, letter, claim, "what %s says was measured", p.File)
			require.Contains(t, row, claim)
		} else {
			require.Contains(t, row, p.Notes[series.NoteAnswers])
		}
		issue := fmt.Sprintf("issues/%04d.md", i+1)
		require.Equal(t, i >= sentAtOnce, exists(filepath.Join(root, "patches", issue)), issue)
		require.Equal(t, i >= sentAtOnce, strings.Contains(row, issue), p.File)
	}
}
