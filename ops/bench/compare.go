package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/lightcl/op-node/ops/bench/report"
)

// compare prints how far the ratios of several runs lie apart.
func compare(to io.Writer, files []string) error {
	var runs []report.Results
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("--compare: %w", err)
		}
		var r report.Results
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("--compare: %s: %w", name, err)
		}
		runs = append(runs, r)
	}
	ratios, err := report.Compare(runs)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	text, judged, failed := report.Comparison(ratios)
	if _, err := io.WriteString(to, text); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d ratios do not repeat within %.0f %%", failed, judged, report.Spread*100)
	}
	return nil
}
