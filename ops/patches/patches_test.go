package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReason(t *testing.T) {
	for want, said := range map[string]string{
		"Error: Not equal: expected: 5 actual : 0": "    x_test.go:3:\n\tError Trace:\tx_test.go:3\n\tError:      \tNot equal:\n\t\texpected: 5\n\t\tactual  : 0\n",
		"./x_test.go:4:2: undefined: FollowEvent":  "# pkg\n./x_test.go:4:2: undefined: FollowEvent\n",
		"WARNING: DATA RACE":                       "==================\nWARNING: DATA RACE\nWrite at 0x1\n",
		"panic: mock: I don't know what to return": "panic: mock: I don't know what to return\n",
		"it fails": "--- FAIL: TestX\n",
		"./x_test.go:5:9: unknown field y in struct X": "./x_test.go:5:9: unknown field y in struct X\n",
	} {
		require.Equal(t, want, reason(outcome{said: map[string]string{"pkg TestX": said}}))
	}
}

func TestKnownFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known")
	require.NoError(t, os.WriteFile(file, []byte("# why\n\npkg TestA\npkg TestB\n"), 0o644))
	list, err := known(file)
	require.NoError(t, err)
	require.Equal(t, []string{"pkg TestA", "pkg TestB"}, list)
	r := &run{dir: filepath.Dir(file)}
	require.NoError(t, os.Rename(file, filepath.Join(r.dir, "known-failures.txt")))
	require.NoError(t, r.unknown(outcome{failed: []string{"pkg TestB"}}))
	require.ErrorContains(t, r.unknown(outcome{failed: []string{"pkg TestB", "pkg TestC"}, said: map[string]string{"pkg TestC": "so it is"}}), "so it is")
}

// A heading is a line of upstream's.
func TestHeadingsGo(t *testing.T) {
	const diff = "@@ -3,0 +4,2 @@ func upstream() {\n+\tours() // @@ -1 +1 @@ stays\n@@ -9 +11 @@\n"
	require.Equal(t, "@@ -3,0 +4,2 @@\n+\tours() // @@ -1 +1 @@ stays\n@@ -9 +11 @@\n", heading.ReplaceAllString(diff, "$1"))
}
