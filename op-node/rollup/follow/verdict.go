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
}

// Labels are the labels to apply.
func (t Target) Labels() Labels { return t.labels }

// CurrentL1 is the L1 block to publish together with the labels.
func (t Target) CurrentL1() eth.L1BlockRef { return t.currentL1 }

// Applied is what V5 and V6 have to compare with once the target has been applied.
func (t Target) Applied() Applied { return Applied{Labels: t.labels, CurrentL1: t.currentL1} }

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
