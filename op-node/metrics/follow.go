package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Follow are the metrics of follow mode and of the engine queue. They are registered in both modes, so that a scrape always has them.
type Follow struct {
	info          *prometheus.GaugeVec
	sourceUp      *prometheus.GaugeVec
	sourceSuccess *prometheus.GaugeVec
	sourceSeconds *prometheus.HistogramVec
	verdicts      *prometheus.CounterVec
	sourceHead    *prometheus.GaugeVec
	followed      *prometheus.GaugeVec
	switches      prometheus.Counter
	disagreements prometheus.Counter
	unresolved    prometheus.Gauge
	fresh         prometheus.Gauge
	lagBlocks     prometheus.Gauge
	lagSeconds    prometheus.Gauge
	l1Gap         prometheus.Gauge
	pending       prometheus.Gauge
	waiters       prometheus.Gauge
	waits         *prometheus.CounterVec
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
	single := func(name, help string) prometheus.Gauge {
		return factory.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	seconds := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return factory.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: taskBuckets}, labels)
	}
	return &Follow{
		info: factory.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "follow_info",
			Help: "1 on a node that follows, with its quorum and number of sources; absent on one that derives"}, []string{"quorum", "sources"}),
		sourceUp:      gauge("follow_source_up", "1 if the last poll of the source was answered, else 0"),
		sourceSuccess: gauge("follow_source_last_success_unix", "Unix time of the last answer of the source"),
		sourceSeconds: seconds("follow_source_poll_seconds", "Duration of polls of the source", "source"),
		verdicts: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "follow_verdicts_total",
			Help: "Judged statuses of the source by reason; see reasons.md"}, []string{"source", "reason"}),
		sourceHead: factory.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "follow_source_head_number",
			Help: "Number of the heads that the source shows"}, []string{"source", "type"}),
		followed:      gauge("follow_source_followed", "1 for the source that is followed; with a quorum above one, for none"),
		switches:      counter("follow_switches_total", "Times that another source was followed than before"),
		unresolved:    single("follow_reorg_unresolved", "1 while a light sequencer builds beside the chain of its source, which the engine does not get, else 0"),
		disagreements: counter("follow_disagreements_total", "Times that two sources began to contradict each other"),
		fresh:         single("follow_fresh", "1 while the applied labels are fresh, else 0"),
		lagBlocks:     single("follow_lag_blocks", "How many blocks the applied local-safe head is behind the best accepted source"),
		lagSeconds:    single("follow_lag_seconds", "How far the applied local-safe head is behind the best accepted source, in time of the chain"),
		l1Gap:         single("follow_l1_gap_blocks", "How many blocks the L1 block that the applied labels were derived up to is behind the L1 head"),
		pending:       single("follow_pending_seconds", "How long the engine has been asked for a head it does not have; 0 if it has not"),
		waiters:       single("follow_waiters", "Clients that wait for a change of the status in follow_statusAfter, in both modes"),
		waits: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "follow_waits_total",
			Help: "Calls of follow_statusAfter by outcome, in both modes"}, []string{"outcome"}),
		l1Hits:   counter("l1_view_hits_total", "L1 block ids judged from memory"),
		l1Misses: counter("l1_view_misses_total", "L1 block ids that L1 had to be asked for"),
		tasks: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "engine_tasks_total",
			Help: "Tasks of the engine controller by kind and result"}, []string{"task", "result"}),
		taskWait: seconds("engine_task_wait_seconds", "Time that tasks of the engine controller waited", "task"),
		taskRun:  seconds("engine_task_run_seconds", "Time that tasks of the engine controller ran", "task"),
	}
}

// RecordPoll tells how long a source took and whether it answered. A negative time is not known: of an answer that was waited for.
func (f *Follow) RecordPoll(source string, took time.Duration, ok bool) {
	if took >= 0 {
		f.sourceSeconds.WithLabelValues(source).Observe(took.Seconds())
	}
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

// RecordSourceHeads shows what a source says.
func (f *Follow) RecordSourceHeads(source string, status follow.Status) {
	f.sourceHead.WithLabelValues(source, "l2_local_safe").Set(float64(status.LocalSafe.Number))
	f.sourceHead.WithLabelValues(source, "l2_safe").Set(float64(status.Safe.Number))
	f.sourceHead.WithLabelValues(source, "l2_finalized").Set(float64(status.Finalized.Number))
	f.sourceHead.WithLabelValues(source, "l1_derived").Set(float64(status.CurrentL1.Number))
}

// RecordSources shows that the node follows, and whom. Each source is there from the beginning, with each reason at zero, so
// that the first of its kind is an increase.
func (f *Follow) RecordSources(names []string, quorum int) {
	f.info.WithLabelValues(strconv.Itoa(quorum), strconv.Itoa(len(names))).Set(1)
	for _, name := range names {
		f.sourceUp.WithLabelValues(name)
		f.followed.WithLabelValues(name)
		for _, reason := range follow.Reasons() {
			f.verdicts.WithLabelValues(name, reason.Code())
		}
	}
}

// RecordFollowed tells which source is followed, and which was before, if any.
func (f *Follow) RecordFollowed(source, before string) {
	if before != "" {
		f.followed.WithLabelValues(before).Set(0)
		f.switches.Inc()
	}
	f.followed.WithLabelValues(source).Set(1)
}

// RecordUnresolved tells whether blocks are built beside the chain of the source.
func (f *Follow) RecordUnresolved(unresolved bool) {
	f.unresolved.Set(0)
	if unresolved {
		f.unresolved.Set(1)
	}
}

// RecordDisagreement counts pairs of sources that began to contradict each other.
func (f *Follow) RecordDisagreement() { f.disagreements.Inc() }

// RecordFollowState shows whether the labels are fresh, how far they are behind the best accepted source, in blocks and in
// time of the chain, and for how many milliseconds the engine has been asked for a head it does not have, -1 if it has not.
func (f *Follow) RecordFollowState(fresh bool, lagBlocks uint64, lag time.Duration, pendingMs int64) {
	f.fresh.Set(0)
	if fresh {
		f.fresh.Set(1)
	}
	f.lagBlocks.Set(float64(lagBlocks))
	f.lagSeconds.Set(lag.Seconds())
	f.pending.Set(float64(max(pendingMs, 0)) / 1000)
}

// RecordWaiters shows how many clients wait for a change of the status.
func (f *Follow) RecordWaiters(count int) { f.waiters.Set(float64(count)) }

// RecordWait counts waits by outcome.
func (f *Follow) RecordWait(outcome string) { f.waits.WithLabelValues(outcome).Inc() }

// RecordL1Gap tells how many blocks the current L1 of what is applied is behind the own L1 head.
func (f *Follow) RecordL1Gap(blocks uint64) { f.l1Gap.Set(float64(blocks)) }

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
