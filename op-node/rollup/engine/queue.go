package engine

import (
	"context"
	"sync"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Kind names a task.
type Kind uint8

// The kinds of tasks in the order of their priority, highest first.
const (
	// KindLoad reads the initial heads from the engine's labels.
	KindLoad Kind = iota
	// KindReset reads the engine's labels again after the engine lost or moved blocks.
	KindReset
	// KindRewind takes the unsafe head back to the newest block with a canonical L1 origin.
	KindRewind
	// KindRecover is KindRewind for a sequencer that cannot build on the head, and waits for an answer to that.
	KindRecover
	// KindBuild starts a block on the unsafe head, for the sequencer.
	KindBuild
	// KindSeal fetches the block that was started.
	KindSeal
	// KindProcess makes a sealed block the unsafe head.
	KindProcess
	// KindAnnounce tells the sequencer the heads.
	KindAnnounce
	// KindCancel stops the making of a block.
	KindCancel
	// KindInsert hands the next unsafe payload to the engine.
	KindInsert
	// KindFollow applies a follow target.
	KindFollow
	// KindProbe asks again for what the engine answered SYNCING to.
	KindProbe
	// KindGap offers the first payload behind a gap to the engine as a sync target.
	KindGap
	numKinds
)

var kindNames = [numKinds]string{"load", "reset", "rewind", "recover", "build", "seal", "process", "announce", "cancel",
	"insert", "follow", "probe", "gap"}

// String returns the name used in logs and as metric label.
func (k Kind) String() string { return kindNames[k] }

// priority groups the kinds into classes: the lower runs first, FIFO within one. Consolidate and finalize tasks would
// stand below follow.
func (k Kind) priority() int {
	switch k {
	case KindLoad, KindReset, KindRewind, KindRecover:
		return 0
	case KindBuild, KindSeal, KindProcess, KindAnnounce, KindCancel:
		return 1
	case KindInsert:
		return 2
	default:
		return 3
	}
}

const numPriorities = 4

// task is one piece of work of the controller.
type task struct {
	kind Kind
	// queued is when work of this kind started to wait: a newer task that replaces a waiting one inherits it.
	queued time.Time
	// target is set for KindFollow.
	target *follow.Target
	// call is set for the tasks of the sequencer.
	call *call
}

// call is work with a result for one caller.
type call struct {
	// ctx is the caller's. Work that it ends before is not begun.
	ctx context.Context
	// work does it and hands the result to the caller; the error is for the count alone.
	work func(ctx context.Context) error
}

// queue holds the waiting tasks. All methods may be called from any goroutine.
//
// At most one task of a kind waits: a task carries no more than the newest order, and whoever posts a kind that waits
// already replaces its content (latest wins) and keeps its place. Unsafe payloads wait in the inbox; one KindInsert task
// stands for all of them. Calls are the exception: each has a caller who waits for it, so each keeps a place of its own.
// They are few: a sequencer has one at a time.
type queue struct {
	// patience bounds the wait of a task of the lowest class: one that waited longer runs next.
	patience time.Duration
	// wake receives a signal, without blocking, when a task was added.
	wake chan struct{}

	mu      sync.Mutex
	waiting [numKinds]*task
	order   [numPriorities][]Kind
	calls   []task
}

func newQueue(patience time.Duration) *queue {
	return &queue{patience: patience, wake: make(chan struct{}, 1)}
}

// post adds a task, or replaces the one of its kind that waits.
func (q *queue) post(t task) {
	q.mu.Lock()
	p := t.kind.priority()
	if old := q.waiting[t.kind]; old != nil {
		t.queued = old.queued
	} else {
		q.order[p] = append(q.order[p], t.kind)
	}
	if t.call != nil {
		q.calls = append(q.calls, t)
	} else {
		q.waiting[t.kind] = &t
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next removes and returns the task to run now.
func (q *queue) next(now time.Time) (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lowest := numPriorities - 1
	if len(q.order[0]) == 0 && len(q.order[1]) == 0 && len(q.order[lowest]) > 0 {
		// Recovery goes first whatever waits: what the others would do is wrong until it is done. The sequencer cannot
		// keep anybody waiting: it does not call again before it has its answer, and a block time passes in between.
		if first := q.waiting[q.order[lowest][0]]; now.Sub(first.queued) > q.patience {
			return q.take(lowest), true
		}
	}
	for p := range q.order {
		if len(q.order[p]) > 0 {
			return q.take(p), true
		}
	}
	return task{}, false
}

func (q *queue) take(priority int) task {
	kind := q.order[priority][0]
	q.order[priority] = append(q.order[priority][:0], q.order[priority][1:]...)
	if q.waiting[kind] == nil {
		t := q.calls[0]
		q.calls = append(q.calls[:0], q.calls[1:]...)
		return t
	}
	t := *q.waiting[kind]
	q.waiting[kind] = nil
	return t
}

// waits tells whether a task of the kind is in the queue.
func (q *queue) waits(kind Kind) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[kind] != nil
}
