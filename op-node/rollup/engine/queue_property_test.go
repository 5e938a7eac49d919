package engine

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// listed is a task in the obvious queue: a list in the order of posting, searched from the front.
type listed struct {
	task
	class int
}

type obviousQueue struct {
	patience time.Duration
	list     []listed
}

func (q *obviousQueue) post(t task) {
	if t.call == nil {
		for i := range q.list {
			if q.list[i].kind == t.kind {
				t.queued = q.list[i].queued
				q.list[i].task = t
				return
			}
		}
	}
	q.list = append(q.list, listed{t, t.kind.priority()})
}

func (q *obviousQueue) first(class int) int {
	for i, t := range q.list {
		if t.class == class {
			return i
		}
	}
	return -1
}

func (q *obviousQueue) next(now time.Time) (task, bool) {
	pick := -1
	for class := numPriorities - 1; class >= 0; class-- {
		if i := q.first(class); i >= 0 {
			pick = i
		}
	}
	overdue := q.first(numPriorities - 1)
	if overdue >= 0 && q.first(0) < 0 && q.first(1) < 0 && now.Sub(q.list[overdue].queued) > q.patience {
		pick = overdue
	}
	if pick < 0 {
		return task{}, false
	}
	t := q.list[pick].task
	q.list = append(q.list[:pick:pick], q.list[pick+1:]...)
	return t, true
}

// plainKinds are the tasks without a caller.
var plainKinds = func() (kinds []Kind) {
	for k := range numKinds {
		if !isCall(k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}()

func isCall(k Kind) bool { return k >= KindRecover && k <= KindCancel }

// TestQueueAgainstObvious: the queue hands out the tasks of a list that is searched anew each time.
func TestQueueAgainstObvious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const patience = 4 * time.Second
		now := time.Unix(0, 0)
		q, model := newQueue(patience), &obviousQueue{patience: patience}
		post := func(task task) {
			q.post(task)
			model.post(task)
		}
		t.Repeat(map[string]func(*rapid.T){
			"post": func(t *rapid.T) {
				post(task{kind: rapid.SampledFrom(plainKinds).Draw(t, "kind"), queued: now, target: new(follow.Target)})
			},
			"insert": func(*rapid.T) { post(task{kind: KindInsert, queued: now}) },
			"call": func(t *rapid.T) {
				work := &call{ctx: context.Background()}
				post(task{kind: rapid.SampledFrom([]Kind{KindBuild, KindSeal, KindProcess}).Draw(t, "kind"), queued: now, call: work})
			},
			"next": func(t *rapid.T) {
				want, wantOK := model.next(now)
				got, ok := q.next(now)
				require.Equal(t, wantOK, ok)
				require.Equal(t, want.kind, got.kind)
				require.Equal(t, want.queued, got.queued)
				require.Same(t, want.target, got.target)
				require.Same(t, want.call, got.call)
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "tenths")) * 100 * time.Millisecond)
			},
			"": func(t *rapid.T) {
				for _, kind := range plainKinds {
					waits := false
					for _, entry := range model.list {
						waits = waits || entry.kind == kind
					}
					require.Equal(t, waits, q.waits(kind), "%s", kind)
				}
			},
		})
	})
}

// TestBoundedWait: however many inserts come, a task of the lowest class waits for its patience and for what stood before
// it in its class, and no longer. spec E5.
func TestBoundedWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const patience = 4 * time.Second
		now := time.Unix(0, 0)
		q := newQueue(patience)
		lowest := []Kind{}
		for _, kind := range plainKinds {
			if kind.priority() == numPriorities-1 {
				lowest = append(lowest, kind)
			}
		}
		longest := time.Duration(0)
		slowest := 300 * time.Millisecond
		for range rapid.IntRange(20, 200).Draw(t, "tasks") {
			q.post(task{kind: KindInsert, queued: now})
			if rapid.IntRange(0, 4).Draw(t, "other") == 0 {
				q.post(task{kind: rapid.SampledFrom(lowest).Draw(t, "kind"), queued: now})
			}
			got, _ := q.next(now)
			longest = max(longest, now.Sub(got.queued))
			now = now.Add(time.Duration(rapid.IntRange(1, int(slowest)).Draw(t, "a task takes")))
		}
		require.LessOrEqual(t, longest, patience+time.Duration(len(lowest)+1)*slowest)
	})
}

// TestRecentAgainstMap: the ring never says what a map of the canonical chain would not, and says all that it has room
// for.
func TestRecentAgainstMap(t *testing.T) {
	r := new(recent)
	rapid.Check(t, func(t *rapid.T) {
		r.clear()
		type entry struct {
			ref    eth.L2BlockRef
			pushed bool // out of its slot by a younger block
		}
		model := make(map[uint64]entry)
		branch := byte(1)
		head := uint64(0)
		block := func(number uint64) eth.L2BlockRef {
			return eth.L2BlockRef{Hash: common.Hash{branch, byte(number >> 16), byte(number >> 8), byte(number)}, Number: number}
		}
		put := func(number uint64) {
			younger := false
			for n, e := range model {
				if n%recentBlocks == number%recentBlocks && n > number && !e.pushed {
					younger = true
				} else if n%recentBlocks == number%recentBlocks && n < number {
					model[n] = entry{e.ref, true}
				}
			}
			r.put(block(number))
			model[number] = entry{block(number), younger}
		}
		t.Repeat(map[string]func(*rapid.T){
			"extend": func(*rapid.T) { head++; put(head) },
			"jump": func(t *rapid.T) { // as after a sync
				head += rapid.Uint64Range(1, 3*recentBlocks).Draw(t, "blocks")
				put(head)
			},
			"look up": func(t *rapid.T) { put(head - rapid.Uint64Range(0, head).Draw(t, "below head")) },
			"cut": func(t *rapid.T) {
				keep := head - rapid.Uint64Range(0, min(head, 2*recentBlocks)).Draw(t, "blocks cut")
				r.cut(keep)
				for n := range model {
					if n > keep {
						delete(model, n)
					}
				}
				head, branch = keep, branch+1 // what comes now is on another branch
			},
			"clear": func(*rapid.T) {
				r.clear()
				clear(model)
				branch++
			},
			"": func(t *rapid.T) {
				for n, e := range model {
					got, ok := r.at(n)
					require.Equal(t, !e.pushed, ok, "block %d", n)
					if ok {
						require.Equal(t, e.ref, got)
					}
				}
				absent := head + 1 + rapid.Uint64Range(0, 2*recentBlocks).Draw(t, "absent")
				_, ok := r.at(absent)
				require.False(t, ok)
			},
		})
	})
}
