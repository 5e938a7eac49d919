// Package series reads and writes the patches for upstream, and knows what they have to look like.
//
// A patch is a mail without its sender: a subject, the message of the commit, and after a line of three dashes the notes,
// which git leaves out of a commit. Then follows a diff without context, so that this repository holds no line of
// upstream's but those that a patch removes.
package series

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The notes of a patch, in their order.
const (
	// NoteTree is the hash of the tree that the patch leads to: a diff without context would else apply anywhere.
	NoteTree = "Tree"
	// NoteAnswers is the public issue or the measured failure that the patch answers.
	NoteAnswers = "Answers"
	// NoteTests are the tests that fail before the patch, a package and a name each.
	NoteTests = "Tests"
	// NoteLeaves is what the patch deliberately leaves.
	NoteLeaves = "Leaves"
)

var noteNames = []string{NoteTree, NoteAnswers, NoteTests, NoteLeaves}

// Patch is one patch of the series.
type Patch struct {
	// File is the name of the file, without a folder.
	File string
	// Subject is the first line of the commit message, Body the rest of it.
	Subject, Body string
	// Notes are by name. A value of several lines keeps its line breaks.
	Notes map[string]string
	// Diff is what git apply takes.
	Diff string
}

// Test is one test that a patch brings.
type Test struct{ Package, Name string }

// Load reads all patches of a folder, in order.
func Load(dir string) ([]Patch, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []Patch
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p, err := Parse(filepath.Base(file), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no patches in %s", dir)
	}
	return all, nil
}

var subjectTag = regexp.MustCompile(`^\[PATCH [^]]*\] `)

// Parse reads a patch.
func Parse(file, text string) (Patch, error) {
	bad := func(what string) (Patch, error) { return Patch{}, fmt.Errorf("%s: %s", file, what) }
	head, diff, ok := strings.Cut(text, "\ndiff --git ")
	if !ok {
		return bad("there is no diff")
	}
	subject, rest, ok := strings.Cut(strings.TrimPrefix(head, "Subject: "), "\n\n")
	if !ok || !strings.HasPrefix(head, "Subject: ") {
		return bad("it does not begin with a subject and an empty line")
	}
	p, err := ParseMessage(subjectTag.ReplaceAllString(subject, "") + "\n\n" + rest)
	if err != nil {
		return bad(err.Error())
	}
	p.File, p.Diff = file, "diff --git "+diff
	return p, nil
}

var note = regexp.MustCompile(`^([A-Z][a-z]+):(?: +(.*))?$`)

// ParseMessage reads the message of a commit that has the notes in it.
func ParseMessage(message string) (Patch, error) {
	p := Patch{Notes: make(map[string]string)}
	text, notes, ok := strings.Cut(message, "\n---\n")
	if !ok {
		return p, errors.New("there is no line of three dashes with notes below")
	}
	p.Subject, p.Body, _ = strings.Cut(text, "\n")
	p.Subject, p.Body = strings.TrimSpace(p.Subject), strings.TrimSpace(p.Body)
	name := ""
	for line := range strings.Lines(strings.TrimSpace(notes) + "\n") {
		line = strings.TrimRight(line, " \n")
		switch match := note.FindStringSubmatch(line); {
		case match != nil && slices.Contains(noteNames, match[1]):
			name = match[1]
			p.Notes[name] = match[2]
		case name == "" || (line != "" && !strings.HasPrefix(line, "  ")):
			return p, fmt.Errorf("%q among the notes is neither one of %v nor, indented, more of one", line, noteNames)
		default:
			p.Notes[name] = strings.TrimSpace(p.Notes[name] + "\n" + strings.TrimSpace(line))
		}
	}
	return p, nil
}

// Message is the message of the commit, with the notes but the hash of the tree: it is not known before.
func (p Patch) Message() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n---\n", p.Subject, p.Body)
	p.writeNotes(&b, noteNames[1:])
	return b.String()
}

