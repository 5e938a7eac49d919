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
	// Final is the newest block that was final while this node ran, which a status is held to. It is above the finalized
	// head only while an engine that lost it has not got it back (spec I3).
	Final follow.Finalized
	// CurrentL1 is the current L1 block that belongs to the labels; unknown until a target was applied.
	CurrentL1 eth.L1BlockRef
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

// Applied is what the next status is to be compared with.
func (s *Snapshot) Applied() follow.Applied {
	applied := follow.Applied{Labels: s.Heads.Labels, CurrentL1: s.CurrentL1}
	applied.Finalized = s.Final
	return applied
}
