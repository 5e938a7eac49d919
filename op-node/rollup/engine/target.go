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

// runFollow takes up a new target.
func (c *Controller) runFollow(ctx context.Context, target follow.Target) error {
	c.state.newest = &target
	if c.state.lost != nil {
		c.report(Outcome{Case: follow.CaseQueryFailed, Reason: follow.EngineUnavailable})
		return nil // taken up when the engine has its head again
	}
	now := c.clock.Now()
	switch c.state.phase {
	case PhaseLoading:
		return nil // taken up by the next poll
	case PhaseAwaiting:
		if now.Sub(c.state.phaseSince) < c.cfg.ColdStart {
			c.report(Outcome{Case: follow.CaseEngineSyncing, Reason: follow.EngineSyncing})
			return nil
		}
		aim := target.Labels().LocalSafe.L2BlockRef
		if aim.Number > c.state.heads.Unsafe.Number {
			return c.aimAt(ctx, aim, true)
		}
		c.enter(PhaseFollowing) // there is nothing to sync to
	case PhaseSyncing:
		if aim := target.Labels().LocalSafe.L2BlockRef; c.outdated(aim, now) {
			return c.aimAt(ctx, aim, true)
		}
		c.report(Outcome{Case: follow.CaseEngineSyncing, Reason: follow.EngineSyncing})
		return nil
	}
	if r := c.state.conflict; r != nil && r.Same(target) {
		c.report(c.state.outcome) // finality does not change: neither does this
		return nil
	}
	c.state.conflict = nil
	if p := c.state.pending; p != nil && p.target != nil && p.heads.Unsafe.L2BlockRef == target.Labels().LocalSafe.L2BlockRef {
		p.target = &target // another status with the same block to be fetched; the next probe applies it
		return nil
	}
	return c.attempt(ctx, target, true)
}

// attempt plans a target and carries the plan out. replan allows one more round after the engine found the labels
// inconsistent.
func (c *Controller) attempt(ctx context.Context, target follow.Target, replan bool) error {
	if target.Stale(c.applied()) {
		c.dropStale(target)
		return nil
	}
	if c.contradicted(target) {
		return c.refuse(ctx, target, follow.L1Contradicts)
	}
	local, err := c.localFacts(ctx, target)
	if err != nil {
		return c.unanswered(err)
	}
	plan := follow.Plan(c.state.heads, target, local)
	switch plan.Action {
	case follow.ActionNone:
		switch {
		case plan.Case == follow.CaseRefused:
			return c.refuse(ctx, target, plan.Reason)
		case plan.Reason != follow.None:
			c.report(Outcome{Case: plan.Case, Reason: plan.Reason})
			return nil
		}
		c.conclude(target, plan)
		return nil
	case follow.ActionStage:
		c.dropPendingTarget()
		c.state.staged = &target
		c.report(Outcome{Case: plan.Case, Reason: plan.Reason})
		return nil
	}
	proven := plan.Case == follow.CaseConsolidate
	if proven && c.state.final.Number > c.state.heads.Finalized.Number {
		// The engine lost what was final, and has a chain again.
		switch kept, _, err := c.onLocalChain(ctx, c.state.final.L2BlockRef); {
		case err != nil:
			return c.unanswered(err)
		case kept == follow.AncestryBroken:
			return c.refuse(ctx, target, follow.FinalizedConflict)
		}
	}
	if p := c.state.pending; !proven && p != nil && p.target != nil && p.heads.Unsafe.L2BlockRef != plan.Heads.Unsafe.L2BlockRef {
		switch gives, err := c.gives(ctx, p, plan.Heads.Unsafe.L2BlockRef); {
		case err != nil:
			return c.unanswered(err)
		case !gives:
			return nil
		}
		c.dropPending()
	}
	if !proven && !c.fetching() {
		var reason follow.Reason
		if proven, reason, err = c.checkClaims(ctx, target); err != nil {
			return c.unanswered(err)
		} else if reason != follow.None {
			return c.refuse(ctx, target, reason)
		}
		if p := c.state.pending; p != nil && p.target == nil {
			c.dropPending() // a target outranks a payload behind a gap; the engine can fetch but one of them
		}
	}
	proven = proven && (plan.Case == follow.CaseConsolidate || c.finalizedIsKept(target, local))
	return c.carryOut(ctx, target, plan, proven, replan)
}

// applied is what the controller has applied last.
func (c *Controller) applied() follow.Applied {
	return c.state.applied()
}

