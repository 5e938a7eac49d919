package follow

import (
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// maxPairs bounds how many pairs are remembered: five times what L1 leaves open between head and finality as a rule.
const maxPairs = 512

// Pair is what was applied together: labels, and the L1 block up to which they were derived.
type Pair struct {
	Labels
	CurrentL1 eth.L1BlockRef
}

// Pairs are the pairs that this node applied, back to L1 finality, one for each current L1 block (spec P1). They tell
// what was derived up to an L1 block: for finality (spec V8), and for where to go back to when L1 is reorged.
//
//   - From one pair to the next the number of the current L1 rises, and that of the local-safe head does not fall.
//   - All of them are of the branch that is applied: a revocation ends those that it may have taken back.
//
// It is an immutable value; the zero value has no pairs. Any goroutine may call its methods.
type Pairs struct {
	list []Pair
	// before is the height up to which blocks may have been derived before the first pair, so that no pair tells up to
	// which L1 block. It counts once there was a pair.
	before uint64
	begun  bool
}

// Add returns the pairs with what is applied once a target is, and without those that are not needed any more. Call it
// when the target is committed.
func (p Pairs) Add(t Target) Pairs {
	if !known(t.currentL1.Hash) {
		return p
	}
	next := Pair{Labels: t.labels, CurrentL1: t.currentL1}
	list := slices.DeleteFunc(slices.Clone(p.list), func(old Pair) bool {
		return old.CurrentL1.Number >= next.CurrentL1.Number || old.LocalSafe.Number > next.LocalSafe.Number ||
			t.revokes && old.LocalSafe.Number > next.Finalized.Number
	})
	list = append(list, next)
	before := next.LocalSafe.Number
	if p.begun {
		before = p.before
	}
	if t.revokes {
		before = min(before, next.Finalized.Number)
	}
	// The newest pair that is not above L1's finality bounds what may be final; what is older bounds nothing.
	first := 0
	for i, pair := range list {
		if pair.derivedAt() <= t.l1Final {
			first = i
		}
	}
	first = max(first, len(list)-maxPairs)
	return Pairs{list: slices.Clone(list[first:]), before: before, begun: true}
}

// Canonical returns the newest pair whose current L1 is canonical, and the pairs up to it: what was derived of the L1
// that is left after a reorg (spec G2). ok is false if there is none. answer is a view of L1.
func (p Pairs) Canonical(answer func(eth.BlockID) L1Answer) (pair Pair, upTo Pairs, ok bool) {
	for i := len(p.list) - 1; i >= 0; i-- {
		if pair := p.list[i]; answer(pair.CurrentL1.ID()) == L1Canonical && answer(pair.LocalSafe.L1Origin) != L1Mismatch {
			return p.list[i], Pairs{list: p.list[: i+1 : i+1], before: p.before, begun: p.begun}, true
		}
	}
	return Pair{}, Pairs{before: p.before, begun: p.begun}, false
}

// Len is the number of pairs.
func (p Pairs) Len() int { return len(p.list) }

// derivedAt is the number of the L1 block up to which the pair was derived. A head is not older than its own L1 origin,
// whatever current L1 it was named with: a source that has just restarted names one far back.
func (p Pair) derivedAt() uint64 { return max(p.CurrentL1.Number, p.LocalSafe.L1Origin.Number) }

// derivedBy is the newest pair that was derived up to an L1 block, by its number.
func (p Pairs) derivedBy(l1 uint64) (Pair, bool) {
	for i := len(p.list) - 1; i >= 0; i-- {
		if p.list[i].derivedAt() <= l1 {
			return p.list[i], true
		}
	}
	return Pair{}, false
}

// covering is the oldest pair whose local-safe head is not below a height.
func (p Pairs) covering(number uint64) (Pair, bool) {
	for _, pair := range p.list {
		if pair.LocalSafe.Number >= number {
			return pair, true
		}
	}
	return Pair{}, false
}

// fromBefore tells that a block may have been derived before there was a pair.
func (p Pairs) fromBefore(ref eth.L2BlockRef) bool { return !p.begun || ref.Number <= p.before }
