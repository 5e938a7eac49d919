package engine

import (
	"context"
	"errors"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// This file is the door for upstream's sequencer: each call becomes a task, and waits for the task's result. What the
// tasks do is in build.go.

var _ sequencing.SequencerEngine = (*Controller)(nil)

// ErrStopped is the failure of calls to a controller that does not run any more.
var ErrStopped = errors.New("the engine controller has stopped")

// await has work done by the goroutine of Run and waits for the outcome. The end of ctx ends the waiting; work that was
// not begun by then is left undone.
func await[T any](ctx context.Context, c *Controller, kind Kind, work func(ctx context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	c.enqueue(ctx, kind, func(ctx context.Context) error {
		value, err := work(ctx)
		done <- outcome{value, err}
		return err
	})
	var none T
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-c.stopped:
		return none, ErrStopped
	}
}

// enqueue posts a task of the sequencer.
func (c *Controller) enqueue(ctx context.Context, kind Kind, work func(ctx context.Context) error) {
	c.queue.post(task{kind: kind, queued: c.clock.Now(), call: &call{ctx: ctx, work: work}})
}

// RequestForkchoiceUpdate has the heads announced, once they are known. It does not wait for that.
func (c *Controller) RequestForkchoiceUpdate(ctx context.Context) {
	c.enqueue(ctx, KindAnnounce, func(context.Context) error {
		c.announce()
		return nil
	})
}

// StartBuild starts a block on the unsafe head. It fails with upstream's ErrStaleBuild for another parent or while nothing may
// be built on the head, without a call of the engine; with ErrBuildInvalid for attributes that the engine refuses; else for
// the time being, and the matching event was emitted.
func (c *Controller) StartBuild(ctx context.Context, attrs *derive.AttributesWithParent) (*upstream.BuildStartResult, error) {
	return await(ctx, c, KindBuild, func(ctx context.Context) (*upstream.BuildStartResult, error) {
		return c.startBuild(ctx, attrs)
	})
}

// SealBuild fetches a block that was started. It fails with upstream's ErrStaleBuild if the head moved or may not be
// built on since, with ErrSealExpired if the engine does not give the block, with ErrSealInvalid if the block is wrong.
func (c *Controller) SealBuild(ctx context.Context, info eth.PayloadInfo, buildStarted time.Time) (*upstream.SealResult, error) {
	return await(ctx, c, KindSeal, func(ctx context.Context) (*upstream.SealResult, error) {
		return c.sealBuild(ctx, info, buildStarted)
	})
}

// ProcessPayload makes a sealed block the unsafe head. It fails with upstream's ErrStaleBuild if the block does not
// extend the head, with ErrPayloadInvalid if the engine refuses it; else for the time being, and the matching event was
// emitted. When it returns nil the engine has acknowledged the block as its head.
func (c *Controller) ProcessPayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope, ref eth.L2BlockRef, _ time.Time) error {
	_, err := await(ctx, c, KindProcess, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.processPayload(ctx, envelope, ref)
	})
	return err
}

// CancelBuild stops the making of a block, if it is still being made. It does not wait for that.
func (c *Controller) CancelBuild(info eth.PayloadInfo) {
	c.enqueue(context.Background(), KindCancel, func(ctx context.Context) error {
		if job := c.state.job; job != nil && job.info == info {
			c.cancelJob(ctx)
		}
		return nil
	})
}

// Recover is Rewind for a sequencer that cannot build on the head. Moved or not, the heads are announced and the reset
// is confirmed when it is done, or, if nothing may be built there, as soon as it may.
func (c *Controller) Recover() { c.post(KindRecover) }
