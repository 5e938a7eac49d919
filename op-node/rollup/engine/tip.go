package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

const (
	// maxHanded and maxHandedBytes bound the payloads that are kept for an engine that loses them.
	maxHanded      = 128
	maxHandedBytes = 32 << 20
)

// handed are the newest payloads that this node handed in and the engine executed. An engine that comes back without its
// newest blocks, as after a power cut, is handed them again: it need not have peers that have them.
type handed struct {
	list  []*eth.ExecutionPayloadEnvelope
	bytes uint64
}

// add keeps a payload, and forgets the oldest for it.
func (h *handed) add(envelope *eth.ExecutionPayloadEnvelope) {
	hash := envelope.ExecutionPayload.BlockHash
	if slices.ContainsFunc(h.list, func(e *eth.ExecutionPayloadEnvelope) bool { return e.ExecutionPayload.BlockHash == hash }) {
		return
	}
	h.list = append(h.list, envelope)
	h.bytes += payloadBytes(envelope)
	for len(h.list) > maxHanded || h.bytes > maxHandedBytes && len(h.list) > 1 {
		h.bytes -= payloadBytes(h.list[0])
		h.list[0] = nil
		h.list = h.list[1:]
	}
}

// path are the payloads that lead to a tip, the lowest first: those on top of a block, or as many as there are.
func (h *handed) path(from, tip common.Hash) (path []*eth.ExecutionPayloadEnvelope) {
	byHash := make(map[common.Hash]*eth.ExecutionPayloadEnvelope, len(h.list))
	for _, envelope := range h.list {
		byHash[envelope.ExecutionPayload.BlockHash] = envelope
	}
	for hash := tip; hash != from && byHash[hash] != nil; hash = byHash[hash].ExecutionPayload.ParentHash {
		path = append(path, byHash[hash])
	}
	slices.Reverse(path)
	return path
}

// lostTip is what is known while the engine does not have its own head any more (spec F7, S6). The heads stay as they are
// published; nothing is built, inserted or applied.
type lostTip struct {
	// until is when building and labels go on from what the engine has.
	until time.Time
	// theirs is the engine's own head as it was last seen.
	theirs eth.L2BlockRef
	// again are the payloads that have yet to be handed in again, asked whether there were any.
	again []*eth.ExecutionPayloadEnvelope
	asked bool
}

// errHandedIn tells that the engine took one of the payloads that it lost, and has to be handed the next.
var errHandedIn = errors.New("the execution engine is being handed the blocks that it lost")

// errSyncs is the failure of an engine that does not stand anywhere yet.
var errSyncs = errors.New("it syncs")

// runReset finds out where the engine is after it lost or moved blocks, and tells it the heads again.
func (c *Controller) runReset(ctx context.Context) error {
	switch err := c.realign(ctx); {
	case errors.Is(err, errHandedIn):
		c.post(KindReset)
		return nil
	case err != nil:
		return temporary(err)
	}
	// The engine may stand on a branch whose L1 origin is gone.
	// Either may be what led here, and must not be tried again without a pause.
	c.resume(KindRewind)
	c.resume(KindInsert)
	return nil
}

// realign tells the engine the heads again. One that does not have its own head is handed in what this node has of it, and
// given two block times to get it from its peers or from gossip; then what it still has is what is left. Until it
// acknowledges something, nothing changes here.
func (c *Controller) realign(ctx context.Context) error {
	if tip := c.state.lost; tip != nil && len(tip.again) > 0 {
		return c.handInAgain(ctx, tip)
	}
	switch got, err := c.synchronize(ctx, c.state.heads); got {
	case answerValid:
		if c.state.lost != nil {
			c.log.Info("The execution engine has its head again", "unsafe", c.state.heads.Unsafe)
			c.regained()
		}
		return nil
	case answerSyncing, answerInconsistent:
		if c.state.phase != PhaseFollowing { // it has yet to get anything
			return fmt.Errorf("the engine answers %s to its own head %s: %w", got, c.state.heads.Unsafe, errSyncs)
		}
	default:
		return err
	}
	theirs, err := c.engineHeads(ctx)
	if err != nil {
		return err
	}
	if (theirs.heads.Finalized.Hash == common.Hash{}) && c.state.heads.Finalized.Hash != theirs.heads.Finalized.Hash {
		return errors.New("the engine says that it has not even genesis")
	}
	tip := c.miss(ctx, theirs.heads.Unsafe.L2BlockRef)
	switch {
	case len(tip.again) > 0:
		return errHandedIn
	case c.clock.Now().Before(tip.until):
		return fmt.Errorf("the engine does not have its own head %s: it stands at %s", c.state.heads.Unsafe, tip.theirs)
	}
	return c.makeDo(ctx, theirs)
}

