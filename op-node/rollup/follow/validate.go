package follow

import (
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Facts are what the rules need beside the status and what was applied before.
type Facts struct {
	Chain Chain
	// L1 holds the answers for the ids that L1Refs names, all of one view.
	L1 L1Facts
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
// status, so that it is the same for the same arguments.
func L1Refs(status Status, prev Applied) []eth.BlockID {
	s := status.normalized()
	refs := make([]eth.BlockID, 0, 5)
	add := func(id eth.BlockID) {
		if !known(id.Hash) {
			return
		}
		for _, have := range refs {
			if have == id {
				return
			}
		}
		refs = append(refs, id)
	}
	for _, ref := range s.heads() {
		add(ref.L1Origin)
	}
	add(s.CurrentL1.ID())
	add(history(prev))
	return refs
}

// Validate judges a status by V1–V6. It is total: it needs no earlier Screen, though a caller should screen first to
// save the L1 look-up. prev is what the node has applied last.
func Validate(status Status, facts Facts, prev Applied) Verdict {
	if r := Screen(status, facts.Chain); r != None {
		return refuse(r)
	}
	s := status.normalized()
	if r := canonical(s, facts.L1); r != None {
		return refuse(r)
	}
	if sameHeightOtherHash(s.Finalized, prev.Finalized.L2BlockRef) {
		return refuse(FinalizedConflict)
	}
	currentL1, r := progress(s, facts.L1, prev)
	if r != None {
		return refuse(r)
	}
	finalized, r := finality(s, prev.Finalized)
	if r != None {
		return refuse(r)
	}
	return accept(Target{
		labels:    Labels{LocalSafe: LocalSafe{s.LocalSafe}, Safe: Safe{s.Safe}, Finalized: finalized},
		currentL1: currentL1,
		revoked:   prev.Revoked,
		basis:     prev,
	})
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

// history is the L1 block that stands for the L1 history behind what was applied: the current L1 of that status or,
// for labels read from the execution engine at start, the L1 origin of the own local-safe head, which is the youngest
// L1 block known to be part of it.
func history(prev Applied) eth.BlockID {
	if known(prev.CurrentL1.Hash) {
		return prev.CurrentL1.ID()
	}
	return prev.LocalSafe.L1Origin
}

// progress is V5: it rejects a replay of the past and returns the current L1 to publish. With P the previous current L1
// and N the new one, heads may go back only if P was reorged out, or if N is above P: the source has read more of L1
// and revoked something. It expects that N is canonical.
func progress(s Status, l1 L1Facts, prev Applied) (eth.L1BlockRef, Reason) {
	p, n := prev.CurrentL1, s.CurrentL1
	wentBack := below(s.LocalSafe, prev.LocalSafe.L2BlockRef) || below(s.Safe, prev.Safe.L2BlockRef)
	if known(p.Hash) && (n.Number > p.Number || n.ID() == p.ID()) {
		if wentBack && n.Number == p.Number {
			return eth.L1BlockRef{}, Regressed
		}
		return n, None
	}
	if !known(p.Hash) && !wentBack {
		return n, None
	}
	reorged, r := reorgedOut(history(prev), n, l1)
	switch {
	case !wentBack && reorged:
		return n, None
	case !wentBack:
		// The source restarted and reads L1 again. Its heads are good, its current L1 would take ours back. Whether P
		// is still canonical may be unknown here; then it is asked again with the next status.
		return p, None
	case r != None:
		return eth.L1BlockRef{}, r
	case reorged:
		return n, None
	default:
		return eth.L1BlockRef{}, Regressed
	}
}

// reorgedOut tells whether the L1 block id is no longer canonical, given that n is. The answer is unsure exactly when
// the reason is not None.
func reorgedOut(id eth.BlockID, n eth.L1BlockRef, l1 L1Facts) (bool, Reason) {
	if id.Number == n.Number {
		return id.Hash != n.Hash, None
	}
	switch l1[id] {
	case L1Canonical:
		return false, None
	case L1Mismatch:
		return true, None
	case L1Behind:
		return false, L1TooLow
	default:
		return false, L1CallFailed
	}
}

// finality is V6, but for the part that needs the target's chain, which Plan looks at. The finalized head never goes
// back, and it is never above the safe head.
func finality(s Status, own Finalized) (Finalized, Reason) {
	finalized := own
	if known(s.Finalized.Hash) && (!known(own.Hash) || s.Finalized.Number > own.Number) {
		finalized = Finalized{s.Finalized}
	}
	if below(s.Safe, finalized.L2BlockRef) {
		return own, FinalizedConflict
	}
	return finalized, None
}

func sameHeightOtherHash(a, b eth.L2BlockRef) bool {
	return known(a.Hash) && known(b.Hash) && a.Number == b.Number && a.Hash != b.Hash
}
