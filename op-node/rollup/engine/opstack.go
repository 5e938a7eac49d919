package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
)

// This file is the door for the experimental opstack namespace, with which blocks are built by hand, step by step. It
// builds on the unsafe head alone: what does not extend it is refused like a stale build of the sequencer. Errors carry
// the codes of upstream's API.

var _ interface {
	apis.BuildAPI
	apis.CommitAPI
} = (*Controller)(nil)

// OpenBlock begins a block on the unsafe head.
func (c *Controller) OpenBlock(ctx context.Context, parent eth.BlockID, attrs *eth.PayloadAttributes) (eth.PayloadInfo, error) {
	if attrs == nil {
		return eth.PayloadInfo{}, coded(apis.BuildErrCodeInvalidInput, "no payload attributes")
	}
	return await(ctx, c, KindBuild, func(ctx context.Context) (eth.PayloadInfo, error) {
		if !c.extendable(parent) {
			return eth.PayloadInfo{}, coded(apis.BuildErrCodePrestate, "parent %s is not the unsafe head %s", parent, c.state.heads.Unsafe)
		}
		id, got, err := c.forkchoiceWith(ctx, c.forkchoiceState(c.state.heads), attrs)
		switch {
		case got == answerValid && id != nil:
			return eth.PayloadInfo{ID: *id, Timestamp: uint64(attrs.Timestamp)}, nil
		case got == answerInvalid:
			return eth.PayloadInfo{}, coded(apis.BuildErrCodePrestate, "invalid payload attributes: %v", err)
		case got == answerInconsistent:
			c.post(KindReset)
			return eth.PayloadInfo{}, coded(apis.BuildErrCodePrestate, "need reset to resolve pre-state problem: %v", err)
		default:
			return eth.PayloadInfo{}, coded(apis.BuildErrCodeTemporary, "the engine starts no block (%s): %v", got, err)
		}
	})
}

// CancelBlock ends the making of a block, which the engine API can only do by fetching it.
func (c *Controller) CancelBlock(ctx context.Context, info eth.PayloadInfo) error {
	_, err := c.SealBlock(ctx, info)
	return err
}

// SealBlock fetches a block that was opened. It is no part of the chain before CommitBlock.
func (c *Controller) SealBlock(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	return await(ctx, c, KindSeal, func(ctx context.Context) (*eth.ExecutionPayloadEnvelope, error) {
		envelope, err := c.fetchBlock(ctx, info)
		var known rpc.Error
		switch {
		case err == nil:
			return envelope, nil
		case errors.As(err, &known) && eth.ErrorCode(known.ErrorCode()) == eth.UnknownPayload:
			return nil, coded(apis.BuildErrCodeUnknownPayload, "unknown payload")
		default:
			return nil, coded(apis.BuildErrCodeOther, "failed to seal payload: %v", err)
		}
	})
}

// CommitBlock makes a block the unsafe head, which it has to extend. The signature is for those who publish the block.
func (c *Controller) CommitBlock(ctx context.Context, signed *opsigner.SignedExecutionPayloadEnvelope) error {
	if signed == nil || signed.Envelope == nil || signed.Envelope.ExecutionPayload == nil {
		return coded(apis.BuildErrCodeInvalidInput, "no payload")
	}
	ref, err := derive.PayloadToBlockRef(c.cfg.Rollup, signed.Envelope.ExecutionPayload)
	if err != nil {
		return coded(apis.BuildErrCodeInvalidInput, "invalid payload: %v", err)
	}
	_, err = await(ctx, c, KindProcess, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.commitBlock(ctx, signed.Envelope, ref)
	})
	return err
}

func (c *Controller) commitBlock(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope, ref eth.L2BlockRef) error {
	if !c.extendable(ref.ParentID()) {
		return coded(apis.BuildErrCodePrestate, "block %s does not extend the unsafe head %s", ref, c.state.heads.Unsafe)
	}
	got, err := c.newPayload(ctx, envelope)
	if got == answerValid {
		got, err = c.advance(ctx, ref)
	}
	switch got {
	case answerValid:
		c.post(KindInsert)
		return nil
	case answerInvalid:
		return coded(apis.BuildErrCodeInvalidInput, "execution invalid: %v", err)
	case answerInconsistent:
		c.post(KindReset)
		return coded(apis.BuildErrCodePrestate, "need reset to resolve pre-state problem: %v", err)
	default:
		return coded(apis.BuildErrCodeTemporary, "the engine does not take the block (%s): %v", got, err)
	}
}

// coded is an error that JSON-RPC shows with its code.
func coded(code int, format string, args ...any) error {
	return &rpc.JsonError{Code: code, Message: fmt.Sprintf(format, args...)}
}
