package follow

import (
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Facts are what the rules need beside the status and what was applied before.
type Facts struct {
	Chain Chain
	// L1 holds the answers for the ids that L1Refs names, all of one view.
	L1 L1Facts
	// L1Final is the number of the L1 block that L1 itself has finalized, zero if that is not known.
	L1Final uint64
	// L1Start is the number of the own L1 head when the node started.
	L1Start uint64
	// Local is what is known of the local chain.
	Local LocalChain
	// Aside are heads that were shown not to contain the applied local-safe head.
	Aside []eth.L2BlockRef
	// Pairs are those that were applied.
	Pairs Pairs
}

// Screen applies the rules that need no L1 look-up: V1 (complete), V2 (order) and V3 (this chain). A status that does
// not pass it must not cost an L1 call.
func Screen(status Status, chain Chain) Reason {
	s := status.normalized()
	if !complete(s) {
		return Incomplete
	}
	if !ordered(s) {
		return Order
	}
	for _, ref := range s.heads() {
		if !chain.contains(ref) {
			return WrongChain
		}
	}
	return None
}

// L1Refs lists the L1 blocks whose canonicity Validate will ask for, without repetition. The order is that of the
// status, so that it is the same for the same arguments. It looks at all facts but L1.
func (f Facts) L1Refs(status Status, prev Applied) []eth.BlockID {
	s := status.normalized()
	refs := make([]eth.BlockID, 0, 6)
	add := func(id eth.BlockID) {
		if known(id.Hash) && !slices.Contains(refs, id) {
			refs = append(refs, id)
		}
	}
	for _, ref := range s.heads() {
		add(ref.L1Origin)
	}
	add(s.CurrentL1.ID())
	add(prev.CurrentL1.ID())
	add(prev.LocalSafe.L1Origin)
	if namesMoreFinality(s, prev) {
		if pair, ok := f.Pairs.derivedBy(f.L1Final); ok {
			add(pair.CurrentL1.ID())
		}
	}
	return refs
}

// Validate judges a status by V1–V6, V8 and the relation. It is total: it needs no earlier Screen, though a caller should
// screen first to save the L1 look-up. prev is what the node has applied last.
func Validate(status Status, facts Facts, prev Applied) Verdict {
	if r := Screen(status, facts.Chain); r != None {
		return refuse(r)
	}
	s := status.normalized()
	if r := canonical(s, facts.L1); r != None {
		return refuse(r)
	}
	if crossesFinality(s, facts.Local, prev.Finalized.L2BlockRef) {
		return refuse(FinalizedConflict)
	}
	relation, incoherent := relate(s, facts, prev)
	if incoherent {
		return refuse(Incoherent)
	}
	return judgement{s: s, facts: facts, prev: prev, relation: relation}.verdict()
}

// crossesFinality is V6, but for the part that needs the target's chain, which Plan looks at: a head is not the own
// finalized block at its height, or another one than the local chain has below it.
func crossesFinality(s Status, local LocalChain, own eth.L2BlockRef) bool {
	if !known(own.Hash) {
		return false
	}
	for _, ref := range s.heads() {
		if sameHeightOtherHash(ref, own) || ref.Number < own.Number && local.lacks(ref) {
			return true
		}
	}
	return false
}

// heads lists the known heads of a normalized status, from the lowest label up.
func (s Status) heads() []eth.L2BlockRef {
	if !known(s.Finalized.Hash) {
		return []eth.L2BlockRef{s.Safe, s.LocalSafe}
	}
	return []eth.L2BlockRef{s.Finalized, s.Safe, s.LocalSafe}
}

// complete is V1. A head without an L1 origin cannot be judged, so it is not known well enough.
func complete(s Status) bool {
	if !known(s.Safe.Hash) || !known(s.CurrentL1.Hash) {
		return false
	}
	for _, ref := range s.heads() {
		if !known(ref.L1Origin.Hash) {
			return false
		}
	}
	return true
}

// ordered is V2.
func ordered(s Status) bool {
	heads := s.heads()
	for i := 1; i < len(heads); i++ {
		lower, upper := heads[i-1], heads[i]
		if below(upper, lower) || upper.L1Origin.Number < lower.L1Origin.Number {
			return false
		}
	}
	return true
}

// canonical is V4. A contradiction outweighs an answer that is missing.
func canonical(s Status, l1 L1Facts) Reason {
	worst := None
	judge := func(id eth.BlockID) {
		switch l1[id] {
		case L1Canonical:
		case L1Mismatch:
			worst = L1Contradicts
		case L1Behind:
			if worst == None {
				worst = L1TooLow
			}
		default:
			if worst != L1Contradicts {
				worst = L1CallFailed
			}
		}
	}
	for _, ref := range s.heads() {
		judge(ref.L1Origin)
	}
	judge(s.CurrentL1.ID())
	return worst
}

// namesMoreFinality tells that a status finalizes more than is final here.
func namesMoreFinality(s Status, prev Applied) bool {
	return known(s.Finalized.Hash) && (!known(prev.Finalized.Hash) || s.Finalized.Number > prev.Finalized.Number)
}

// final is as much of a finalized head as is final by the own L1 finality (spec V8): the head itself, or the local-safe head
// that was derived up to the finalized L1 block; unknown if it is neither known. next is the pair that the target will be.
// Without the whole head, wants is the number of an L1 block that would have to be final for that, or the best guess at one.
func (f Facts) final(ref eth.L2BlockRef, next Pair) (final eth.L2BlockRef, wants uint64) {
	before := f.Pairs.fromBefore(ref)
	if ref.ID() == f.Chain.Genesis || next.derivedAt() <= f.L1Final || before && ref.L1Origin.Number <= f.L1Final {
		return ref, 0
	}
	pair, found := f.Pairs.derivedBy(f.L1Final)
	if found = found && f.L1[pair.CurrentL1.ID()] == L1Canonical; found && ref.Number <= pair.LocalSafe.Number {
		return ref, 0
	}
	if found {
		final = pair.LocalSafe.L2BlockRef
	}
	switch pair, found := f.Pairs.covering(ref.Number); {
	case before:
		return final, ref.L1Origin.Number
	case found:
		return final, pair.derivedAt()
	default:
		return final, next.derivedAt()
	}
}

func sameHeightOtherHash(a, b eth.L2BlockRef) bool {
	return known(a.Hash) && known(b.Hash) && a.Number == b.Number && a.Hash != b.Hash
}
