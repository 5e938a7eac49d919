package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// runLoad reads the initial heads. Nothing is walked back and nothing is sent: where the engine stands is where the
// node goes on.
func (c *Controller) runLoad(ctx context.Context) error {
	heads, fresh, err := c.engineHeads(ctx)
	if err != nil {
		return temporary(err)
	}
	c.state.heads = heads
	c.recent.put(heads.Unsafe.L2BlockRef)
	phase := PhaseFollowing
	if c.cfg.ELSync && fresh {
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

// engineHeads are the engine's own labels. A label that was never set is taken from the next lower one; genesis is
// final by definition. fresh tells that nothing above genesis was ever labelled.
func (c *Controller) engineHeads(ctx context.Context) (heads follow.Heads, fresh bool, err error) {
	latest, found, err := c.label(ctx, eth.Unsafe)
	if err != nil {
		return heads, false, err
	} else if !found {
		return heads, false, errors.New("the execution engine has no head")
	}
	finalized, found, err := c.label(ctx, eth.Finalized)
	if err != nil {
		return heads, false, err
	} else if !found {
		if finalized, err = c.genesis(ctx); err != nil {
			return heads, false, err
		}
	}
	safe, found, err := c.label(ctx, eth.Safe)
	if err != nil {
		return heads, false, err
	} else if !found || safe.Number < finalized.Number {
		safe = finalized
	}
	if latest.Number < safe.Number {
		latest = safe
	}
	return follow.Heads{
		Unsafe: follow.Unsafe{L2BlockRef: latest},
		Labels: follow.Labels{LocalSafe: follow.LocalSafe{L2BlockRef: safe}, Safe: follow.Safe{L2BlockRef: safe},
			Finalized: follow.Finalized{L2BlockRef: finalized}},
	}, safe.Number <= c.cfg.Rollup.Genesis.L2.Number, nil
}

// genesis is the engine's first block of the rollup, if it is the right one; unknown while the engine lacks it.
func (c *Controller) genesis(ctx context.Context) (eth.L2BlockRef, error) {
	want := c.cfg.Rollup.Genesis.L2
	ref, found, err := c.blockByHash(ctx, want.Hash)
	if err != nil || !found {
		return eth.L2BlockRef{}, err
	}
	return ref, nil
}

// runReset finds out where the engine is after it lost or moved blocks, and tells it the heads again.
func (c *Controller) runReset(ctx context.Context) error {
	if err := c.reread(ctx); err != nil {
		return err
	}
	switch got, err := c.synchronize(ctx, c.state.heads); got {
	case answerValid:
		c.publish()
		// The engine may stand on a branch whose L1 origin is gone.
		c.post(KindRewind)
		if c.timers[KindInsert].at.IsZero() { // else it is an insert that led here, and it waits for its turn
			c.post(KindInsert)
		}
		return nil
	case answerSyncing:
		return temporary(fmt.Errorf("engine answers SYNCING to its own head %s", c.state.heads.Unsafe))
	default:
		return temporary(err)
	}
}

// reread sets the heads to what the engine still has of them. Labels that are on its chain stay; if its chain left them
// but it has the block, the local-safe head becomes the unsafe head; labels it lost become its own.
func (c *Controller) reread(ctx context.Context) error {
	c.recent.clear()
	theirs, _, err := c.engineHeads(ctx)
	if err != nil {
		return temporary(err)
	}
	heads := c.state.heads
	localSafe := heads.LocalSafe.L2BlockRef
	at, err := c.lookUp(ctx, localSafe.Number)
	if err != nil {
		return temporary(err)
	}
	switch kept, err := c.keeps(ctx, localSafe, at); {
	case err != nil:
		return temporary(err)
	case at == follow.Found(localSafe) && theirs.Unsafe.Number >= localSafe.Number:
		heads.Unsafe = theirs.Unsafe
	case kept:
		heads.Unsafe = follow.Unsafe{L2BlockRef: localSafe}
	default:
		c.log.Error("The execution engine lost blocks that it had acknowledged", "local_safe", localSafe,
			"engine_unsafe", theirs.Unsafe, "engine_safe", theirs.Safe, "engine_finalized", theirs.Finalized)
		heads = theirs
		c.state.currentL1 = eth.L1BlockRef{} // it belongs to labels that are gone
	}
	if heads != c.state.heads {
		c.log.Warn("Read the heads of the execution engine again", "old_unsafe", c.state.heads.Unsafe, "unsafe", heads.Unsafe,
			"local_safe", heads.LocalSafe)
	}
	c.state.heads = heads
	c.recent.put(heads.Unsafe.L2BlockRef)
	c.publish()
	return nil
}

// keeps tells whether the engine has a block, given what its chain has at that number.
func (c *Controller) keeps(ctx context.Context, ref eth.L2BlockRef, at follow.Lookup) (bool, error) {
	if at == follow.Found(ref) {
		return true, nil
	}
	_, found, err := c.blockByHash(ctx, ref.Hash)
	return found, err
}

// runRewind walks back, if there is reason to.
func (c *Controller) runRewind(ctx context.Context) error {
	moved, err := c.rewind(ctx)
	if moved {
		c.confirmReset()
	}
	return err
}

// rewind takes the unsafe head back to the newest block whose L1 origin is canonical, never below local-safe.
func (c *Controller) rewind(ctx context.Context) (moved bool, err error) {
	if c.state.phase != PhaseFollowing {
		return false, nil
	}
	head, floor := c.state.heads.Unsafe, c.state.heads.LocalSafe
	if c.l1.Canonical(head.L1Origin) != follow.L1Mismatch || head.Number <= floor.Number {
		return false, nil
	}
	// L1 origins grow along the chain, so the blocks that lost theirs are its end.
	var failed error
	lost := sort.Search(int(head.Number-floor.Number), func(i int) bool {
		ref, ok := c.ownBlock(ctx, floor.Number+1+uint64(i), &failed)
		return ok && c.l1.Canonical(ref.L1Origin) == follow.L1Mismatch
	})
	last, ok := c.ownBlock(ctx, floor.Number+uint64(lost), &failed)
	if failed != nil || !ok {
		return false, temporary(fmt.Errorf("find the newest block with a canonical L1 origin: %w", failed))
	}
	want := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: last}, Labels: c.state.heads.Labels}
	switch got, err := c.synchronize(ctx, want); got {
	case answerValid:
	case answerInconsistent:
		return false, reset(err)
	default:
		return false, temporary(fmt.Errorf("walk back to %s (%s): %w", last, got, err))
	}
	c.log.Warn("Walked back unsafe blocks whose L1 origin was reorged out", "old_unsafe", head, "unsafe", last,
		"blocks", head.Number-last.Number)
	c.metrics.RecordFollowSourceReorg("walk_back")
	c.diverge(ctx)
	c.recent.cut(last.Number)
	c.commit(want)
	c.inbox.readopt()
	c.post(KindInsert)
	return true, nil
}

// ownBlock is a block of the own chain; ok is false, and the first failure kept, if the engine does not give it.
func (c *Controller) ownBlock(ctx context.Context, number uint64, failed *error) (eth.L2BlockRef, bool) {
	if *failed != nil {
		return eth.L2BlockRef{}, false
	}
	at, err := c.blockAt(ctx, number)
	if err != nil {
		*failed = err
		return eth.L2BlockRef{}, false
	}
	ref, found := at.Block()
	if !found {
		*failed = fmt.Errorf("the engine does not have its block %d", number)
	}
	return ref, found
}
