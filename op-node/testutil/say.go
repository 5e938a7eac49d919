package testutil

import (
	"fmt"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/sources"
)

// Say is what a source answers when it is asked for its status now. Those below are decorators of others, or of what
// follows from L1.
type Say func() (follow.Status, error)

// Derivation is an L2 and the L1 that it follows from: what a deriving node says when it has digested L1 up to a block.
type Derivation struct {
	L1 *modelel.L1Branch
	L2 *modelel.Branch
	// PerL1 is how many L2 blocks have the same origin; their batch lands BatchDelay L1 blocks later, and L1 finalizes
	// that after Finality more.
	PerL1, BatchDelay, Finality uint64
}

// At is the status of a deriving node with its cursor at an L1 block.
func (d Derivation) At(l1 uint64) follow.Status {
	back := func(n uint64) eth.L2BlockRef { return d.L2.Block(d.PerL1 * (l1 - min(l1, n))).Ref }
	safe := back(d.BatchDelay)
	return follow.Status{LocalSafe: safe, Safe: safe, Finalized: back(d.BatchDelay + d.Finality), CurrentL1: d.L1.Block(l1).Ref}
}

// Cursor is how far a node has digested L1 at the time of asking.
type Cursor func() uint64

// Honest is a deriving node at a cursor, most often the head of L1.
func Honest(d Derivation, at Cursor) Say {
	return func() (follow.Status, error) { return d.At(at()), nil }
}

// Always says one thing.
func Always(status follow.Status) Say {
	return func() (follow.Status, error) { return status, nil }
}

// Down is a source that cannot be reached.
func Down() Say {
	return func() (follow.Status, error) {
		return follow.Status{}, fmt.Errorf("%w: connection refused", sources.ErrFetch)
	}
}

// Slow takes a while.
func Slow(d time.Duration, say Say) Say {
	return func() (follow.Status, error) {
		time.Sleep(d)
		return say()
	}
}

// Frozen repeats its first answer for ever.
func Frozen(say Say) Say { return sync.OnceValues(say) }

// InTurn is several nodes behind a load balancer, that take turns: a replica that lags, one that is on another branch,
// one that is down. With two that contradict each other it is a source that equivocates.
func InTurn(says ...Say) Say {
	var mu sync.Mutex
	next := -1
	return func() (follow.Status, error) {
		mu.Lock()
		next = (next + 1) % len(says)
		say := says[next]
		mu.Unlock()
		return say()
	}
}

// Then says one thing until a time, and another from then on.
func Then(before Say, at time.Time, after Say) Say {
	return func() (follow.Status, error) {
		if time.Now().Before(at) {
			return before()
		}
		return after()
	}
}

// Behind is a cursor that lags.
func Behind(blocks uint64, at Cursor) Cursor {
	return func() uint64 { return at() - min(at(), blocks) }
}

// CatchingUp is a cursor that is some blocks behind now, and makes up for it at a pace.
func CatchingUp(blocks uint64, each time.Duration, at Cursor) Cursor {
	begin := time.Now()
	return func() uint64 {
		return Behind(blocks-min(blocks, uint64(time.Since(begin)/each)), at)()
	}
}

// Rewound is a node that lost what it had derived: all that it says is from an L1 block far back, and catches up.
func Rewound(d Derivation, blocks uint64, each time.Duration, at Cursor) Say {
	return Honest(d, CatchingUp(blocks, each, at))
}

// Restarting is a node that restarted: it has its heads, which stand still, while it reads L1 again from far back.
func Restarting(d Derivation, blocks uint64, each time.Duration, at Cursor) Say {
	kept, cursor := d.At(at()), CatchingUp(blocks, each, at)
	return func() (follow.Status, error) {
		status := d.At(cursor())
		if status.LocalSafe.Number < kept.LocalSafe.Number {
			kept.CurrentL1 = status.CurrentL1
			return kept, nil
		}
		return status, nil
	}
}

// Changed is a source whose answers are changed before anybody sees them.
func Changed(say Say, change func(*follow.Status)) Say {
	return func() (follow.Status, error) {
		status, err := say()
		change(&status)
		return status, err
	}
}

// EarlyFinality calls everything final that is safe.
func EarlyFinality(say Say) Say {
	return Changed(say, func(s *follow.Status) { s.Finalized = s.Safe })
}

// FalseTimes lies about the time of L1 blocks, by a number of seconds.
func FalseTimes(seconds int64, say Say) Say {
	return Changed(say, func(s *follow.Status) { s.CurrentL1.Time = uint64(int64(s.CurrentL1.Time) + seconds) })
}

// Kona is the consensus node of another kind: what it calls its current L1 is the head of its L1 and no cursor, which is
// behind; and it has one safe head for both.
func Kona(d Derivation, cursor, head Cursor) Say {
	return Changed(Honest(d, cursor), func(s *follow.Status) {
		s.CurrentL1, s.LocalSafe = d.L1.Block(head()).Ref, eth.L2BlockRef{}
	})
}

// Supernode is a node for several chains: cross-safe is far behind local-safe, and after a fresh start it knows no finality
// for minutes.
func Supernode(d Derivation, at Cursor, crossBehind uint64, noFinality time.Duration) Say {
	begin := time.Now()
	return Changed(Honest(d, at), func(s *follow.Status) {
		s.Safe = d.L2.Block(s.Safe.Number - min(s.Safe.Number, crossBehind)).Ref
		if s.Finalized.Number > s.Safe.Number {
			s.Finalized = s.Safe
		}
		if time.Since(begin) < noFinality {
			s.Finalized = eth.L2BlockRef{}
		}
	})
}

// Cached is a source behind a proxy that serves an answer again while it is not too old.
func Cached(age time.Duration, say Say) Say {
	var mu sync.Mutex
	var status follow.Status
	var asked time.Time
	return func() (follow.Status, error) {
		mu.Lock()
		defer mu.Unlock()
		if !asked.IsZero() && time.Since(asked) < age {
			return status, nil
		}
		fresh, err := say()
		if err != nil {
			return fresh, err
		}
		status, asked = fresh, time.Now()
		return status, nil
	}
}
