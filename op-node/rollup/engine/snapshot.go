package engine

import (
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Phase is how far the own execution engine is.
type Phase uint8

const (
	// PhaseLoading: the engine's labels were not read yet.
	PhaseLoading Phase = iota
	// PhaseAwaiting: execution-layer sync is wanted and nothing was found to sync to yet.
	PhaseAwaiting
	// PhaseSyncing: the initial execution-layer sync runs.
	PhaseSyncing
	// PhaseFollowing: the engine executes blocks; labels are followed.
	PhaseFollowing
)

// String names the phase for logs and RPC.
func (p Phase) String() string {
	return [...]string{"loading", "awaiting-target", "syncing", "following"}[p]
}

// Snapshot is what the controller has to say at one moment. It is immutable: all parts belong together, and a reader
// that needs two of them takes both from one Snapshot.
type Snapshot struct {
	// Heads were all acknowledged by the engine, but for the unsafe head in PhaseSyncing, which is the sync target.
	Heads follow.Heads
	// Pairs are the targets that were applied (spec P1).
	Pairs follow.Pairs
	// GoneSince is since when an L1 block that the labels rest on has been gone; zero if none is (spec G2).
	GoneSince time.Time
	// applied is what Applied says.
	applied follow.Applied
	// CurrentL1 is the current L1 block that belongs to the labels; unknown until a target was applied.
	CurrentL1 eth.L1BlockRef
	// Aside are heads that were shown not to contain the applied local-safe head (spec R11). It must not be changed.
	Aside []eth.L2BlockRef
	// Phase tells whether the engine follows already.
	Phase Phase
	// PhaseSince is when the phase began.
	PhaseSince time.Time
	// Pending is the head that the engine answered SYNCING to; zero without one.
	Pending eth.L2BlockRef
	// PendingSince is when that began.
	PendingSince time.Time
	// Outcome is what became of the newest follow target.
	Outcome Outcome
	// AppliedAt is when a follow target was last applied, or found applied already.
	AppliedAt time.Time
}

// Outcome is what became of a follow target.
type Outcome struct {
	// Case is the row of the head plan; zero before the first target.
	Case follow.Case
	// Reason is None if the target was applied.
	Reason follow.Reason
	// At is when it was decided.
	At time.Time
}

// Applied is what the next status is to be compared with: the labels and their current L1, as a rule. Finalized is the newest
// block that was final while this node ran, which an engine that lost it need not have (spec I3); the current L1 is one that
// is gone if the labels were taken back to blocks that nobody is known to have derived of the L1 that is left (spec G3).
func (s *Snapshot) Applied() follow.Applied { return s.applied }