// miss notes that the engine does not have its own head.
func (c *Controller) miss(ctx context.Context, theirs eth.L2BlockRef) *lostTip {
	if c.state.lost == nil {
		c.state.lost = &lostTip{until: c.clock.Now().Add(c.patience())}
		c.log.Warn("The execution engine does not have its own heads any more", "unsafe", c.state.heads.Unsafe,
			"local_safe", c.state.heads.LocalSafe, "engine_unsafe", theirs)
		c.cancelJob(ctx)
		c.dropPending()
		c.state.unexecuted = common.Hash{}
	}
	tip := c.state.lost
	tip.theirs = theirs
	if !tip.asked {
		tip.asked = true
		tip.again = c.handed.path(theirs.Hash, c.state.heads.Unsafe.Hash)
	}
	return tip
}

// handInAgain hands in the next payload that the engine lost. One that it does not take ends that.
func (c *Controller) handInAgain(ctx context.Context, tip *lostTip) error {
	next := tip.again[0]
	got, err := c.newPayload(ctx, next)
	switch got {
	case answerValid:
		tip.again = tip.again[1:]
		return errHandedIn
	case answerFailed:
		return err
	}
	tip.again = nil
	return fmt.Errorf("hand in block %s again: %s", next.ExecutionPayload.ID(), got)
}

// insertLost hands in what gossip, or somebody by RPC, brings of the blocks that the engine lost.
func (c *Controller) insertLost(ctx context.Context, tip *lostTip) error {
	envelope := c.inbox.above(tip.theirs.Number)
	if envelope == nil || uint64(envelope.ExecutionPayload.BlockNumber) > c.state.heads.Unsafe.Number {
		return nil
	}
	switch got, err := c.newPayload(ctx, envelope); got {
	case answerFailed:
		return temporary(err)
	case answerValid:
		tip.asked = false // it may be what was missing below others
	}
	c.dropPayload(envelope)
	c.post(KindReset)
	return nil
}

// makeDo goes on from what the engine still has. As long as that contains the local-safe head, the labels stay; else its
// own labels are what is left, and nothing is built before the lost local-safe block is back: L1 has it, so no other block
// in its place could last.
func (c *Controller) makeDo(ctx context.Context, theirs standing) error {
	before, heads := c.state.heads, c.state.heads
	off, err := c.offChain(ctx, heads.LocalSafe.L2BlockRef, theirs.heads.Unsafe.L2BlockRef)
	if err != nil {
		return err
	}
	if heads.Unsafe = theirs.heads.Unsafe; off || theirs.astray {
		heads.Unsafe = follow.Unsafe{L2BlockRef: heads.LocalSafe.L2BlockRef} // it may have that on another branch
	}
	got, err := c.synchronize(ctx, heads)
	if got == answerSyncing || got == answerInconsistent {
		heads = theirs.heads
		got, err = c.synchronize(ctx, heads)
	}
	switch {
	case got == answerSyncing:
		return fmt.Errorf("the engine answers SYNCING to its own head %s", heads.Unsafe)
	case got != answerValid:
		return err
	}
	lostLabels := heads.Labels != before.Labels
	if lostLabels {
		c.state.currentL1, c.state.gone, c.state.aside = eth.L1BlockRef{}, eth.BlockID{}, nil // they belong to labels that are gone
		c.state.below = before.LocalSafe.L2BlockRef
	}
	if heads.Unsafe != before.Unsafe {
		c.diverge(ctx)
	}
	c.state.heads = heads
	c.recent.clear()
	c.recent.putHeads(heads)
	c.regained()
	c.inbox.readopt()
	c.publish()
	if lostLabels {
		c.log.Error("The execution engine lost blocks that it had acknowledged as safe", "old_unsafe", before.Unsafe,
			"old_local_safe", before.LocalSafe, "unsafe", heads.Unsafe, "local_safe", heads.LocalSafe, "finalized", heads.Finalized)
	} else {
		c.log.Warn("Going on from what the execution engine has", "old_unsafe", before.Unsafe, "unsafe", heads.Unsafe,
			"local_safe", heads.LocalSafe)
	}
	return nil
}

// regained ends the loss of the head.
func (c *Controller) regained() {
	c.state.lost = nil
	c.timers[KindReset].clear()
	c.followNewest()
}

// belowLost tells whether the head is below a local-safe block that the engine lost and has not got back.
func (c *Controller) belowLost() bool {
	if c.state.below != (eth.L2BlockRef{}) && c.state.heads.Unsafe.Number >= c.state.below.Number {
		c.state.below = eth.L2BlockRef{}
	}
	return c.state.below != (eth.L2BlockRef{})
}