func (p Patch) writeNotes(b *strings.Builder, names []string) {
	for _, name := range names {
		if value, ok := p.Notes[name]; ok {
			fmt.Fprintf(b, "%s: %s\n", name, strings.ReplaceAll(value, "\n", "\n  "))
		}
	}
}

// Text is the patch as a file, the number-th of total.
func (p Patch) Text(number, total int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: [PATCH %02d/%02d] %s\n\n%s\n---\n", number, total, p.Subject, p.Body)
	p.writeNotes(&b, noteNames)
	fmt.Fprintf(&b, "\n%s", p.Diff)
	return b.String()
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// FileName is the name for the number-th patch.
func (p Patch) FileName(number int) string {
	_, title, _ := strings.Cut(p.Subject, ": ")
	name := strings.Trim(notInName.ReplaceAllString(title, "-"), "-.")
	if len(name) > 60 {
		name = name[:strings.LastIndexByte(name[:60], '-')]
	}
	return fmt.Sprintf("%04d-%s.patch", number, name)
}

// Tests are the tests that the patch names.
func (p Patch) Tests() []Test {
	var all []Test
	for line := range strings.Lines(p.Notes[NoteTests]) {
		if pkg, names, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			for _, name := range strings.Fields(names) {
				all = append(all, Test{pkg, name})
			}
		}
	}
	return all
}

// File is what a diff does to one file.
type File struct {
	// Path is the file's, New tells whether the patch creates it.
	Path string
	New  bool
	// Added and Removed are its lines; Runs are the added ones hunk by hunk.
	Added, Removed []string
	Runs           [][]string
}

// Test tells whether it is a test.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Files are the files of the diff.
func (p Patch) Files() []File {
	var all []File
	for line := range strings.Lines(p.Diff) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "diff --git "):
			all = append(all, File{Path: line[strings.LastIndex(line, " b/")+3:]})
		case strings.HasPrefix(line, "new file "):
			all[len(all)-1].New = true
		case strings.HasPrefix(line, "--- ") && (strings.HasPrefix(line, "--- a/") || line == "--- /dev/null"):
		case strings.HasPrefix(line, "+++ b/"), line == "+++ /dev/null":
		case strings.HasPrefix(line, "@@"):
			f := &all[len(all)-1]
			f.Runs = append(f.Runs, nil)
		case strings.HasPrefix(line, "+"):
			f := &all[len(all)-1]
			f.Added = append(f.Added, line[1:])
			f.Runs[len(f.Runs)-1] = append(f.Runs[len(f.Runs)-1], line[1:])
		case strings.HasPrefix(line, "-"):
			f := &all[len(all)-1]
			f.Removed = append(f.Removed, line[1:])
		}
	}
	return all
}

// Packages are the folders with Go files that the patch touches, as patterns of the go command.
func (p Patch) Packages() []string { return Packages([]Patch{p}) }

// Packages are the folders with Go files that any of the patches touches.
func Packages(all []Patch) []string {
	var dirs []string
	for _, p := range all {
		for _, f := range p.Files() {
			if path.Ext(f.Path) == ".go" {
				dirs = append(dirs, "./"+path.Dir(f.Path))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Size counts the lines of a patch.
type Size struct{ Code, Tests, Removed int }

// Size counts the added lines of code and of tests, and the removed ones.
func (p Patch) Size() (s Size) {
	for _, f := range p.Files() {
		if f.Test() {
			s.Tests += len(f.Added)
		} else {
			s.Code += len(f.Added)
		}
		s.Removed += len(f.Removed)
	}
	return s
}

// Total adds up the sizes of patches.
func Total(all []Patch) (s Size) {
	for _, p := range all {
		one := p.Size()
		s.Code, s.Tests, s.Removed = s.Code+one.Code, s.Tests+one.Tests, s.Removed+one.Removed
	}
	return s
}