// applied is what a status is to be compared with.
func (s *state) applied() follow.Applied {
	applied := follow.Applied{Labels: s.heads.Labels, CurrentL1: s.currentL1, Revoked: s.revoked}
	applied.Finalized = s.final
	if s.gone != (eth.BlockID{}) {
		applied.CurrentL1 = eth.L1BlockRef{Hash: s.gone.Hash, Number: s.gone.Number}
	}
	return applied
}

// keep notes what the next status has to be compared with once a target is applied.
func (c *Controller) keep(target follow.Target) {
	applied := target.Applied()
	c.state.currentL1, c.state.revoked = applied.CurrentL1, applied.Revoked
	c.state.pairs = c.state.pairs.Add(target)
	c.state.gone, c.state.goneSince = eth.BlockID{}, time.Time{}

	if _, continues := target.Contains(); !continues {
		c.state.aside = nil
	}
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
		if plan.Case == follow.CaseConsolidate {
			return reset(fmt.Errorf("engine answers SYNCING to its own head %s", plan.Heads.Unsafe))
		}
		if c.state.unresolvedSince.IsZero() {
			c.state.unresolvedSince = c.clock.Now()
		}
		// Engine-syncing is not told: it is the normal course of a follower without gossip. It is told when the target is
		// given up.
		outcome := Outcome{Case: plan.Case, Reason: c.role.waiting(c.unresolved()), At: c.clock.Now()}
		if c.state.outcome = outcome; outcome.Reason == follow.ReorgUnresolved {
			c.tell(outcome, "unsafe", c.state.heads.Unsafe, "target", plan.Heads.Unsafe)
		}
		c.hold(plan.Heads, &target)
		return c.offerBranch(ctx, plan.Heads.Unsafe)
	case answerInvalid:
		c.dropPendingTarget()
		c.report(Outcome{Case: plan.Case, Reason: follow.EngineInvalid}, "target", target.Labels().LocalSafe, "err", err)
		return nil
	case answerInconsistent:
		c.dropPendingTarget()
		if replan {
			// op-geth moves its head before it looks at the labels.
			if err := c.realign(ctx); err != nil {
				c.report(Outcome{Case: plan.Case, Reason: follow.EngineInconsistent})
				return reset(err)
			}
			return c.attempt(ctx, target, false)
		}
		c.report(Outcome{Case: plan.Case, Reason: follow.EngineInconsistent}, "target", target.Labels().LocalSafe, "err", err)
		return c.goBack(ctx)
	default:
		return c.unanswered(err)
	}
}

// offerBranch gives the engine the payloads that gossip brought of the branch that it has to get: it need not have peers
// that have them. The next probe finds out whether they sufficed.
func (c *Controller) offerBranch(ctx context.Context, tip follow.Unsafe) error {
	for _, envelope := range c.inbox.branch(tip.Hash) {
		if got, err := c.newPayload(ctx, envelope); got == answerFailed {
			return temporary(err)
		} else if got != answerValid {
			return nil // the engine lacks what is below, or will say INVALID to the target itself
		}
	}
	return nil
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
				return reset(c.unanswered(err)) // the engine is on a chain that nobody vouches for
			} else if reason != follow.None {
				return c.retract(ctx, target, reason)
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
	c.keep(target)
	c.state.staged = nil
	c.state.appliedAt = c.clock.Now()
	c.tell(Outcome{Case: plan.Case})
	if plan.Heads.LocalSafe.Number < c.state.heads.LocalSafe.Number {
		c.post(KindRewind) // blocks that are unsafe again may stand on an L1 fork
	}
	c.commit(plan.Heads)
	if plan.Case != follow.CaseConsolidate {
		c.inbox.readopt()
		c.post(KindInsert)
	}
	if !c.state.newest.Same(target) {
		c.followNewest()
	}
	return nil
}

// conclude ends a plan that takes no engine call: it is applied already.
func (c *Controller) conclude(target follow.Target, plan follow.HeadPlan) {
	c.dropPendingTarget()
	c.state.staged = nil
	c.keep(target)
	c.state.appliedAt = c.clock.Now()
	c.report(Outcome{Case: plan.Case})
	if !c.state.newest.Same(target) {
		c.followNewest()
	}
}

// contradicted tells that L1 was reorged away from under a target since it was judged.
func (c *Controller) contradicted(target follow.Target) bool {
	next := target.Labels()
	for _, id := range []eth.BlockID{
		next.LocalSafe.L1Origin, next.Safe.L1Origin, next.Finalized.L1Origin, target.CurrentL1().ID(),
	} {
		if (id.Hash != common.Hash{}) && c.l1.Canonical(id) == follow.L1Mismatch {
			return true
		}
	}
	return false
}

