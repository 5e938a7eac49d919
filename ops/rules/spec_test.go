package rules

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// specPage holds the rules of follow mode.
const specPage = "op-node/docs/spec.md"

var (
	// declared is a rule on the page: its code in bold, and behind it a mark if the code does not keep it yet.
	declared = regexp.MustCompile(`\*\*([A-Z][0-9]+[a-z]?)\*\*( \*\([^)]+\)\*)?`)
	// citation is "spec V5", "spec V5, V6 and T24", "spec V1–V3".
	citation = regexp.MustCompile(`\b[Ss]pec[ \n\t/#]+([A-Z][0-9]+[a-z]?(?:(?:, | and |, and | or |–)[A-Z][0-9]+[a-z]?)*)`)
	code     = regexp.MustCompile(`([A-Z])([0-9]+)([a-z]?)`)
	// named is the scenario that a transcript is named after.
	named = regexp.MustCompile(`^t0*([0-9]+[a-z]?)_`)
)

// specRules are the codes of the page, and whether the code keeps the rule.
func specRules(text string) map[string]bool {
	rules := make(map[string]bool)
	for _, m := range declared.FindAllStringSubmatch(text, -1) {
		rules[m[1]] = m[2] == ""
	}
	return rules
}

// cited lists the codes that a text cites; a range cites all from its first to its last.
func cited(text string) (codes []string) {
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		found := code.FindAllStringSubmatchIndex(m[1], -1)
		for i, at := range found {
			codes = append(codes, m[1][at[0]:at[1]])
			if i == 0 || m[1][found[i-1][1]:at[0]] != "–" {
				continue
			}
			from, _ := strconv.Atoi(m[1][found[i-1][4]:found[i-1][5]])
			to, _ := strconv.Atoi(m[1][at[4]:at[5]])
			for n := from + 1; n < to; n++ {
				codes = append(codes, m[1][at[2]:at[3]]+strconv.Itoa(n))
			}
		}
	}
	return codes
}

// citations are the files that cite each code, tests and transcripts apart from the rest.
func citations(t *testing.T) (byTests, byOthers map[string][]string) {
	t.Helper()
	byTests, byOthers = make(map[string][]string), make(map[string][]string)
	note := func(to map[string][]string, name string, codes []string) {
		for _, c := range codes {
			to[c] = append(to[c], name)
		}
	}
	walk(t, func(name string) {
		ext := path.Ext(name)
		if ext != ".go" && ext != ".md" || name == "ops/rules/spec_test.go" || name == specPage {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "op-node/testutil/") {
			note(byTests, name, cited(string(text)))
		} else {
			note(byOthers, name, cited(string(text)))
		}
	})
	transcripts, err := filepath.Glob(filepath.Join(root, "op-node/rollup/*/testdata/*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, transcripts)
	for _, file := range transcripts {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		note(byTests, file, cited(string(text)))
		if m := named.FindStringSubmatch(filepath.Base(file)); m != nil {
			note(byTests, file, []string{"T" + m[1]})
		}
	}
	return byTests, byOthers
}

// What is cited of the spec exists, and each rule that the code keeps is cited by a test.
func TestSpecIsCited(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, specPage))
	require.NoError(t, err)
	rules := specRules(string(page))
	require.Greater(t, len(rules), 100)
	seen := make(map[string]bool)
	for _, m := range declared.FindAllStringSubmatch(string(page), -1) {
		require.False(t, seen[m[1]], "%s stands twice in the spec", m[1])
		seen[m[1]] = true
	}
	byTests, byOthers := citations(t)
	for _, by := range []map[string][]string{byTests, byOthers} {
		for c, files := range by {
			_, exists := rules[c]
			require.True(t, exists, "%s has no %s, which is cited by %v", specPage, c, slices.Compact(files))
		}
	}
	var missing []string
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		if rules[rule] && len(byTests[rule]) == 0 {
			missing = append(missing, rule)
		}
	}
	require.Empty(t, missing, "rules that no test cites; a test says what it shows as \"spec V5\"")
}

func TestCitationsAreFound(t *testing.T) {
	for text, want := range map[string][]string{
		"as spec V5 says":               {"V5"},
		"spec V5, V6 and T24b":          {"V5", "V6", "T24b"},
		"spec V1–V3":                    {"V1", "V3", "V2"},
		"// by\n// spec\n// H2a.":       {"H2a"},
		"the spec; V5":                  nil,
		"for _, spec := range specs V5": nil,
	} {
		require.Equal(t, want, cited(text), text)
	}
	require.Equal(t, map[string]bool{"V1": true, "V2": false, "H2a": false},
		specRules("| **V1** | x |\n- **V2** *(not yet)* y **bold**\n**H2a** *(only cases 1 and 2)*"))
}
