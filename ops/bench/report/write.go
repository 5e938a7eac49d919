package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
