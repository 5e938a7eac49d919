package engine

import (
	"context"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// synchronize tells the engine the heads in one forkchoice update. Every task that moves a head ends here. What a VALID
// answer means is up to commit; any other answer leaves all state as it was.
func (c *Controller) synchronize(ctx context.Context, want follow.Heads) (answer, error) {
	return c.forkchoice(ctx, c.forkchoiceState(want))
}

// forkchoiceState is how the engine is told of heads.
func (c *Controller) forkchoiceState(want follow.Heads) eth.ForkchoiceState {
	fc := eth.ForkchoiceState{HeadBlockHash: want.Unsafe.Hash}
	if !c.initialSync() {
		fc.SafeBlockHash = want.Safe.Hash
		fc.FinalizedBlockHash = want.Finalized.Hash
	}
	return fc
}

// initialSync tells whether the engine has nothing yet, so that forkchoice updates carry no labels: it could only check
// them against blocks it does not have.
func (c *Controller) initialSync() bool {
	return c.state.phase != PhaseFollowing || c.state.heads.Unsafe.Number == c.cfg.Rollup.Genesis.L2.Number
}

// commit makes heads that the engine acknowledged the present ones, and publishes them.
func (c *Controller) commit(heads follow.Heads) {
	before := c.state.heads
	c.state.heads = heads
	if heads.Finalized.Number >= c.state.final.Number {
		c.state.final = heads.Finalized
	}
	c.recent.putHeads(heads)
	if heads.Unsafe != before.Unsafe {
		c.state.gapSince = c.clock.Now()
	}
	c.enter(PhaseFollowing)
	c.publish()
	c.logProgress(before, heads)
}

// publish swaps in a new snapshot of the state.
func (c *Controller) publish() {
	s := &c.state
	snap := &Snapshot{
		Heads: s.heads, CurrentL1: s.currentL1, Phase: s.phase, PhaseSince: s.phaseSince,
		applied: s.applied(), Pairs: s.pairs, GoneSince: s.goneSince, Aside: s.aside, Outcome: s.outcome, AppliedAt: s.appliedAt,
	}
	if s.phase == PhaseSyncing {
		snap.Heads.Unsafe = follow.Unsafe{L2BlockRef: s.aim}
	}
	if s.pending != nil {
		snap.Pending, snap.PendingSince = s.pending.heads.Unsafe.L2BlockRef, s.pending.since
	}
	c.snapshot.Store(snap)
	c.observer.OnSnapshot(snap)
	c.role.shown(snap)
}

// enter changes the phase, and says so.
func (c *Controller) enter(phase Phase) {
	before := c.state.phase
	if before == phase {
		return
	}
	now := c.clock.Now()
	switch {
	case phase == PhaseSyncing:
		c.log.Info("Starting EL sync", "target", c.state.aim)
	case before == PhaseSyncing:
		c.log.Info("Finished EL sync", "sync_duration", now.Sub(c.state.phaseSince), "l2_unsafe", c.state.heads.Unsafe)
	}
	c.state.phase, c.state.phaseSince = phase, now
}

// logProgress writes the line that operators look for, once per change of the heads.
func (c *Controller) logProgress(before, after follow.Heads) {
	var reason string
	switch {
	case before.Finalized != after.Finalized:
		reason = "finalized block"
	case before.Safe != after.Safe:
		reason = "followed safe block"
	case before.LocalSafe != after.LocalSafe:
		reason = "followed local-safe block"
	case before.Unsafe != after.Unsafe:
		reason = "new chain head block"
	default:
		return
	}
	c.log.Info("Sync progress", "reason", reason,
		"l2_finalized", after.Finalized, "l2_safe", after.Safe, "l2_local_safe", after.LocalSafe,
		"l2_unsafe", after.Unsafe, "l2_time", after.Unsafe.Time)
}
