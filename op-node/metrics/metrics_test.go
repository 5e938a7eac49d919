package metrics

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// metricFacts describe a metric as a dashboard meets it.
type metricFacts struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Labels []string `json:"labels"`
}

func TestMetricsEqualUpstream(t *testing.T) {
	data, err := os.ReadFile("testdata/upstream_metrics.json")
	require.NoError(t, err)
	var want []metricFacts
	require.NoError(t, json.Unmarshal(data, &want))
	require.Len(t, want, 90)

	have := map[string]metricFacts{}
	for _, m := range New().Document() {
		require.NotContains(t, have, m.Name, "metric documented twice")
		require.NotEmpty(t, m.Help, m.Name)
		labels := m.Labels
		if labels == nil {
			labels = []string{}
		}
		have[m.Name] = metricFacts{Name: m.Name, Type: m.Type, Labels: labels}
	}
	for _, m := range want {
		require.Contains(t, have, m.Name)
		require.Equal(t, m, have[m.Name])
		delete(have, m.Name)
	}
	for name := range have {
		require.True(t, strings.HasPrefix(name, namespace+"_"), name)
	}
}

// samples returns how many samples each series of the node's own follow and engine metrics has; counters and gauges by value.
func samples(t *testing.T, m *Metrics) map[string]float64 {
	families, err := m.Registry().Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), namespace+"_")
			for _, label := range series.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			out[name] = series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func TestRegistriesAreSeparate(t *testing.T) {
	one, two := New(), New()
	one.RecordUp()
	require.EqualValues(t, 1, samples(t, one)["up"])
	require.Zero(t, samples(t, two)["up"])
}

func TestFollowMetrics(t *testing.T) {
	m := New()
	require.NotContains(t, samples(t, m), "follow_info quorum=1 sources=2", "only where the node follows")
	m.RecordPoll("a", 30*time.Millisecond, true)
	m.RecordPoll("b", time.Second, false)
	m.RecordVerdict("a", "order")
	m.RecordTask("follow", time.Millisecond, time.Second, false)
	m.RecordTask("follow", time.Millisecond, time.Second, true)
	m.RecordL1ViewHits(3)
	m.RecordL1ViewMisses(1)
	m.RecordSources([]string{"a", "b"}, 1)
	m.RecordFollowed("a", "")
	m.RecordFollowed("b", "a")
	m.RecordUnresolved(true)
	got := samples(t, m)
	require.NotZero(t, got["follow_source_last_success_unix source=a"])
	require.NotContains(t, got, "follow_source_last_success_unix source=b")
	for series, want := range map[string]float64{
		"follow_source_up source=a":                     1,
		"follow_source_up source=b":                     0,
		"follow_source_poll_seconds source=a":           1,
		"follow_source_poll_seconds source=b":           1,
		"follow_verdicts_total reason=order source=a":   1,
		"follow_verdicts_total reason=order source=b":   0,
		"follow_info quorum=1 sources=2":                1,
		"follow_source_followed source=a":               0,
		"follow_source_followed source=b":               1,
		"follow_switches_total":                         1,
		"follow_reorg_unresolved":                       1,
		"engine_tasks_total result=success task=follow": 1,
		"engine_tasks_total result=error task=follow":   1,
		"engine_task_wait_seconds task=follow":          2,
		"engine_task_run_seconds task=follow":           2,
		"l1_view_hits_total":                            3,
		"l1_view_misses_total":                          1,
	} {
		require.Contains(t, got, series)
		require.Equal(t, want, got[series], series)
	}
}
