package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	optypes "github.com/ethereum-optimism/optimism/op-core/types"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// job is a block that the engine is making, or has made and that is not the head yet: until it is, the sequencer may
// ask for it again.
type job struct {
	info   eth.PayloadInfo
	parent eth.L2BlockRef
	// cancelled tells that the engine was told to stop.
	cancelled bool
}

// extendable tells whether a child of the block could become the head now. An engine that awaits a sync target can be
// built on too: there is nothing to sync if its own head is the tip of the chain.
func (c *Controller) extendable(parent eth.BlockID) bool {
	return (c.state.phase == PhaseFollowing || c.state.phase == PhaseAwaiting) && parent == c.state.heads.Unsafe.ID()
}

// admitBuild lets work on a block pass only if it would extend the head and nothing keeps that from being built on.
func (c *Controller) admitBuild(parent eth.L2BlockRef) error {
	if err := c.headLost(); err != nil {
		return err
	}
	if !c.extendable(parent.ID()) {
		return c.staleBuild("parent %s, unsafe head %s", parent, c.state.heads.Unsafe)
	}
	if err := c.role.refuses(c.state.heads.Unsafe.L2BlockRef); err != nil {
		return c.staleBuild("%v", err)
	}
	return nil
}

// headLost is a failure while the engine does not have its own head: that passes by itself, so that a block which is sealed
// and published already is not given up for it.
func (c *Controller) headLost() error {
	if c.state.lost == nil {
		return nil
	}
	return c.troubled(fmt.Errorf("the engine does not have its own head %s", c.state.heads.Unsafe))
}

// startBuild begins a block on the unsafe head.
func (c *Controller) startBuild(ctx context.Context, attrs *derive.AttributesWithParent) (*upstream.BuildStartResult, error) {
	if err := c.admitBuild(attrs.Parent); err != nil {
		return nil, err
	}
	started := c.clock.Now()
	id, got, err := c.forkchoiceWith(ctx, c.forkchoiceState(c.state.heads), attrs.Attributes)
	switch {
	case got == answerValid && id == nil:
		return nil, c.troubled(fmt.Errorf("the engine starts no block on %s", attrs.Parent))
	case got == answerValid:
	case got == answerSyncing:
		c.post(KindReset)
		return nil, c.troubled(fmt.Errorf("the engine answers SYNCING to its own head %s", attrs.Parent))
	case got == answerInvalid:
		c.role.emit(upstream.BuildInvalidEvent{Attributes: attrs, Err: err})
		return nil, fmt.Errorf("%w: %w", upstream.ErrBuildInvalid, err)
	case got == answerInconsistent:
		return nil, c.lost(err)
	default:
		return nil, c.troubled(err)
	}
	info := eth.PayloadInfo{ID: *id, Timestamp: uint64(attrs.Attributes.Timestamp)}
	c.state.job = &job{info: info, parent: attrs.Parent}
	if c.state.phase == PhaseAwaiting {
		c.enter(PhaseFollowing)
		c.publish()
		c.followNewest()
	}
	c.announce()
	return &upstream.BuildStartResult{Info: info, BuildStarted: started, Parent: attrs.Parent}, nil
}

// sealBuild fetches a block that was begun.
func (c *Controller) sealBuild(ctx context.Context, info eth.PayloadInfo, started time.Time) (*upstream.SealResult, error) {
	job := c.state.job
	if job == nil || job.info != info {
		return nil, c.staleBuild("the block is not the last one that was begun")
	}
	if err := c.admitBuild(job.parent); err != nil {
		return nil, err
	}
	if job.cancelled {
		// The sequencer hears of no other head that it could begin anew on.
		c.state.job = nil
		return nil, fmt.Errorf("%w: it was cancelled", upstream.ErrSealExpired)
	}
	begin := c.clock.Now()
	envelope, err := c.fetchBlock(ctx, info)
	if err != nil {
		c.state.job = nil
		return nil, fmt.Errorf("%w: %w", upstream.ErrSealExpired, err)
	}
	payload := envelope.ExecutionPayload
	deposits, err := countDeposits(payload.Transactions)
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", upstream.ErrSealInvalid, payload.ID(), err)
	}
	ref, err := derive.PayloadToBlockRef(c.cfg.Rollup, payload)
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", upstream.ErrSealInvalid, payload.ID(), err)
	}
	if ref.ParentHash != job.parent.Hash {
		return nil, fmt.Errorf("%w: block %s does not build on %s", upstream.ErrSealInvalid, payload.ID(), job.parent)
	}
	now := c.clock.Now()
	c.role.sealed(sealed{
		sealing: now.Sub(begin), excess: now.Sub(started) - time.Duration(c.cfg.Rollup.BlockTime)*time.Second,
		txs: len(payload.Transactions), deposits: deposits,
	})
	return &upstream.SealResult{Envelope: envelope, Ref: ref}, nil
}

