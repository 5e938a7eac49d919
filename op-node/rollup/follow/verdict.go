package follow

import "github.com/ethereum-optimism/optimism/op-service/eth"

// Target is a status that passed V1–V6 and V8: what the node should apply. Only this package makes one.
//
//   - T1: finalized ≤ safe ≤ local-safe by number, with equal hashes where numbers are equal; finalized may be unknown
//     as long as no finalized head was ever known.
//   - T2: the L1 origins of the three and CurrentL1 were canonical in one view of L1 when it was made; CurrentL1 may be
//     the one applied before, if the source went back while its heads did not.
//   - T3: finalized is not lower than the finalized head that it was judged against.
type Target struct {
	labels    Labels
	currentL1 eth.L1BlockRef
	// free tells that the labels need not be of the branch that is applied.
	free bool
	// revokes tells that the labels take back what is applied: they are of another branch.
	revokes bool
	// revoked is the number of the L1 block of the last revocation, of this one if it revokes.
	revoked uint64
	// l1Final is the number of the finalized L1 block when the status was judged.
	l1Final uint64
	// basis is what was applied when the status was judged.
	basis Applied
}

// Labels are the labels to apply.
func (t Target) Labels() Labels { return t.labels }

// CurrentL1 is the L1 block to publish together with the labels.
func (t Target) CurrentL1() eth.L1BlockRef { return t.currentL1 }

// Same tells that two targets ask for the same, whatever they were judged against.
func (t Target) Same(other Target) bool {
	return t.labels == other.labels && t.currentL1 == other.currentL1
}

// Stale tells that the target must not be applied any more: something else was applied since it was judged, and it would
// take that back, or might. Its status has to be judged again.
func (t Target) Stale(now Applied) bool {
	if t.basis == now {
		return false
	}
	if t.free || t.basis.Revoked != now.Revoked {
		return true
	}
	l1Back := known(now.CurrentL1.Hash) && (t.currentL1.Number < now.CurrentL1.Number ||
		(t.currentL1.Number == now.CurrentL1.Number && t.currentL1.Hash != now.CurrentL1.Hash))
	return l1Back || below(t.labels.LocalSafe.L2BlockRef, now.LocalSafe.L2BlockRef) ||
		below(t.labels.Safe.L2BlockRef, now.Safe.L2BlockRef) || below(t.labels.Finalized.L2BlockRef, now.Finalized.L2BlockRef)
}

// Contains is the block that the target's branch has to contain, because its status claims to go on from there: the
// local-safe head that was applied when it was judged. ok is false for a target that may be of another branch.
func (t Target) Contains() (ref eth.L2BlockRef, ok bool) {
	return t.basis.LocalSafe.L2BlockRef, !t.free && known(t.basis.LocalSafe.Hash)
}

// Applied is what V5 and V6 have to compare with once the target has been applied.
func (t Target) Applied() Applied {
	return Applied{Labels: t.labels, CurrentL1: t.currentL1, Revoked: t.revoked}
}

// Revokes tells that the target takes back what is applied: its labels are of another branch, which is meant.
func (t Target) Revokes() bool { return t.revokes }

// Verdict is the outcome of a validation: accepted with a target, or deferred or rejected with a reason.
type Verdict struct {
	reason   Reason
	relation Relation
	target   Target
	// claim is the target of a revocation, which is applied once the source insists on it; slow if it takes that long.
	claim Target
	slow  bool
	// wantsL1Final is the number of an L1 block that has to be final before all of the status counts.
	wantsL1Final uint64
	// unread is the number at which the local chain has to be read.
	unread uint64
}

func refuse(r Reason) Verdict { return Verdict{reason: r} }

// Accepted returns the target of an accepted status.
func (v Verdict) Accepted() (Target, bool) { return v.target, v.reason == None }

// Reason is None for an accepted status.
func (v Verdict) Reason() Reason { return v.reason }

// Relation is how the status stands to what is applied; RelationUnknown for one that passed no further than V4 or V6.
func (v Verdict) Relation() Relation { return v.relation }

// WantsL1Final is the number of an L1 block that L1 has to finalize before the finalized head of the status counts (spec
// V8); zero if nothing is held back.
func (v Verdict) WantsL1Final() uint64 { return v.wantsL1Final }

// Unread is the number at which the local chain has to be looked up for a verdict; ok is false if that is not what it
// takes.
func (v Verdict) Unread() (number uint64, ok bool) {
	return v.unread, v.reason == EngineUnavailable && v.unread != 0
}
