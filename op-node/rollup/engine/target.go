package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// pending is a head that the engine answered SYNCING to. Nothing that the engine has is given up for it: it is asked
// for again until the engine has it.
type pending struct {
	heads follow.Heads
	// target is nil for an unsafe payload behind a gap.
	target *follow.Target
	since  time.Time
}

// maxAncestry bounds how many blocks are walked to find out whether a branch contains the own finalized block, or a
// payload's branch the own local-safe block.
const maxAncestry = 512

// runFollow takes up a new target.
func (c *Controller) runFollow(ctx context.Context, target follow.Target) error {
	c.state.newest = &target
	now := c.clock.Now()
	switch c.state.phase {
	case PhaseLoading:
		return nil // taken up by the next poll
	case PhaseAwaiting:
		if now.Sub(c.state.phaseSince) < c.cfg.ColdStart {
			c.report(Outcome{Case: follow.CaseEngineSyncing, Reason: follow.EngineSyncing})
			return nil
		}
		return c.aimAt(ctx, target.Labels().LocalSafe.L2BlockRef)
	case PhaseSyncing:
		stale := now.Sub(c.state.aimSince) >= 2*c.cfg.PollPeriod
		if aim := target.Labels().LocalSafe.L2BlockRef; stale && c.betterAim(aim) {
			return c.aimAt(ctx, aim)
		}
		c.report(Outcome{Case: follow.CaseEngineSyncing, Reason: follow.EngineSyncing})
		return nil
	}
	if p := c.state.pending; p != nil && p.target != nil {
		if p.target.Same(target) || now.Sub(p.since) < 2*c.cfg.PollPeriod {
			return nil
		}
		c.log.Warn("Giving up a target that the execution engine does not get", "given_up", p.heads.Unsafe,
			"after", now.Sub(p.since), "next", target.Labels().LocalSafe)
		c.dropPendingTarget()
	}
	return c.attempt(ctx, target, true)
}

// betterAim tells whether a source's local-safe head is worth leaving the present sync target for: it is not below that,
// or L1 has left the chain of that, so that nobody may have it.
func (c *Controller) betterAim(head eth.L2BlockRef) bool {
	aim := c.state.aim
	return head.Hash != aim.Hash && (head.Number >= aim.Number || c.l1.Canonical(aim.L1Origin) == follow.L1Mismatch)
}

// attempt plans a target and carries the plan out. replan allows one more round after the engine found the labels
// inconsistent.
func (c *Controller) attempt(ctx context.Context, target follow.Target, replan bool) error {
	if target.Stale(c.applied()) {
		c.dropStale(target)
		return nil
	}
	if c.contradicted(target) {
		return c.refuse(ctx, Outcome{Case: follow.CaseRefused, Reason: follow.L1Contradicts})
	}
	local, err := c.localFacts(ctx, target)
	if err != nil {
		return c.unanswered(err)
	}
	plan := follow.Plan(c.state.heads, target, local)
	switch plan.Action {
	case follow.ActionNone:
		if plan.Case == follow.CaseRefused {
			return c.refuse(ctx, Outcome{Case: plan.Case, Reason: plan.Reason})
		}
		c.conclude(target, plan)
		return nil
	case follow.ActionStage:
		c.state.staged = &target
		c.report(Outcome{Case: plan.Case, Reason: plan.Reason})
		return nil
	}
	proven := plan.Case == follow.CaseConsolidate
	if !proven && c.state.pending == nil {
		var reason follow.Reason
		if proven, reason, err = c.checkClaims(ctx, target); err != nil {
			return c.unanswered(err)
		} else if reason != follow.None {
			c.report(Outcome{Case: follow.CaseRefused, Reason: reason})
			return nil
		}
	}
	proven = proven && (plan.Case == follow.CaseConsolidate || c.finalizedIsKept(target, local))
	return c.carryOut(ctx, target, plan, proven, replan)
}

