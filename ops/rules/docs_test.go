package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, pkg, body string) source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "x.go", "package x\n"+body, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return source{pkg: pkg, name: pkg + "/x.go", file: file, fset: fset}
}

// undocumented lists the exported names of a file that have no comment. Names of a group are covered by the group's.
func undocumented(s source) []string {
	var found []string
	report := func(pos token.Pos, name string) {
		found = append(found, fmt.Sprintf("%s: %s has no comment", s.at(pos), name))
	}
	for _, decl := range s.file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Doc == nil && decl.Name.IsExported() && receiverExported(decl) {
				report(decl.Pos(), decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if decl.Doc != nil {
					break
				}
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
						report(spec.Pos(), spec.Name.Name)
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if spec.Doc == nil && spec.Comment == nil && name.IsExported() {
							report(spec.Pos(), name.Name)
						}
					}
				}
			}
		}
	}
	return found
}

func receiverExported(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	receiver := decl.Recv.List[0].Type
	for {
		switch inner := receiver.(type) {
		case *ast.StarExpr:
			receiver = inner.X
		case *ast.IndexExpr:
			receiver = inner.X
		case *ast.IndexListExpr:
			receiver = inner.X
		case *ast.Ident:
			return inner.IsExported()
		default:
			return true
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			require.Empty(t, undocumented(s))
		}
	}
}

func TestUndocumentedNamesAreFound(t *testing.T) {
	for body, want := range map[string]int{
		"func F() {}":                      1,
		"// F is.\nfunc F() {}":            0,
		"func f() {}":                      0,
		"type T struct{}":                  1,
		"type T int // small":              0,
		"type t struct{}\nfunc (t) F() {}": 0,
		"// T is.\ntype T[A any] struct{}\nfunc (*T[A]) F() {}": 1,
		"const A, B = 1, 2":                  2,
		"// Both.\nconst (\nA = 1\nB = 2\n)": 0,
		"var (\nA = 1\n// B is.\nB = 2\n)":   1,
	} {
		require.Len(t, undocumented(parse(t, "x", body)), want, body)
	}
}

// Every package has one doc comment: one to read, in one place.
func TestPackagesAreDocumented(t *testing.T) {
	docs := make(map[string][]string)
	for _, s := range sources(t) {
		docs[s.pkg] = append(docs[s.pkg], []string{}...)
		if s.file.Doc != nil && s.file.Doc.Text() != "" {
			docs[s.pkg] = append(docs[s.pkg], s.name)
		}
	}
	for pkg, files := range docs {
		require.Len(t, files, 1, "files with a doc comment of package %s", pkg)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// A link in a document leads to a file, a folder or a heading that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	documents := 0
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		documents++
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			target, heading, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			require.True(t, exists(filepath.Join(root, file)), "%s links to %s", name, match[1])
			if heading != "" {
				require.Contains(t, anchors(t, file), heading, "%s links to %s", name, match[1])
			}
		}
	})
	require.GreaterOrEqual(t, documents, 4)
}

// Whoever comes new finds each package, or the folder it is in, on the page that shows the tree.
func TestEveryPackageHasItsPlace(t *testing.T) {
	const page = "op-node/docs/structure.md"
	text, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	var shown []string
	for _, match := range link.FindAllStringSubmatch(string(text), -1) {
		shown = append(shown, path.Join(path.Dir(page), match[1]))
	}
	for _, s := range sources(t) {
		require.True(t, slices.Contains(shown, s.pkg) || slices.Contains(shown, path.Dir(s.pkg)), "%s is not in %s", s.pkg, page)
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are the names by which the headings of a document can be linked to.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(text)) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			plain := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found = append(found, strings.ReplaceAll(plain, " ", "-"))
		}
	}
	return found
}

// The two lists of recipes are one list, and each of them says what it does.
func TestRecipesAgree(t *testing.T) {
	recipes := func(file string, pattern string) []string {
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		var names []string
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
		require.NotEmpty(t, names)
		return names
	}
	makefile := recipes("Makefile", `(?m)^([a-z][a-z0-9-]*):.*## \S`)
	require.ElementsMatch(t, makefile, recipes("justfile", `(?m)^# \S.*\n([a-z][a-z0-9-]*)(?: [^:\n]*)?:`))
	require.ElementsMatch(t, makefile, recipes("Makefile", `(?m)^([a-z][a-z0-9-]*):`), "a target without a comment")
}

var testName = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")

// A test that a document refers to is there, under that name.
func TestNamedTestsExist(t *testing.T) {
	tests := make(map[string]bool)
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok && s.test {
				tests[function.Name.Name] = true
			}
		}
	}
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, match := range testName.FindAllStringSubmatch(string(text), -1) {
			require.True(t, tests[match[1]], "%s refers to %s", name, match[1])
		}
	})
}
