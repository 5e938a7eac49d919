package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Write puts results.json, results.md and a chart for each group into a directory, which is made when missing.
func (r *Results) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	files := map[string]string{"results.json": string(data) + "\n", "results.md": r.Markdown("")}
	for _, g := range r.Groups {
		files[g.ID+".svg"] = g.SVG()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("results: %w", err)
		}
	}
	return nil
}

// The marks in a document between which Embed puts the table.
const (
	beginMark = "<!-- the last run: written by the program -->"
	endMark   = "<!-- end of the last run -->"
)

// Embed puts the table into a document, in place of the one of the last run. The charts are linked where Write put them.
func (r *Results) Embed(document, dir string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	before, rest, begins := strings.Cut(string(text), beginMark)
	_, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		return fmt.Errorf("results: %s lacks the marks %q and %q", document, beginMark, endMark)
	}
	charts, err := filepath.Rel(filepath.Dir(document), dir)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	table := r.Markdown(filepath.ToSlash(charts) + "/")
	return os.WriteFile(document, []byte(before+beginMark+"\n\n"+table+endMark+after), 0o644)
}