// applied is what the controller has applied last.
func (c *Controller) applied() follow.Applied {
	return follow.Applied{Labels: c.state.heads.Labels, CurrentL1: c.state.currentL1}
}

// refuse drops a target for good. One that the engine was asked for before may be where the engine has gone meanwhile.
func (c *Controller) refuse(ctx context.Context, why Outcome) error {
	asked := c.state.pending != nil && c.state.pending.target != nil
	c.dropPendingTarget()
	c.report(why)
	if asked {
		return c.goBack(ctx)
	}
	return nil
}

// contradicted tells that L1 has left a block that the target refers to since it was judged.
func (c *Controller) contradicted(target follow.Target) bool {
	l := target.Labels()
	for _, id := range []eth.BlockID{l.LocalSafe.L1Origin, l.Safe.L1Origin, l.Finalized.L1Origin, target.CurrentL1().ID()} {
		if c.l1.Canonical(id) == follow.L1Mismatch {
			return true
		}
	}
	return false
}

// dropStale forgets a target that was judged before another one was applied and would take that back. The next poll
// brings its status again.
func (c *Controller) dropStale(target follow.Target) {
	c.log.Debug("Dropping a follow target that was overtaken", "target", target.Labels().LocalSafe)
	c.dropPendingTarget()
	c.publish()
}

// carryOut sends the forkchoice update of a plan. proven tells that nothing about the target is left to be checked.
func (c *Controller) carryOut(ctx context.Context, target follow.Target, plan follow.HeadPlan, proven, replan bool) error {
	got, err := c.synchronize(ctx, plan.Heads)
	switch got {
	case answerValid:
		return c.acknowledged(ctx, target, plan, proven)
	case answerSyncing:
		c.hold(plan.Heads, &target)
		c.report(Outcome{Case: plan.Case, Reason: c.role.waiting()})
		return nil
	case answerInvalid:
		c.dropPendingTarget()
		c.log.Error("The execution engine refuses the source's head", "target", target.Labels().LocalSafe, "err", err)
		c.report(Outcome{Case: plan.Case, Reason: follow.EngineInvalid})
		return nil
	case answerInconsistent:
		c.dropPendingTarget()
		if replan {
			if err := c.realign(ctx); err != nil {
				return reset(err) // the engine may have moved already
			}
			return c.attempt(ctx, target, false)
		}
		c.log.Error("The execution engine finds the labels inconsistent", "target", target.Labels().LocalSafe, "err", err)
		c.report(Outcome{Case: plan.Case, Reason: follow.EngineInconsistent})
		return c.goBack(ctx) // op-geth moves the head before it looks at the labels
	default:
		return c.unanswered(err)
	}
}

// acknowledged commits a plan that the engine answered VALID to.
func (c *Controller) acknowledged(ctx context.Context, target follow.Target, plan follow.HeadPlan, proven bool) error {
	if c.initialSync() && plan.Case != follow.CaseConsolidate {
		// The labels were not part of this update. Take the head; the labels follow as a consolidation.
		return c.arrive(ctx, plan.Heads.Unsafe.Hash)
	}
	var action string
	if plan.Case != follow.CaseConsolidate {
		if !proven {
			if reason, err := c.verifyOnChain(ctx, target); err != nil {
				return c.unanswered(err)
			} else if reason != follow.None {
				return c.retract(ctx, plan, reason)
			}
		}
		if action = c.role.reorged(plan.Case, func() bool { return c.isOwn(ctx, c.state.heads.Unsafe.L2BlockRef) }); action != "" {
			c.metrics.RecordFollowSourceReorg(action)
			c.diverge(ctx)
			c.log.Warn("Reorg onto the chain of the source", "old_unsafe", c.state.heads.Unsafe, "new_unsafe", plan.Heads.Unsafe,
				"old_local_safe", c.state.heads.LocalSafe)
		}
		c.recent.clear()
		c.dropPending()
	}
	c.dropPendingTarget()
	c.state.currentL1, c.state.staged = target.CurrentL1(), nil
	c.state.appliedAt = c.clock.Now()
	c.state.outcome = Outcome{Case: plan.Case, At: c.state.appliedAt}
	if plan.Heads.LocalSafe.Number < c.state.heads.LocalSafe.Number {
		c.post(KindRewind) // blocks that are unsafe again may stand on an L1 fork
	}
	c.commit(plan.Heads)
	if action != "" {
		c.confirmReset()
	}
	if plan.Case != follow.CaseConsolidate {
		c.inbox.readopt()
		c.post(KindInsert)
	}
	if !c.state.newest.Same(target) {
		c.followNewest()
	}
	return nil
}

