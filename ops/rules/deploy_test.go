package rules

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	variable = regexp.MustCompile(`\bOP_NODE_[A-Z0-9_]+\b`)
	// ownVariable is a variable in the flag table of the page of flags.
	ownVariable = regexp.MustCompile("`(OP_NODE_[A-Z0-9_]+)`")
)

// What operators copy sets only variables that the program reads: an unknown one would be a warning, and a setting lost.
func TestDeployedSettingsExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "op-node/docs/flags.md"))
	require.NoError(t, err)
	var known []string
	for _, m := range ownVariable.FindAllStringSubmatch(string(page), -1) {
		known = append(known, m[1])
	}
	require.Greater(t, len(known), 100)
	checked := 0
	walk(t, func(name string) {
		if !slices.ContainsFunc([]string{"ops/systemd/", "ops/k8s/", "ops/compose/"}, func(dir string) bool { return strings.HasPrefix(name, dir) }) ||
			path.Ext(name) == ".json" {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, v := range variable.FindAllString(string(text), -1) {
			require.Contains(t, known, v, name)
			checked++
		}
	})
	require.Greater(t, checked, 20)
}
