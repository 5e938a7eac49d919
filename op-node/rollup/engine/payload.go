package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// runInsert hands the next unsafe payload to the engine. It takes one payload; more of them take more tasks, so that
// the queue decides what runs in between.
func (c *Controller) runInsert(ctx context.Context) error {
	switch c.state.phase {
	case PhaseLoading:
		return nil // taken up once the heads are known
	case PhaseAwaiting, PhaseSyncing:
		return c.syncByPayload(ctx)
	}
	if tip := c.state.lost; tip != nil {
		return c.insertLost(ctx, tip)
	}
	defer func() { c.metrics.RecordUnsafePayloadsBuffer(c.inbox.load()) }()
	head := c.state.heads.Unsafe.L2BlockRef
	envelope, gap := c.inbox.next(head)
	switch {
	case envelope == nil:
		c.timers[KindGap] = timer{}
		return nil
	case gap:
		c.watchGap()
		return nil
	}
	ref, ok := c.admissible(envelope)
	if !ok {
		return nil
	}
	switch got, err := c.newPayload(ctx, envelope); got {
	case answerValid:
		c.state.unexecuted = common.Hash{}
	case answerInvalid:
		c.log.Warn("Dropping an invalid unsafe payload", "block", ref, "err", err)
		c.dropPayload(envelope)
		return nil
	case answerSyncing:
		if c.initialSync() || c.state.unexecuted == ref.Hash {
			return c.syncFirst(ctx, ref)
		}
		// It builds on a head that the engine acknowledged and may not have any more.
		c.state.unexecuted = ref.Hash
		return reset(fmt.Errorf("engine lacks the parent of %s, its own head %s", ref, head))
	default:
		return temporary(err)
	}
	return c.extend(ctx, envelope, ref)
}

// syncFirst makes an engine fetch a block that it cannot execute although it has the parent, as in a snap sync.
func (c *Controller) syncFirst(ctx context.Context, ref eth.L2BlockRef) error {
	if c.state.pending != nil {
		return nil // the payload is taken up when the engine has synced to that
	}
	return c.adopt(ctx, ref)
}

// admissible decodes a payload and drops it if it can never become safe.
func (c *Controller) admissible(envelope *eth.ExecutionPayloadEnvelope) (eth.L2BlockRef, bool) {
	ref, err := derive.PayloadToBlockRef(c.cfg.Rollup, envelope.ExecutionPayload)
	if err != nil {
		c.log.Warn("Dropping an unsafe payload without L1 information", "block", envelope.ExecutionPayload.ID(), "err", err)
		c.dropPayload(envelope)
		return eth.L2BlockRef{}, false
	}
	if c.l1.Canonical(ref.L1Origin) == follow.L1Mismatch {
		c.log.Warn("Dropping an unsafe payload of an L1 fork", "block", ref, "l1_origin", ref.L1Origin)
		c.dropPayload(envelope)
		return eth.L2BlockRef{}, false
	}
	return ref, true
}

// dropPayload forgets a payload and looks at the next one.
func (c *Controller) dropPayload(envelope *eth.ExecutionPayloadEnvelope) {
	c.inbox.drop(envelope)
	c.post(KindInsert)
}

// extend makes an executed payload, a child of the unsafe head, the new one.
func (c *Controller) extend(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope, ref eth.L2BlockRef) error {
	switch got, err := c.advance(ctx, ref); got {
	case answerValid:
	case answerInconsistent:
		return reset(err)
	case answerInvalid:
		c.log.Warn("Dropping an unsafe payload that the engine refuses as head", "block", ref, "err", err)
		c.dropPayload(envelope)
		return nil
	case answerSyncing:
		return temporary(fmt.Errorf("engine executed %s and answers SYNCING to it as head", ref))
	default:
		return temporary(err)
	}
	c.inbox.drop(envelope)
	c.post(KindInsert)
	return nil
}

