package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"

	"github.com/lightcl/op-node/op-node/rollup/feed"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

var update = flag.Bool("update", false, "rewrite metrics.md")

// TestMetricsPage compares the page that operators read with what the program registers.
//
//	go test ./op-node/metrics -run TestMetricsPage -update
func TestMetricsPage(t *testing.T) {
	page := filepath.Join("..", "docs", "metrics.md")
	want := metricsPage(t)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	have, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, want, string(have), "%s is out of date, run this test with -update", page)
}

// TestFollowLabelsAreExplained: a label that this program adds, or fills in follow mode, has its values on the page.
func TestFollowLabelsAreExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, label := range followLabels() {
		explained[label.metric+" "+label.name] = true
	}
	for _, m := range New().added.Document() {
		for _, name := range m.Labels {
			require.True(t, explained[short(m)+" "+name] || explained[" "+name], "label %s of %s", name, m.Name)
		}
	}
	known := map[string]bool{}
	for _, m := range New().Document() {
		for _, name := range m.Labels {
			known[short(m)+" "+name], known[" "+name] = true, true
		}
	}
	for label := range explained {
		require.True(t, known[label], "no metric has the label %q", label)
	}
}

const metricsPageHead = `# Metrics

Served at ` + "`/metrics`" + ` with --metrics.enabled, in both modes; ` + "`op-node doc metrics`" + ` prints the same list. The collectors of Go and of
the process (` + "`go_*`, `process_*`" + `) come on top.

This page is generated from what [the program](../metrics/metrics.go) registers.
`

const followHead = `
## Follow mode, the engine queue and the RPC server

Not upstream's. Those of follow mode stay empty or zero in a node that derives.

`

const labelsHead = `
## Labels of following

| metric | label | values |
|---|---|---|
`

const upstreamHead = `
## Upstream's

Under upstream's names, with upstream's types and labels. In follow mode nothing is derived: ` + "`refs_*{type=\"l1_derived\"}`" + ` is the
current L1 that was applied, ` + "`refs_*{type=\"l2_local_safe\"}`" + ` the applied local-safe head, ` + "`derivation_idle`" + ` 1 while the applied labels
are fresh; what counts channels, frames and batches stays empty. Labels of ` + "`rpc_*`" + ` hold nothing that others made up: a method that
nobody serves is ` + "`unknown`" + `, an error code that no specification names ` + "`rpc_0`" + `.

`

// metricsPage renders the metrics: those that operators of this program do not know yet first.
func metricsPage(t *testing.T) string {
	m := New()
	var b strings.Builder
	b.WriteString(metricsPageHead)
	b.WriteString(followHead)
	b.WriteString(metricsTable(m.added.Document()))
	b.WriteString(labelsHead)
	for _, label := range followLabels() {
		metric := "all"
		if label.metric != "" {
			metric = "`" + namespace + "_" + label.metric + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", metric, label.name, label.values)
	}
	b.WriteString(upstreamHead)
	upstream := m.Metrics.Document()
	require.Len(t, m.Document(), len(upstream)+len(m.added.Document()), "metrics of neither table")
	b.WriteString(metricsTable(upstream))
	return b.String()
}

func metricsTable(metrics []opservicemetrics.DocumentedMetric) string {
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range metrics {
		help := strings.ReplaceAll(strings.ReplaceAll(m.Help, "|", `\|`), "reasons.md", "[reasons.md](reasons.md)")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, quoted(m.Labels), help)
	}
	return b.String()
}

// label tells the values of a metric's label; without a metric, of that label of all metrics of following.
type label struct{ metric, name, values string }

func followLabels() []label {
	var reasons []string
	for _, r := range follow.Reasons() {
		reasons = append(reasons, fmt.Sprintf("[`%s`](reasons.md#%s)", r.Code(), r.Code()))
	}
	var outcomes []string
	for _, o := range feed.Outcomes() {
		outcomes = append(outcomes, string(o))
	}
	task := "the kinds of [the queue](../rollup/engine/queue.go)"
	return []label{
		{"", "source", "name of the source: its URL without what may be secret"},
		{"follow_info", "quorum", "how many sources have to agree"},
		{"follow_info", "sources", "how many sources there are"},
		{"follow_verdicts_total", "reason", strings.Join(reasons, ", ")},
		{"follow_source_head_number", "type", quoted([]string{"l2_local_safe", "l2_safe", "l2_finalized", "l1_derived"})},
		{"follow_source_requests_total", "result", "upstream's: " +
			quoted([]string{"success", "error_fetch_status", "error_invalid_state", "error_l1_lookup", "error_l1_mismatch"})},
		{"follow_source_reorgs_total", "action", "upstream's: `soft_update` (a verifier), `force_reset` (a sequencer); added: " +
			"`walk_back` (L1 reorged the origins of unsafe blocks out)"},
		{"follow_waits_total", "outcome", quoted(outcomes)},
		{"engine_tasks_total", "task", task},
		{"engine_tasks_total", "result", quoted([]string{"success", "error"})},
		{"engine_task_wait_seconds", "task", task},
		{"engine_task_run_seconds", "task", task},
		{"rpc_server_refused_total", "reason", "`body` (too long), `batch` (too many calls), `name` (a method name longer than any), " +
			"`answer` (answers to a batch cut off), `busy` (too many requests at the same time)"},
	}
}

func quoted(names []string) string {
	out := slices.Clone(names)
	for i := range out {
		out[i] = "`" + out[i] + "`"
	}
	return strings.Join(out, ", ")
}

// short is the name of a metric without what all of them start with.
func short(m opservicemetrics.DocumentedMetric) string {
	return strings.TrimPrefix(m.Name, namespace+"_")
}
