package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
)

// Follow are the metrics of follow mode and of the engine queue. They are registered in both modes, so that a scrape always has them.
type Follow struct {
	sourceUp      *prometheus.GaugeVec
	sourceSuccess *prometheus.GaugeVec
	sourceSeconds *prometheus.HistogramVec
	verdicts      *prometheus.CounterVec
	l1Hits        prometheus.Counter
	l1Misses      prometheus.Counter
	tasks         *prometheus.CounterVec
	taskWait      *prometheus.HistogramVec
	taskRun       *prometheus.HistogramVec
}

// taskBuckets reach from a forkchoice update of a local engine to its timeout.
var taskBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newFollow(factory opservicemetrics.Factory) *Follow {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return factory.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{"source"})
	}
	counter := func(name, help string) prometheus.Counter {
		return factory.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	}
	seconds := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return factory.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: taskBuckets}, labels)
	}
	return &Follow{
		sourceUp:      gauge("follow_source_up", "1 if the last poll of the source was answered, else 0"),
		sourceSuccess: gauge("follow_source_last_success_unix", "Unix time of the last answer of the source"),
		sourceSeconds: seconds("follow_source_poll_seconds", "Duration of polls of the source", "source"),
		verdicts: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "follow_verdicts_total",
			Help: "Judged statuses of the source by reason; see reasons.md"}, []string{"source", "reason"}),
		l1Hits:   counter("l1_view_hits_total", "L1 block ids judged from memory"),
		l1Misses: counter("l1_view_misses_total", "L1 block ids that L1 had to be asked for"),
		tasks: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "engine_tasks_total",
			Help: "Tasks of the engine controller by kind and result"}, []string{"task", "result"}),
		taskWait: seconds("engine_task_wait_seconds", "Time that tasks of the engine controller waited", "task"),
		taskRun:  seconds("engine_task_run_seconds", "Time that tasks of the engine controller ran", "task"),
	}
}

// RecordPoll tells how long a poll of a source took and whether it answered.
func (f *Follow) RecordPoll(source string, took time.Duration, ok bool) {
	f.sourceSeconds.WithLabelValues(source).Observe(took.Seconds())
	if !ok {
		f.sourceUp.WithLabelValues(source).Set(0)
		return
	}
	f.sourceUp.WithLabelValues(source).Set(1)
	f.sourceSuccess.WithLabelValues(source).SetToCurrentTime()
}

// RecordVerdict counts a judged status by reason code.
func (f *Follow) RecordVerdict(source, reason string) {
	f.verdicts.WithLabelValues(source, reason).Inc()
}

// RecordL1ViewHits counts L1 block ids that were judged from memory.
func (f *Follow) RecordL1ViewHits(n int) { f.l1Hits.Add(float64(n)) }

// RecordL1ViewMisses counts L1 block ids that L1 had to be asked for.
func (f *Follow) RecordL1ViewMisses(n int) { f.l1Misses.Add(float64(n)) }

// RecordTask counts a finished task of the engine controller.
func (f *Follow) RecordTask(kind string, waited, ran time.Duration, failed bool) {
	result := "success"
	if failed {
		result = "error"
	}
	f.tasks.WithLabelValues(kind, result).Inc()
	f.taskWait.WithLabelValues(kind).Observe(waited.Seconds())
	f.taskRun.WithLabelValues(kind).Observe(ran.Seconds())
}
