package engine

import (
	"context"
	"time"

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

// gives tells that a pending target gives way to another one that moves the head as well: the engine has that one, or was
// asked in vain for two polls (spec F6).
func (c *Controller) gives(ctx context.Context, p *pending, next eth.L2BlockRef) (bool, error) {
	if waited := c.clock.Since(p.since); waited >= 2*c.cfg.PollPeriod {
		c.tell(Outcome{Case: c.state.outcome.Case, Reason: c.role.waiting(c.unresolved())})
		c.log.Debug("Giving up a target that the execution engine does not get", "given_up", p.heads.Unsafe,
			"after", waited, "next", next)
		return true, nil
	}
	_, found, err := c.blockByHash(ctx, next.Hash)
	return found, err
}

// unresolved is for how long the engine has been asked for blocks of sources in vain, whichever they were.
func (c *Controller) unresolved() time.Duration {
	if c.state.unresolvedSince.IsZero() {
		return 0
	}
	return c.clock.Since(c.state.unresolvedSince)
}

// hold remembers what the engine answered SYNCING to, and when to ask again.
func (c *Controller) hold(heads follow.Heads, target *follow.Target) {
	if p := c.state.pending; p == nil || p.heads.Unsafe != heads.Unsafe {
		c.log.Debug("The execution engine has to fetch a block", "target", heads.Unsafe, "unsafe", c.state.heads.Unsafe)
		c.state.pending = &pending{heads: heads, target: target, since: c.clock.Now()}
		c.timers[KindProbe].clear()
	} else {
		p.target = target
	}
	c.retry(KindProbe)
	c.publish()
}

func (c *Controller) dropPending() {
	c.state.pending = nil
	c.timers[KindProbe].clear()
}

// dropPendingTarget drops what is pending if it is a target, which is resolved by that. A payload behind a gap stays: it is
// not in the way.
func (c *Controller) dropPendingTarget() {
	c.state.unresolvedSince = time.Time{}
	if p := c.state.pending; p != nil && p.target != nil {
		c.dropPending()
	}
}

// runProbe asks again for what the engine answered SYNCING to.
func (c *Controller) runProbe(ctx context.Context) error {
	if c.state.phase == PhaseSyncing {
		return c.aimAt(ctx, c.state.aim, c.state.aimOfSource)
	}
	p := c.state.pending
	switch {
	case p == nil, c.state.lost != nil:
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
