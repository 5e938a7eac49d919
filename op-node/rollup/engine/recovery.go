package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/ethereum/go-ethereum/common"

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
	c.state.heads = heads
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
	ref, found, err := c.blockByHash(ctx, want.Hash)
	if err != nil || !found {
		return eth.L2BlockRef{}, err
	}
	return ref, nil
}

// runReset finds out where the engine is after it lost or moved blocks, and tells it the heads again.
func (c *Controller) runReset(ctx context.Context) error {
	if err := c.realign(ctx); err != nil {
		return temporary(err)
	}
	// The engine may stand on a branch whose L1 origin is gone.
	// Either may be what led here, and must not be tried again without a pause.
	c.resume(KindRewind)
	c.resume(KindInsert)
	return nil
}

// realign finds out what the engine still has of the heads, and leads it there. Until it acknowledges that, nothing
// changes here.
func (c *Controller) realign(ctx context.Context) error {
	heads, err := c.remaining(ctx)
	if err != nil {
		return err
	}
	got, err := c.synchronize(ctx, heads)
	switch got {
	case answerValid:
	case answerSyncing:
		return fmt.Errorf("engine answers SYNCING to its own head %s", heads.Unsafe)
	default:
		return err
	}
	if heads != c.state.heads {
		c.log.Warn("Read the heads of the execution engine again", "old_unsafe", c.state.heads.Unsafe, "unsafe", heads.Unsafe,
			"old_local_safe", c.state.heads.LocalSafe, "local_safe", heads.LocalSafe)
	}
	if heads.Labels != c.state.heads.Labels {
		c.state.currentL1 = eth.L1BlockRef{} // it belongs to labels that are gone
	}
	c.state.heads = heads
	c.recent.clear()
	c.recent.putHeads(heads)
	c.publish()
	return nil
}

// remaining is what the engine has of the heads. As long as it has the local-safe head, the labels stay, and so does the
// unsafe head if the engine has it; else that becomes the head of the engine's chain, if it contains the local-safe
// head, or the local-safe head itself. Once the engine lost the local-safe head, its own labels are what is left.
func (c *Controller) remaining(ctx context.Context) (follow.Heads, error) {
	heads := c.state.heads
	_, hasSafe, err := c.blockByHash(ctx, heads.LocalSafe.Hash)
	if err != nil {
		return heads, err
	}
	if hasSafe {
		_, hasUnsafe, err := c.blockByHash(ctx, heads.Unsafe.Hash)
		if err != nil || hasUnsafe {
			return heads, err
		}
	}
	theirs, err := c.engineHeads(ctx)
	if err != nil {
		return heads, err
	}
	if (theirs.heads.Finalized.Hash == common.Hash{}) && heads.Finalized.Hash != theirs.heads.Finalized.Hash {
		return heads, errors.New("the engine says that it has not even genesis")
	}
	if !hasSafe {
		c.log.Error("The execution engine lost blocks that it had acknowledged", "local_safe", heads.LocalSafe,
			"engine_unsafe", theirs.heads.Unsafe, "engine_safe", theirs.heads.Safe, "engine_finalized", theirs.heads.Finalized)
		return theirs.heads, nil
	}
	off, err := c.offChain(ctx, heads.LocalSafe.L2BlockRef, theirs.heads.Unsafe.L2BlockRef)
	if off || theirs.astray {
		heads.Unsafe = follow.Unsafe{L2BlockRef: heads.LocalSafe.L2BlockRef}
	} else {
		heads.Unsafe = theirs.heads.Unsafe
	}
	return heads, err
}

// runRewind takes the unsafe head back to the newest block whose L1 origin is canonical, never below local-safe. A
// sequencer goes on by the new head: to confirm a reset that it did not ask for would cost it a block time.
func (c *Controller) runRewind(ctx context.Context) error {
	if c.state.phase != PhaseFollowing {
		return nil
	}
	head, floor := c.state.heads.Unsafe, c.state.heads.LocalSafe
	if c.l1.Canonical(head.L1Origin) != follow.L1Mismatch || head.Number <= floor.Number {
		return nil
	}
	// L1 origins grow along the chain, so the blocks that lost theirs are its end.
	var failed error
	lost := sort.Search(int(head.Number-floor.Number), func(i int) bool {
		ref, ok := c.ownBlock(ctx, floor.Number+1+uint64(i), &failed)
		return ok && c.l1.Canonical(ref.L1Origin) == follow.L1Mismatch
	})
	last, ok := c.ownBlock(ctx, floor.Number+uint64(lost), &failed)
	if failed != nil || !ok {
		return temporary(fmt.Errorf("find the newest block with a canonical L1 origin: %w", failed))
	}
	want := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: last}, Labels: c.state.heads.Labels}
	switch got, err := c.synchronize(ctx, want); got {
	case answerValid:
	case answerInconsistent:
		return reset(err)
	default:
		return temporary(fmt.Errorf("walk back to %s (%s): %w", last, got, err))
	}
	c.log.Warn("Walked back unsafe blocks whose L1 origin was reorged out", "old_unsafe", head, "unsafe", last,
		"blocks", head.Number-last.Number)
	c.metrics.RecordFollowSourceReorg("walk_back")
	c.diverge(ctx)
	c.recent.cut(last.Number)
	c.commit(want)
	c.inbox.readopt()
	c.post(KindInsert)
	return nil
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
