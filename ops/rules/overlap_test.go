package rules

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runLength is how many lines in a row make a copy.
const runLength = 6

// upstreamFolders are the parts of upstream's module that somebody who builds an op-node might copy from.
var upstreamFolders = []string{"op-node", "op-service", "op-devstack/sysgo", "op-e2e/e2eutils", "op-conductor", "op-batcher"}

// commonplace matches lines that everybody writes: punctuation, imports, the passing on of errors.
var commonplace = regexp.MustCompile(`^(\W*|package \w+|import \(|(\w+ )?"[\w./-]+"|if err != nil \{|return( nil,)?( err| nil)|\}, nil|` +
	`default:|(\} )?else \{|defer cancel\(\)|t\.Parallel\(\)|ctx, cancel := .*)$`)

// line is a line of code that means something.
type line struct {
	number int
	text   string
}

// meaningful reads the lines of Go code that are neither comments nor commonplace, without their indentation.
func meaningful(code *bufio.Scanner) (lines []line) {
	comment := false
	for number := 1; code.Scan(); number++ {
		text := strings.Join(strings.Fields(code.Text()), " ")
		switch {
		case comment:
			comment = !strings.Contains(text, "*/")
			continue
		case strings.HasPrefix(text, "/*"):
			comment = !strings.Contains(text, "*/")
			continue
		case strings.HasPrefix(text, "//"):
			continue
		}
		text, _, _ = strings.Cut(text, " //")
		if len(text) >= 4 && !commonplace.MatchString(text) {
			lines = append(lines, line{number, text})
		}
	}
	return lines
}

// runs tells of each sequence of runLength lines: its hash, and the index of its first line.
func runs(lines []line, tell func(hash uint64, first int)) {
	for first := 0; first+runLength <= len(lines); first++ {
		hash := fnv.New64a()
		for _, l := range lines[first : first+runLength] {
			_, _ = hash.Write([]byte(l.text))
			_, _ = hash.Write([]byte{'\n'})
		}
		tell(hash.Sum64(), first)
	}
}

func readLines(t *testing.T, name string) []line {
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	code := bufio.NewScanner(file)
	code.Buffer(nil, 1<<20)
	lines := meaningful(code)
	require.NoError(t, code.Err(), name)
	return lines
}

// copies lists the sequences of lines that the files have in common with those below a directory.
func copies(t *testing.T, files map[string][]line, dir string) (found []string, read int) {
	places := make(map[uint64]string)
	for name, lines := range files {
		runs(lines, func(hash uint64, first int) { places[hash] = fmt.Sprintf("%s:%d", name, lines[first].number) })
	}
	for _, folder := range upstreamFolders {
		require.NoError(t, filepath.WalkDir(filepath.Join(dir, folder), func(name string, _ fs.DirEntry, err error) error {
			if err != nil || path.Ext(name) != ".go" {
				return err
			}
			read++
			lines := readLines(t, name)
			runs(lines, func(hash uint64, first int) {
				if place, ok := places[hash]; ok {
					theirs, _ := filepath.Rel(dir, name)
					found = append(found, fmt.Sprintf("%s is the same as %s:%d of upstream", place, theirs, lines[first].number))
				}
			})
			return nil
		}))
	}
	return found, read
}

// Upstream is a dependency, and nothing of it is copied: what is wanted of it is imported.
func TestNothingIsCopiedFromUpstream(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", upstream).Output()
	require.NoError(t, err)
	dir := strings.TrimSpace(string(out))
	require.DirExists(t, dir, "the module of upstream is not in the cache: go mod download")

	files := make(map[string][]line)
	walk(t, func(name string) {
		if path.Ext(name) == ".go" {
			files[name] = readLines(t, filepath.Join(root, name))
		}
	})
	found, read := copies(t, files, dir)
	require.Greater(t, read, 500, "upstream's files were not found")
	require.Empty(t, found)

	// The same with something copied, changed where that does not help.
	theirs := readLines(t, filepath.Join(dir, "op-node/rollup/driver/driver.go"))
	stolen := append(append([]line{}, theirs[20:20+runLength]...), line{1, "and := something(own)"})
	found, _ = copies(t, map[string][]line{"stolen.go": stolen}, dir)
	require.NotEmpty(t, found, "a copy is not found")
	stolen[3].text += "x"
	found, _ = copies(t, map[string][]line{"stolen.go": stolen}, dir)
	require.Empty(t, found)
}

func TestMeaningfulLines(t *testing.T) {
	const code = "package x\n\nimport (\n\t\"fmt\"\n)\n/* a\nb() */\n\t// c()\nfunc f() error {\n\tif err := g( 1,  2 ); err != nil { // why\n\t\treturn err\n\t}\n\treturn nil\n}\n"
	require.Equal(t, []line{{9, "func f() error {"}, {10, "if err := g( 1, 2 ); err != nil {"}},
		meaningful(bufio.NewScanner(strings.NewReader(code))))
}