// syncByPayload uses the next payload above the sync target as the new one.
func (c *Controller) syncByPayload(ctx context.Context) error {
	envelope := c.inbox.above(max(c.state.aim.Number, c.state.heads.Unsafe.Number))
	if envelope == nil {
		return nil
	}
	ref, ok := c.admissible(envelope)
	if !ok {
		return nil
	}
	switch got, err := c.newPayload(ctx, envelope); got {
	case answerValid, answerSyncing:
	case answerInvalid:
		c.log.Warn("Dropping an invalid unsafe payload", "block", ref, "err", err)
		c.dropPayload(envelope)
		return nil
	default:
		return temporary(err)
	}
	if err := c.aimAt(ctx, ref, false); err != nil {
		return err
	}
	c.dropPayload(envelope)
	return nil
}

// patience is how long a gap is left to gossip before the engine is asked to fill it.
func (c *Controller) patience() time.Duration {
	return 2 * time.Duration(c.cfg.Rollup.BlockTime) * time.Second
}

// watchGap arranges for the gap above the head to be looked at when it has been there for two block times.
func (c *Controller) watchGap() {
	if c.timers[KindGap].at.IsZero() {
		c.state.gapSince = c.clock.Now()
		c.timers[KindGap].at = c.state.gapSince.Add(c.patience())
	}
}

// runGap hands the payload behind a gap to the engine as a sync target, if the gap is old enough.
func (c *Controller) runGap(ctx context.Context) error {
	if c.state.phase != PhaseFollowing || c.state.lost != nil {
		return nil
	}
	envelope, gap := c.inbox.next(c.state.heads.Unsafe.L2BlockRef)
	if envelope == nil || !gap {
		c.post(KindInsert)
		return nil
	}
	due := c.state.gapSince.Add(c.patience())
	if now := c.clock.Now(); due.After(now) || c.state.pending != nil {
		c.timers[KindGap].at = later(due, now.Add(time.Second))
		return nil
	}
	ref, ok := c.admissible(envelope)
	if !ok {
		return nil
	}
	branch, _, err := c.descends(ctx, ref.ParentHash, c.state.heads.LocalSafe.L2BlockRef)
	if err != nil {
		return temporary(err)
	}
	if branch == follow.AncestryBroken {
		c.log.Warn("Dropping an unsafe payload of a branch without the local-safe block", "block", ref,
			"local_safe", c.state.heads.LocalSafe)
		c.dropPayload(envelope)
		return nil
	}
	switch got, err := c.newPayload(ctx, envelope); got {
	case answerValid, answerSyncing:
	case answerInvalid:
		c.log.Warn("Dropping an invalid unsafe payload", "block", ref, "err", err)
		c.dropPayload(envelope)
		return nil
	default:
		return temporary(err)
	}
	c.log.Info("Asking the execution engine to fill a gap", "unsafe", c.state.heads.Unsafe, "next", ref)
	return c.adopt(ctx, ref)
}

// adopt makes a block above a gap the unsafe head once the engine has it.
func (c *Controller) adopt(ctx context.Context, ref eth.L2BlockRef) error {
	want := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: ref}, Labels: c.state.heads.Labels}
	switch got, err := c.synchronize(ctx, want); got {
	case answerValid:
		if on, err := c.overLocalSafe(ctx); err != nil {
			return temporary(err)
		} else if !on {
			c.log.Warn("Going back from a branch without the local-safe block", "refused", ref, "local_safe", want.LocalSafe)
			c.dropPending()
			c.inbox.above(ref.Number)
			return c.goBack(ctx)
		}
		c.dropPending()
		c.recent.clear()
		c.commit(want)
		c.post(KindRewind) // L1 may have left the block's origin meanwhile
		c.post(KindInsert)
		return nil
	case answerSyncing:
		c.hold(want, nil)
		return nil
	case answerInvalid, answerInconsistent:
		// It does not contain the labels, or breaks the rules. The engine may have moved already.
		c.dropPending()
		c.inbox.above(ref.Number)
		return reset(err)
	default:
		return temporary(err)
	}
}

// overLocalSafe tells whether the engine's chain, after it moved, contains the local-safe head. The engine was told the
// safe head only, and checked that.
func (c *Controller) overLocalSafe(ctx context.Context) (bool, error) {
	heads := c.state.heads
	if heads.LocalSafe.L2BlockRef == heads.Safe.L2BlockRef {
		return true, nil
	}
	have, err := c.lookUp(ctx, heads.LocalSafe.Number)
	return have == follow.Found(heads.LocalSafe.L2BlockRef), err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