// refuse drops a target. An engine that fetched it may stand on it by now, and is called back.
func (c *Controller) refuse(ctx context.Context, target follow.Target, reason follow.Reason) error {
	if reason == follow.FinalizedConflict {
		c.state.conflict = &target
	}
	fetched := c.fetching()
	c.dropPendingTarget()
	c.state.staged = nil
	c.report(Outcome{Case: follow.CaseRefused, Reason: reason})
	if fetched {
		return c.goBack(ctx)
	}
	return nil
}

// followNewest plans the newest target again, unless an even newer one waits.
func (c *Controller) followNewest() {
	if newest := c.state.newest; newest != nil && !c.queue.waits(KindFollow) {
		c.Follow(*newest)
	}
}

// retract goes back to the heads from before a plan that turned out to be wrong once the engine had the blocks.
func (c *Controller) retract(ctx context.Context, target follow.Target, reason follow.Reason) error {
	c.dropPending()
	if err := c.refuse(ctx, target, reason); err != nil {
		return err
	}
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

// outdated tells that the sync target of the initial sync should give way to a source's local-safe head: it was one
// itself and was not reached within two polls, gossip that it came from has stopped, or it cannot become safe any more.
func (c *Controller) outdated(next eth.L2BlockRef, now time.Time) bool {
	if now.Sub(c.state.aimSince) < 2*c.cfg.PollPeriod || next == c.state.aim {
		return false
	}
	return c.state.aimOfSource || next.Number >= c.state.aim.Number ||
		c.l1.Canonical(c.state.aim.L1Origin) == follow.L1Mismatch
}

// aimAt asks the engine to sync to a block, in the initial sync. ofSource tells a source's head from an unsafe payload.
func (c *Controller) aimAt(ctx context.Context, head eth.L2BlockRef, ofSource bool) error {
	heads := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: head}, Labels: c.state.heads.Labels}
	got, err := c.synchronize(ctx, heads)
	switch got {
	case answerValid:
		return c.arrive(ctx, head.Hash)
	case answerInvalid:
		c.log.Error("The execution engine refuses the sync target", "target", head, "err", err)
		c.timers[KindProbe].clear()
		c.enter(PhaseAwaiting)
		c.publish()
		return nil
	}
	if head != c.state.aim {
		// Also after an error: op-geth has taken the new target when it complains about leaving the old one, and to ask
		// for the old one again would throw it to and fro.
		c.state.aim, c.state.aimSince, c.state.aimOfSource = head, c.clock.Now(), ofSource
		c.timers[KindProbe].clear()
	}
	c.enter(PhaseSyncing)
	c.retry(KindProbe)
	c.publish()
	if got != answerSyncing {
		c.log.Debug("The execution engine did not answer to a sync target", "target", head, "err", err)
	}
	return nil
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
	if _, found := local.LocalSafe.Block(); need.Ancestry && (found || !need.Chain) && !c.impliesFinalized(target) {
		local.OverFinalized, err = c.overFinalized(ctx, next)
	}
	return local, err
}

// unanswered notes that the engine did not answer. The state stays; the next poll tries again. It is for the caller of
// the task to log.
func (c *Controller) unanswered(err error) error {
	c.state.outcome = Outcome{Case: follow.CaseQueryFailed, Reason: follow.EngineUnavailable, At: c.clock.Now()}
	c.publish()
	return temporary(err)
}

// report publishes what became of a target.
func (c *Controller) report(o Outcome, attrs ...any) {
	c.tell(o, attrs...)
	c.publish()
}

// tell notes what became of a target, and logs it when it is another reason than was logged last.
func (c *Controller) tell(o Outcome, attrs ...any) {
	o.At = c.clock.Now()
	c.state.outcome = o
	before := c.state.told
	if before == o.Reason {
		return
	}
	c.state.told = o.Reason
	attrs = append([]any{"reason", o.Reason, "case", o.Case, "text", o.Reason.Text(), "advice", o.Reason.Advice()}, attrs...)
	switch o.Reason {
	case follow.None:
		c.log.Info("Follow target applied again", "was", before)
	case follow.FinalizedConflict, follow.EngineInvalid, follow.EngineInconsistent, follow.ReorgUnresolved:
		c.log.Error("Follow target not applied", attrs...)
	default:
		c.log.Warn("Follow target not applied", attrs...)
	}
}
