package series

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `Subject: [PATCH 01/02] op-node: do less

A node does too much of ` + "`Thing`" + `.
---
Tree: 0123456789012345678901234567890123456789
Answers: https://github.com/ethereum-optimism/optimism/issues/1
Tests: op-node/a TestLess
Leaves: the rest,
  and more.

diff --git a/op-node/a/a.go b/op-node/a/a.go
index 1..2 100644
--- a/op-node/a/a.go
+++ b/op-node/a/a.go
@@ -3 +3 @@
-	three()
+	two()
diff --git a/op-node/a/a_test.go b/op-node/a/a_test.go
new file mode 100644
--- /dev/null
+++ b/op-node/a/a_test.go
@@ -0,0 +1,2 @@
+func TestLess(t *testing.T) {
+}
`

func TestParse(t *testing.T) {
	p, err := Parse("0001-do-less.patch", sample)
	require.NoError(t, err)
	require.Equal(t, "op-node: do less", p.Subject)
	require.Equal(t, "the rest,\nand more.", p.Notes[NoteLeaves])
	require.Equal(t, []Test{{"op-node/a", "TestLess"}}, p.Tests())
	require.Equal(t, Size{Code: 1, Tests: 2, Removed: 1}, p.Size())
	require.Equal(t, []string{"./op-node/a"}, p.Packages())
	require.Equal(t, p.File, p.FileName(1))
	require.Equal(t, sample, p.Text(1, 2), "what is saved is what was read")
	again, err := ParseMessage(p.Message())
	require.NoError(t, err)
	require.Equal(t, p.Subject, again.Subject)
	require.NotContains(t, again.Notes, NoteTree, "a commit cannot know its tree")
	require.Empty(t, p.Problems())
}

func TestParseRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"there is no diff":               strings.ReplaceAll(sample, "\ndiff --git ", "\n"),
		"does not begin with a subject":  strings.TrimPrefix(sample, "Subject: "),
		"line of three dashes":           strings.Replace(sample, "\n---\n", "\n", 1),
		"neither one of":                 strings.Replace(sample, "  and more.", "and more.", 1),
		`"Tried: by hand" among the not`: strings.Replace(sample, "Leaves: the rest,", "Tried: by hand", 1),
	} {
		_, err := Parse("x.patch", text)
		require.ErrorContains(t, err, what)
	}
}

// Each rule is broken on purpose.
func TestProblems(t *testing.T) {
	for _, test := range []struct{ old, new, problem string }{
		{"op-node: do less", "do less", "the subject"},
		{"op-node: do less", "fix: do less", "the subject"},
		{"A node does", strings.Repeat("so ", maxWords), "words"},
		{"A node does", "Since v1.19.6 a node does", "a release"},
		{"A node does", "## Test plan\nA node does", "headings"},
		{"A node does too much", "Closes https://github.com/ethereum-optimism/optimism/issues/2\ntoo much", "it closes"},
		{"Tree: 0123", "Tree: 012", "is no tree"},
		{"Answers: https://github.com/ethereum-optimism/optimism/issues/1", "Answers: somebody", "neither a public issue"},
		{"Leaves: the rest,\n  and more.\n", "", "do not say Leaves"},
		{"+	two()", " 	one()\n+	two()", "context"},
		{"@@ -3 +3 @@", "@@ -3 +3 @@ func one() {", "a heading"},
		{"Tests: op-node/a TestLess", "Tests: op-node/a TestMore", "names TestMore"},
		{"Tests: op-node/a TestLess", "Tests: op-node/a TestMore", "brings TestLess"},
	} {
		require.Contains(t, sample, test.old)
		p, err := Parse("0001-do-less.patch", strings.Replace(sample, test.old, test.new, 1))
		require.NoError(t, err)
		require.Contains(t, strings.Join(p.Problems(), "\n"), test.problem)
	}
}

func TestAgainstUpstream(t *testing.T) {
	upstream := t.TempDir()
	for _, dir := range overlapDirs {
		require.NoError(t, os.MkdirAll(filepath.Join(upstream, dir), 0o755))
	}
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(upstream, "op-node", "x.go"), []byte(text), 0o644))
	}
	lines := []string{"first()", "second()", "third()", "// a remark", "fourth()", "fifth()", "", "sixth()"}
	write("func upstream() {\n\t" + strings.Join(lines, "\n\t") + "\n}\n")
	p, err := Parse("p", sample)
	require.NoError(t, err)

	unknown, err := Claims([]Patch{p}, upstream)
	require.NoError(t, err)
	require.Equal(t, []string{"p: Thing is not known"}, unknown)
	shared, err := Overlap([]Patch{p}, upstream, 6)
	require.NoError(t, err)
	require.Empty(t, shared)

	p.Diff += "@@ -9,0 +10,8 @@\n+" + strings.Join(lines, "\n+") + "\n+type Thing int\n"
	unknown, err = Claims([]Patch{p}, upstream)
	require.NoError(t, err)
	require.Empty(t, unknown)
	shared, err = Overlap([]Patch{p}, upstream, 6)
	require.NoError(t, err)
	require.Len(t, shared, 1)
}
