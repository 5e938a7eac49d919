package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ours is the module path. Paths of our own packages are given without it.
const ours = "github.com/lightcl/op-node"

// root is the top of the repository, seen from this package.
const root = "../.."

// source is one Go file.
type source struct {
	pkg     string // the package's path below the module
	name    string // the file's path below the root
	test    bool
	imports []string // as written, but our own without the module
	file    *ast.File
	fset    *token.FileSet
}

// at says where in the repository a position is.
func (s source) at(pos token.Pos) string {
	return s.name + ":" + strconv.Itoa(s.fset.Position(pos).Line)
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	walk(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		s := source{pkg: path.Dir(name), name: name, test: strings.HasSuffix(name, "_test.go"), file: file, fset: fset}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			s.imports = append(s.imports, strings.TrimPrefix(imported, ours+"/"))
		}
		all = append(all, s)
	})
	require.Greater(t, len(all), 50, "the repository was not found")
	return all
}

// walk visits every file of the module, but for what git does not have and what the go command skips.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	skipped := []string{".git", ".tools", "bin", "cache", "testdata"}
	require.NoError(t, filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			visit(filepath.ToSlash(name))
			return nil
		}
		if slices.Contains(skipped, entry.Name()) || (name != "." && exists(filepath.Join(file, "go.mod"))) {
			return filepath.SkipDir
		}
		return nil
	}))
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// within tells whether a path is one of the patterns: a path itself or, with /... at its end, all below it as well.
func within(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		parent, tree := strings.CutSuffix(pattern, "/...")
		return name == parent || (tree && strings.HasPrefix(name, parent+"/"))
	})
}