// conclude ends a plan that takes no engine call: applied already, or refused.
func (c *Controller) conclude(target follow.Target, plan follow.HeadPlan) {
	c.dropPendingTarget()
	if plan.Reason != follow.None {
		c.report(Outcome{Case: plan.Case, Reason: plan.Reason})
		return
	}
	c.state.staged = nil
	c.state.currentL1 = target.CurrentL1()
	c.state.appliedAt = c.clock.Now()
	c.report(Outcome{Case: plan.Case})
	if !c.state.newest.Same(target) {
		c.followNewest()
	}
}

// followNewest plans the newest target again, unless an even newer one waits.
func (c *Controller) followNewest() {
	if newest := c.state.newest; newest != nil && !c.queue.waits(KindFollow) {
		c.Follow(*newest)
	}
}

// retract goes back to the heads from before a plan that turned out to be wrong once the engine had the blocks.
func (c *Controller) retract(ctx context.Context, plan follow.HeadPlan, reason follow.Reason) error {
	c.dropPending()
	c.log.Error("The source's chain does not hold what its status says, going back", "reason", reason,
		"refused", plan.Heads.LocalSafe, "unsafe", c.state.heads.Unsafe, "finalized", c.state.heads.Finalized)
	c.report(Outcome{Case: follow.CaseRefused, Reason: reason})
	return c.goBack(ctx)
}

// goBack tells the engine the present heads again, after it moved to a head that must not be.
func (c *Controller) goBack(ctx context.Context) error {
	got, err := c.synchronize(ctx, c.state.heads)
	if got == answerValid {
		return nil
	} else if err == nil {
		err = errors.New("the engine answers SYNCING to its former head")
	}
	return reset(fmt.Errorf("go back from a refused head: %w", err))
}

// hold remembers what the engine answered SYNCING to, and when to ask again.
func (c *Controller) hold(heads follow.Heads, target *follow.Target) {
	if c.initialSync() {
		if aim := heads.Unsafe.L2BlockRef; aim != c.state.aim {
			c.state.aim, c.state.aimSince = aim, c.clock.Now()
			c.timers[KindProbe] = timer{}
		}
		c.enter(PhaseSyncing)
	} else if p := c.state.pending; p == nil || p.heads.Unsafe != heads.Unsafe {
		c.log.Info("The execution engine has to fetch a block", "target", heads.Unsafe, "unsafe", c.state.heads.Unsafe)
		c.state.pending = &pending{heads: heads, target: target, since: c.clock.Now()}
		c.timers[KindProbe] = timer{}
	} else {
		p.target = target
	}
	c.retry(KindProbe)
	c.publish()
}

func (c *Controller) dropPending() {
	c.state.pending = nil
	c.timers[KindProbe] = timer{}
}

// dropPendingTarget drops what is pending if it is a target. A payload behind a gap stays: it is not in the way.
func (c *Controller) dropPendingTarget() {
	if p := c.state.pending; p != nil && p.target != nil {
		c.dropPending()
	}
}