// countDeposits counts the deposits of a block. There is at least one, and none comes after another transaction.
func countDeposits(txs []eth.Data) (int, error) {
	count := 0
	for i, tx := range txs {
		switch {
		case len(tx) == 0:
			return 0, fmt.Errorf("transaction %d is empty", i)
		case tx[0] != optypes.DepositTxType:
		case count < i:
			return 0, fmt.Errorf("transaction %d is a deposit and comes after one that is none", i)
		default:
			count++
		}
	}
	if count == 0 {
		return 0, errors.New("there is no L1 info deposit")
	}
	return count, nil
}

// processPayload makes a sealed block the unsafe head. A block that was sealed is taken in whatever keeps the head from being
// built on: it may have been published already, and another one in its place would be an equivocation.
func (c *Controller) processPayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope, ref eth.L2BlockRef) error {
	if err := c.headLost(); err != nil {
		return err
	}
	if !c.extendable(ref.ParentID()) {
		return c.staleBuild("block %s, unsafe head %s", ref, c.state.heads.Unsafe)
	}
	switch got, err := c.newPayload(ctx, envelope); got {
	case answerValid:
	case answerInvalid:
		return c.invalidPayload(envelope, err)
	case answerSyncing:
		c.post(KindReset)
		return c.troubled(fmt.Errorf("the engine lacks the parent of %s, its own head", ref))
	default:
		return c.troubled(err)
	}
	switch got, err := c.advance(ctx, ref); got {
	case answerValid:
		c.state.job = nil
		c.role.emit(upstream.UnsafeUpdateEvent{Ref: ref})
		c.post(KindInsert)
		if c.l1.Canonical(ref.L1Origin) == follow.L1Mismatch {
			c.post(KindRewind) // the block was begun before L1 left its origin
		}
		return nil
	case answerInvalid:
		return c.invalidPayload(envelope, err)
	case answerInconsistent:
		return c.lost(err)
	case answerSyncing:
		return c.troubled(fmt.Errorf("the engine executed %s and answers SYNCING to it as head", ref))
	default:
		return c.troubled(err)
	}
}

// advance makes an executed child of the unsafe head the new one. Labels that waited for a VALID head go out with it.
func (c *Controller) advance(ctx context.Context, ref eth.L2BlockRef) (answer, error) {
	want := follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: ref}, Labels: c.state.heads.Labels}
	if staged := c.state.staged; staged != nil && (staged.Stale(c.applied()) || c.contradicted(*staged)) {
		c.state.staged = nil
	}
	staged := c.state.staged
	carries := false
	if staged != nil {
		local, err := c.localFacts(ctx, *staged)
		if needsReset(err) {
			c.post(KindReset)
		}
		// Labels that cannot be looked up wait for the next head; the block does not wait for them.
		if plan := follow.Plan(c.state.heads, *staged, local); err == nil && plan.Case == follow.CaseConsolidate {
			carries = true
			want.Labels = plan.Heads.Labels
		} else if err == nil && plan.Action != follow.ActionStage {
			c.state.staged = nil
			c.followNewest()
		}
	}
	got, err := c.synchronize(ctx, want)
	if got != answerValid {
		return got, err
	}
	if carries {
		c.state.staged = nil
		c.keep(*staged)
		c.state.appliedAt = c.clock.Now()
		c.tell(Outcome{Case: follow.CaseConsolidate})
	}
	c.commit(want)
	return answerValid, nil
}

// invalidPayload is the refusal of an own block by the engine.
func (c *Controller) invalidPayload(envelope *eth.ExecutionPayloadEnvelope, err error) error {
	c.role.emit(upstream.PayloadInvalidEvent{Envelope: envelope, Err: err})
	return fmt.Errorf("%w: %w", upstream.ErrPayloadInvalid, err)
}

// troubled is a failure that passes by itself; the sequencer backs off.
func (c *Controller) troubled(err error) error {
	c.role.emit(rollup.EngineTemporaryErrorEvent{Err: err})
	return err
}

// lost is a failure because the engine stands elsewhere. The sequencer waits for a reset to be confirmed; whoever hears
// the event calls Recover for that.
func (c *Controller) lost(err error) error {
	c.post(KindReset)
	c.role.emit(rollup.ResetEvent{Err: err})
	return err
}

// cancelJob ends the block that the engine is making, if any. The engine API has no other way than to fetch it; a
// failure to do so only leaves the engine working until it tires of it.
func (c *Controller) cancelJob(ctx context.Context) {
	job := c.state.job
	if job == nil || job.cancelled {
		return
	}
	job.cancelled = true
	_, err := c.fetchBlock(ctx, job.info)
	c.log.Info("Cancelled the making of a block", "payload_id", job.info.ID, "parent", job.parent, "err", err)
}

// runRecover answers a sequencer that cannot build on the head.
func (c *Controller) runRecover(ctx context.Context) error {
	c.cancelJob(ctx)
	if err := c.runRewind(ctx); err != nil {
		return err
	}
	c.recovered(ctx)
	return nil
}
