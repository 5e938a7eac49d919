package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// runLoad reads the initial heads. Nothing is walked back and nothing is sent: where the engine stands is where the
// node goes on.
func (c *Controller) runLoad(ctx context.Context) error {
	theirs, err := c.engineHeads(ctx)
	if err != nil {
		return temporary(err)
	}
	heads := theirs.heads
	if theirs.astray {
		if got, err := c.synchronize(ctx, heads); got != answerValid {
			return temporary(fmt.Errorf("lead the engine back to its finalized block %s (%s): %w", heads.Finalized, got, err))
		}
	}
	c.state.heads, c.state.final = heads, heads.Finalized
	c.recent.putHeads(heads)
	phase := PhaseFollowing
	if c.cfg.ELSync && theirs.fresh {
		phase = PhaseAwaiting
	}
	c.enter(phase)
	c.log.Info("Loaded the heads of the execution engine", "l2_unsafe", heads.Unsafe, "l2_safe", heads.Safe,
		"l2_finalized", heads.Finalized, "phase", phase)
	c.publish()
	c.post(KindRewind) // L1 may have left the origin of the head while the node was down
	c.post(KindInsert)
	return nil
}

// standing is where the engine stands by its own labels.
type standing struct {
	heads follow.Heads
	// fresh tells that nothing above genesis was ever labelled.
	fresh bool
	// astray tells that the engine's chain does not contain its finalized block: it was led to another one by an update
	// that it then found inconsistent. The heads are those to lead it back to.
	astray bool
}

// engineHeads are the engine's own labels. A label that was never set, or is not on the engine's chain, is taken from the
// next lower one; genesis is final by definition.
func (c *Controller) engineHeads(ctx context.Context) (standing, error) {
	latest, found, err := c.label(ctx, eth.Unsafe)
	if err != nil {
		return standing{}, err
	} else if !found {
		return standing{}, errors.New("the execution engine has no head")
	}
	astray := false
	finalized, found, err := c.label(ctx, eth.Finalized)
	if err == nil && found {
		astray, err = c.offChain(ctx, finalized, latest)
	} else if err == nil {
		finalized, err = c.genesis(ctx)
	}
	if err != nil {
		return standing{}, err
	}
	safe, found, err := c.label(ctx, eth.Safe)
	if err != nil {
		return standing{}, err
	}
	if !found || astray || safe.Number < finalized.Number {
		safe = finalized
	} else if off, err := c.offChain(ctx, safe, latest); err != nil {
		return standing{}, err
	} else if off {
		safe = finalized
	}
	if astray || latest.Number < safe.Number {
		latest = safe
	}
	return standing{
		heads: follow.Heads{
			Unsafe: follow.Unsafe{L2BlockRef: latest},
			Labels: follow.Labels{LocalSafe: follow.LocalSafe{L2BlockRef: safe}, Safe: follow.Safe{L2BlockRef: safe},
				Finalized: follow.Finalized{L2BlockRef: finalized}},
		},
		fresh:  safe.Number <= c.cfg.Rollup.Genesis.L2.Number,
		astray: astray,
	}, nil
}

// offChain tells that a block is not on the engine's chain: that has another one, or ends below. An engine that does not
// find a block below its head is syncing, and proves nothing.
func (c *Controller) offChain(ctx context.Context, ref, latest eth.L2BlockRef) (bool, error) {
	if ref.Number > latest.Number {
		return true, nil
	}
	have, err := c.lookUp(ctx, ref.Number)
	at, found := have.Block()
	return found && at != ref, err
}

// genesis is the engine's first block of the rollup, if it is the right one; unknown while the engine lacks it.
func (c *Controller) genesis(ctx context.Context) (eth.L2BlockRef, error) {
	want := c.cfg.Rollup.Genesis.L2
	have, err := c.lookUp(ctx, want.Number)
	if ref, found := have.Block(); err == nil && found && ref.Hash == want.Hash {
		return ref, nil
	}
	return eth.L2BlockRef{}, err
}
