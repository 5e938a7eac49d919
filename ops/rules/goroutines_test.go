package rules

import (
	"go/ast"
	"testing"

	"github.com/stretchr/testify/require"
)

// unwatched are the packages that start goroutines and whose tests do not check that all of them end.
var unwatched = map[string]string{
	"op-node/cmd": "its tests run the program as a process of its own",
}

// starts tells whether a file starts goroutines, by a go statement or by the Go method of a group.
func starts(s source) (found bool) {
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			if method, ok := node.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Go" {
				found = true
			}
		}
		return true
	})
	return found
}

// Every package of the node that starts goroutines has its tests check that all of them end.
func TestGoroutinesAreWatched(t *testing.T) {
	starting, watched := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if !s.test && within(s.pkg, []string{"op-node/...", "op-service/..."}) && starts(s) {
			starting[s.pkg] = true
		}
		if s.test && within("go.uber.org/goleak", s.imports) {
			watched[s.pkg] = true
		}
	}
	require.True(t, starting["op-service/sources"] && starting["op-node/rollup/driver"], "the search finds nothing")
	for pkg := range starting {
		require.True(t, watched[pkg] || unwatched[pkg] != "", "%s starts goroutines; its tests need a TestMain with goleak.VerifyTestMain", pkg)
	}
	for pkg := range unwatched {
		require.True(t, starting[pkg] && !watched[pkg], "%s is no exception any more", pkg)
	}
}
