package series

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Problems says what a patch has that it may not have, or lacks.
func (p Patch) Problems() []string {
	var found []string
	report := func(format string, args ...any) {
		found = append(found, p.File+": "+fmt.Sprintf(format, args...))
	}
	p.checkMessage(report)
	p.checkDiff(report)
	p.checkTests(report)
	return found
}

// subject is upstream's form for titles: the parts that a change touches, a colon, and what changes.
var subject = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/-]*(,[a-zA-Z0-9][a-zA-Z0-9._/-]*)*!?: \S`)

// types are what upstream does not want in the place of a part.
var types = []string{"build", "chore", "feat", "fix", "perf", "refactor", "revert", "style", "test", "upkeep"}

var (
	release   = regexp.MustCompile(`\bv?1\.\d+\.\d+\b`)
	publicURL = regexp.MustCompile(`^https://github\.com/ethereum-optimism/[a-z-]+/(issues|pull)/\d+$`)
	treeHash  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// maxWords is what a description may have: upstream asks for two or three sentences.
const maxWords = 130

func (p Patch) checkMessage(report func(string, ...any)) {
	scope, _, _ := strings.Cut(p.Subject, ":")
	if !subject.MatchString(p.Subject) || slices.Contains(types, strings.TrimSuffix(scope, "!")) {
		report("the subject is not of the form <part>: <what changes>")
	}
	if words := len(strings.Fields(p.Body)); words == 0 || words > maxWords {
		report("the message has %d words, and may have %d", words, maxWords)
	}
	if release.MatchString(p.Body) {
		report("the message names a release; upstream wants none there")
	}
	if regexp.MustCompile(`(?mi)^#|test plan`).MatchString(p.Body) {
		report("the message has headings or a test plan; upstream wants neither")
	}
	for _, name := range noteNames {
		if p.Notes[name] == "" {
			report("the notes do not say %s", name)
		}
	}
	if !treeHash.MatchString(p.Notes[NoteTree]) {
		report("%q is no tree", p.Notes[NoteTree])
	}
	answers := p.Notes[NoteAnswers]
	if _, measured := strings.CutPrefix(answers, "Measured: "); !measured && !publicURL.MatchString(answers) {
		report("it answers neither a public issue nor, with \"Measured: \", a measured failure")
	}
	for line := range strings.Lines(p.Body) {
		if url, closes := strings.CutPrefix(strings.TrimSpace(line), "Closes "); closes && url != answers {
			report("it closes %s and answers %s", url, answers)
		}
	}
}

// hunk is a hunk's head with nothing behind it.
var hunk = regexp.MustCompile(`^@@ -\d+(,\d+)? \+\d+(,\d+)? @@$`)

func (p Patch) checkDiff(report func(string, ...any)) {
	for line := range strings.Lines(p.Diff) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, " "):
			report("context: %q", line)
		case strings.HasPrefix(line, "@@") && !hunk.MatchString(line):
			report("a hunk with a heading: %q", line)
		case line == "", strings.HasPrefix(line, "Binary"), strings.HasPrefix(line, `\`):
			report("%q in the diff", line)
		}
	}
}

var testFunc = regexp.MustCompile(`^func (Test\w+)\(`)

func (p Patch) checkTests(report func(string, ...any)) {
	var added []Test
	for _, f := range p.Files() {
		for _, line := range f.Added {
			if match := testFunc.FindStringSubmatch(line); match != nil && f.Test() {
				added = append(added, Test{path.Dir(f.Path), match[1]})
			}
		}
	}
	named := p.Tests()
	for _, test := range named {
		if !slices.Contains(added, test) {
			report("it names %s of %s and does not bring it", test.Name, test.Package)
		}
	}
	for _, test := range added {
		if !slices.Contains(named, test) {
			report("it brings %s of %s and does not name it", test.Name, test.Package)
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// Claims says which of the names that messages and notes quote stand neither in upstream's sources nor in the patches up
// to the one that quotes them.
func Claims(all []Patch, upstream string) ([]string, error) {
	var text strings.Builder
	err := goFiles(upstream, func(_ string, data []byte) { text.Write(data) })
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range all {
		for _, f := range p.Files() {
			text.WriteString(strings.Join(f.Added, "\n"))
		}
		for _, match := range quoted.FindAllStringSubmatch(p.Subject+p.Body+p.Notes[NoteLeaves], -1) {
			name := match[1]
			for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '=' || r == ' ' }) {
				part = strings.TrimLeft(part, "-")
				part = part[strings.LastIndexByte(part, '.')+1:]    // a flag, a method
				method := part[strings.LastIndexByte(part, '_')+1:] // an RPC method as Go has it
				if method != "" {
					method = strings.ToUpper(method[:1]) + method[1:]
				}
				if !strings.Contains(text.String(), part) && !strings.Contains(text.String(), ") "+method+"(") {
					found = append(found, fmt.Sprintf("%s: %s is not known", p.File, name))
				}
			}
		}
	}
	return found, nil
}

// overlapDirs are the parts of upstream that lines could come from.
var overlapDirs = []string{"op-node", "op-service", "op-devstack/sysgo", "op-e2e/e2eutils", "op-conductor", "op-batcher"}

// goFiles visits the Go files of those parts.
func goFiles(upstream string, visit func(name string, data []byte)) error {
	for _, dir := range overlapDirs {
		err := filepath.WalkDir(filepath.Join(upstream, dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(name) != ".go" {
				return err
			}
			data, err := os.ReadFile(name)
			if err == nil {
				visit(name, data)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// thin are lines that everybody writes.
var thin = regexp.MustCompile(`^(?:[\W_]*|if err != nil \{|return err|return nil, err|return nil|"[\w./-]+"|\w+ "[\w./-]+"|import \(|package \w+|` +
	`defer cancel\(\)|\}, nil|default:|else \{|\} else \{|t\.Parallel\(\)|ctx, cancel := .*)$`)

// significant takes comments, blank lines and those that everybody writes out of some lines, and normalizes white space.
func significant(lines []string) []string {
	var kept []string
	for _, line := range lines {
		line, _, _ = strings.Cut(strings.Join(strings.Fields(line), " "), " //")
		if len(line) >= 4 && !strings.HasPrefix(line, "//") && !thin.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return kept
}

// Overlap lists the runs of n lines that patches add in one piece and that stand in upstream's sources.
func Overlap(all []Patch, upstream string, n int) ([]string, error) {
	seen := make(map[string]string)
	err := goFiles(upstream, func(name string, data []byte) {
		lines := significant(strings.Split(string(data), "\n"))
		for i := 0; i+n <= len(lines); i++ {
			seen[strings.Join(lines[i:i+n], "\n")] = name
		}
	})
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 {
		return nil, errors.New("upstream's sources were not found")
	}
	var found []string
	for _, p := range all {
		for _, f := range p.Files() {
			for _, run := range f.Runs {
				lines := significant(run)
				for i := 0; i+n <= len(lines); i++ {
					if from, ok := seen[strings.Join(lines[i:i+n], "\n")]; ok {
						found = append(found, fmt.Sprintf("%s: %q and what follows stand in %s", p.File, lines[i], strings.TrimPrefix(from, upstream+"/")))
					}
				}
			}
		}
	}
	return found, nil
}