// runProbe asks again for what the engine answered SYNCING to.
func (c *Controller) runProbe(ctx context.Context) error {
	if c.state.phase == PhaseSyncing {
		return c.aimAt(ctx, c.state.aim)
	}
	p := c.state.pending
	switch {
	case p == nil:
		return nil
	case p.target != nil:
		return c.attempt(ctx, *p.target, true)
	case p.heads.Unsafe.Number <= c.state.heads.Unsafe.Number:
		c.dropPending()
		c.publish()
		return nil
	default:
		return c.adopt(ctx, p.heads.Unsafe.L2BlockRef)
	}
}

// aimAt asks the engine to sync to a block, in the initial sync.
func (c *Controller) aimAt(ctx context.Context, head eth.L2BlockRef) error {
	heads := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: head}, Labels: c.state.heads.Labels}
	got, err := c.synchronize(ctx, heads)
	switch got {
	case answerValid:
		return c.arrive(ctx, head.Hash)
	case answerSyncing:
		c.hold(heads, nil)
		return nil
	case answerInvalid:
		c.log.Error("The execution engine refuses the sync target", "target", head, "err", err)
		c.enter(PhaseAwaiting)
		c.publish()
		return nil
	default:
		return temporary(err)
	}
}

// arrive ends an initial sync at the block that the engine said VALID to. The block is taken from the engine: a source's
// word for its L1 origin was not checked by anybody yet.
func (c *Controller) arrive(ctx context.Context, hash common.Hash) error {
	ref, found, err := c.blockByHash(ctx, hash)
	switch {
	case err != nil:
		return temporary(err)
	case !found:
		return temporary(fmt.Errorf("the engine lacks its own head %s", hash))
	}
	c.dropPending()
	c.recent.clear()
	c.commit(follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: ref}, Labels: c.state.heads.Labels})
	c.post(KindRewind) // L1 may have left the block's origin meanwhile
	c.followNewest()
	c.post(KindInsert)
	return nil
}

// localFacts asks the engine for what the plan of a target needs, and for no more.
func (c *Controller) localFacts(ctx context.Context, target follow.Target) (follow.Local, error) {
	var local follow.Local
	var err error
	need := follow.Needs(c.state.heads, target)
	next := target.Labels()
	if need.Chain {
		if local.LocalSafe, err = c.blockAt(ctx, next.LocalSafe.Number); err != nil {
			return local, err
		}
		if local.LocalSafe == follow.Found(next.LocalSafe.L2BlockRef) {
			if local.Safe, err = c.blockAt(ctx, next.Safe.Number); err != nil {
				return local, err
			}
			if next.Finalized != c.state.heads.Finalized {
				local.Finalized, err = c.blockAt(ctx, next.Finalized.Number)
			} else {
				local.Finalized = follow.Found(next.Finalized.L2BlockRef)
			}
			return local, err
		}
	}
	if need.Ancestry {
		local.OverFinalized, err = c.overFinalized(ctx, next.Finalized)
	}
	return local, err
}

// finalizedIsKept tells that the target's chain is sure to contain the own finalized block: it was proven, or the
// engine will check it because it is the finalized block of the update itself.
func (c *Controller) finalizedIsKept(target follow.Target, local follow.Local) bool {
	own := c.state.heads.Finalized
	return local.OverFinalized == follow.AncestryHolds || own.Hash == common.Hash{} || target.Labels().Finalized == own
}

// overFinalized finds out whether the chain below a target's finalized block contains the own finalized block.
func (c *Controller) overFinalized(ctx context.Context, finalized follow.Finalized) (follow.Ancestry, error) {
	own := c.state.heads.Finalized.L2BlockRef
	if finalized.L2BlockRef == own {
		return follow.AncestryUnknown, nil // the engine checks it: it is part of the update
	}
	if finalized.Number <= c.state.heads.Unsafe.Number {
		at, err := c.blockAt(ctx, finalized.Number)
		if err != nil {
			return follow.AncestryUnknown, err
		}
		if at == follow.Found(finalized.L2BlockRef) {
			return follow.AncestryHolds, nil
		}
	}
	return c.descends(ctx, finalized.Hash, own)
}

