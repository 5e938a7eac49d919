package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each alert has its section in the runbook, and each section its alert; what an alert is made of exists.
func TestAlertsAndRunbookAgree(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		return string(text)
	}
	find := func(text, pattern string) (found []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found = append(found, m[1])
		}
		return found
	}
	alerts, runbook := read("ops/prometheus/alerts.yaml"), read("ops/runbook/README.md")
	names := find(alerts, `(?m)- alert: (\w+)`)
	require.NotEmpty(t, names)
	require.Equal(t, names, find(runbook, `(?m)^## (\w+)`), "in the same order")
	for _, part := range []string{"**Meaning.**", "**Impact.**", "**Diagnosis.**", "**Mitigation.**"} {
		require.Equal(t, len(names), strings.Count(runbook, part), part)
	}
	anchors := find(alerts, `runbook_url: \S+#(\w+)`)
	for i, name := range names {
		require.Equal(t, strings.ToLower(name), anchors[i])
	}
	metrics := read("op-node/docs/metrics.md")
	for _, metric := range find(alerts, `\b(op_node_default_\w+)`) {
		require.Contains(t, metrics, "`"+metric+"`", "an alert is made of it")
	}
	reasons := read("op-node/docs/reasons.md")
	for _, list := range find(alerts, `reason!?[=~]+"([a-z_0-9|]+)"`) {
		for _, reason := range strings.Split(list, "|") {
			require.Contains(t, reasons, "\n## "+reason+"\n", "an alert asks for it")
		}
	}
	thresholds := find(alerts, `record: (op_node:threshold:\w+)`)
	require.ElementsMatch(t, thresholds, find(alerts, `scalar\((op_node:threshold:\w+)\)`), "each threshold is used, once")
}
