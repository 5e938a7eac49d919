package follow

import "github.com/ethereum-optimism/optimism/op-service/eth"

// Target is a status that passed V1–V6: what the node should apply. Only Validate makes one.
//
//   - T1: finalized ≤ safe ≤ local-safe by number, with equal hashes where numbers are equal; finalized may be unknown
//     as long as no finalized head was ever known.
//   - T2: the L1 origins of the three and CurrentL1 were canonical in one view of L1 when it was made; CurrentL1 may be
//     the one applied before, if the source went back while its heads did not.
//   - T3: finalized is not lower than the finalized head that it was judged against.
type Target struct {
	labels    Labels
	currentL1 eth.L1BlockRef
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
// take that back. Its status has to be judged again.
func (t Target) Stale(now Applied) bool {
	if t.basis == now {
		return false
	}
	l1Back := known(now.CurrentL1.Hash) && (t.currentL1.Number < now.CurrentL1.Number ||
		(t.currentL1.Number == now.CurrentL1.Number && t.currentL1.Hash != now.CurrentL1.Hash))
	return l1Back || below(t.labels.LocalSafe.L2BlockRef, now.LocalSafe.L2BlockRef) ||
		below(t.labels.Safe.L2BlockRef, now.Safe.L2BlockRef) || below(t.labels.Finalized.L2BlockRef, now.Finalized.L2BlockRef)
}

// Applied is what V5 and V6 have to compare with once the target has been applied.
func (t Target) Applied() Applied {
	return Applied{Labels: t.labels, CurrentL1: t.currentL1, Revoked: t.revoked}
}

// Revokes tells that the target takes back what is applied: its labels are of another branch, which is meant.
func (t Target) Revokes() bool { return t.revokes }

// Verdict is the outcome of a validation: accepted with a target, or deferred or rejected with a reason.
type Verdict struct {
	reason Reason
	target Target
}

func accept(t Target) Verdict { return Verdict{target: t} }

func refuse(r Reason) Verdict { return Verdict{reason: r} }

// Accepted returns the target of an accepted status.
func (v Verdict) Accepted() (Target, bool) { return v.target, v.reason == None }

// Reason is None for an accepted status.
func (v Verdict) Reason() Reason { return v.reason }