// descends walks from a block down to the number of an ancestor and tells whether it is met there.
func (c *Controller) descends(ctx context.Context, from common.Hash, ancestor eth.L2BlockRef) (follow.Ancestry, error) {
	hash := from
	for range maxAncestry {
		ref, found, err := c.blockByHash(ctx, hash)
		switch {
		case err != nil || !found:
			return follow.AncestryUnknown, err
		case ref.Hash == ancestor.Hash:
			return follow.AncestryHolds, nil
		case ref.Number <= ancestor.Number:
			return follow.AncestryBroken, nil
		}
		hash = ref.ParentHash
	}
	return follow.AncestryUnknown, nil
}

// checkClaims compares the refs of a target with the engine's blocks of the same hashes, on whatever branch. proven is
// false if the engine does not have them.
func (c *Controller) checkClaims(ctx context.Context, target follow.Target) (proven bool, reason follow.Reason, err error) {
	next := target.Labels()
	checked := c.state.heads.Finalized.L2BlockRef
	for _, claim := range []eth.L2BlockRef{next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef, next.Finalized.L2BlockRef} {
		if claim == checked || (claim.Hash == common.Hash{}) {
			continue
		}
		ref, found, err := c.blockByHash(ctx, claim.Hash)
		switch {
		case err != nil:
			return false, follow.None, err
		case !found:
			return false, follow.None, nil
		case ref != claim:
			return false, follow.Incoherent, nil
		}
		checked = claim
	}
	return true, follow.None, nil
}

// isOwn tells whether a block is on the engine's chain; a look-up that fails counts as no.
func (c *Controller) isOwn(ctx context.Context, ref eth.L2BlockRef) bool {
	have, err := c.lookUp(ctx, ref.Number)
	return err == nil && have == follow.Found(ref)
}

// verifyOnChain compares the refs of a target, and the own finalized block, with the engine's chain after the engine
// moved to the target.
func (c *Controller) verifyOnChain(ctx context.Context, target follow.Target) (follow.Reason, error) {
	next := target.Labels()
	for _, claim := range []struct {
		ref    eth.L2BlockRef
		reason follow.Reason
	}{
		{c.state.heads.Finalized.L2BlockRef, follow.FinalizedConflict},
		{next.Finalized.L2BlockRef, follow.Incoherent},
		{next.Safe.L2BlockRef, follow.Incoherent},
		{next.LocalSafe.L2BlockRef, follow.Incoherent},
	} {
		if (claim.ref.Hash == common.Hash{}) {
			continue
		}
		have, err := c.lookUp(ctx, claim.ref.Number)
		if err != nil {
			return follow.None, err
		}
		if have != follow.Found(claim.ref) {
			return claim.reason, nil
		}
	}
	return follow.None, nil
}

// unanswered notes that the engine did not answer. The state stays; the next poll tries again.
func (c *Controller) unanswered(err error) error {
	c.report(Outcome{Case: follow.CaseQueryFailed, Reason: follow.EngineUnavailable})
	return temporary(err)
}

// report publishes what became of a target, and logs it when it is another reason than before.
func (c *Controller) report(o Outcome) {
	o.At = c.clock.Now()
	if before := c.state.outcome.Reason; before != o.Reason {
		switch o.Reason {
		case follow.None:
			c.log.Info("Follow target applied again", "was", before)
		case follow.FinalizedConflict, follow.EngineInvalid, follow.EngineInconsistent, follow.ReorgUnresolved:
			c.log.Error("Follow target not applied", "reason", o.Reason, "case", o.Case, "text", o.Reason.Text(), "advice", o.Reason.Advice())
		default:
			c.log.Warn("Follow target not applied", "reason", o.Reason, "case", o.Case, "text", o.Reason.Text())
		}
	}
	c.state.outcome = o
	c.publish()
}
