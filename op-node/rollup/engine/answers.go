package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// answer is what the execution engine said, reduced to what decides.
type answer uint8

const (
	// answerFailed: no usable answer; nothing may be concluded. The error tells why.
	answerFailed answer = iota
	// answerValid: the block is executed and, for a forkchoice update, the head.
	answerValid
	// answerSyncing: the engine lacks something; it may be fetching it.
	answerSyncing
	// answerInvalid: the block breaks the rules.
	answerInvalid
	// answerInconsistent: error -38002, head, safe and finalized do not fit together on the engine's chain.
	answerInconsistent
)

func (a answer) String() string {
	return [...]string{"failed", "VALID", "SYNCING", "INVALID", "-38002"}[a]
}

// forkchoice sends one engine_forkchoiceUpdated. The error is set for every answer but VALID and SYNCING.
func (c *Controller) forkchoice(ctx context.Context, fc eth.ForkchoiceState) (answer, error) {
	_, got, err := c.forkchoiceWith(ctx, fc, nil)
	return got, err
}

// forkchoiceWith is forkchoice that also asks for a block with the given attributes, if any. Attributes that the engine
// refuses are answerInvalid; the head may have moved all the same. Any other error of the engine itself means that it
// does not stand where we think.
func (c *Controller) forkchoiceWith(ctx context.Context, fc eth.ForkchoiceState, attrs *eth.PayloadAttributes) (*eth.PayloadID, answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	result, err := c.engine.ForkchoiceUpdate(ctx, &fc, attrs)
	if err != nil {
		err = fmt.Errorf("forkchoice update to %s: %w", fc.HeadBlockHash, err)
		var coded rpc.Error
		if !errors.As(err, &coded) {
			return nil, answerFailed, err
		}
		switch code := eth.ErrorCode(coded.ErrorCode()); {
		case code == eth.InvalidForkchoiceState:
			return nil, answerInconsistent, err
		case attrs != nil && code == eth.InvalidPayloadAttributes:
			return nil, answerInvalid, err
		case attrs != nil && code.IsEngineError():
			return nil, answerInconsistent, err
		}
		return nil, answerFailed, err
	}
	if result == nil {
		return nil, answerFailed, fmt.Errorf("forkchoice update to %s: empty answer", fc.HeadBlockHash)
	}
	got, err := judge(result.PayloadStatus, "forkchoice update", fc.HeadBlockHash)
	return result.PayloadID, got, err
}

// fetchBlock gets a block that was asked for with forkchoiceWith.
func (c *Controller) fetchBlock(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	envelope, err := c.engine.GetPayload(ctx, info)
	if err != nil {
		return nil, fmt.Errorf("get payload %s: %w", info.ID, err)
	}
	if envelope == nil || envelope.ExecutionPayload == nil {
		return nil, fmt.Errorf("get payload %s: empty answer", info.ID)
	}
	return envelope, nil
}

// newPayload hands one payload to the engine. The error is set for every answer but VALID and SYNCING.
func (c *Controller) newPayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	hash := envelope.ExecutionPayload.BlockHash
	result, err := c.engine.NewPayload(ctx, envelope.ExecutionPayload, envelope.ParentBeaconBlockRoot)
	if err != nil {
		return answerFailed, fmt.Errorf("new payload %s: %w", hash, err)
	}
	if result == nil {
		return answerFailed, fmt.Errorf("new payload %s: empty answer", hash)
	}
	got, err := judge(*result, "new payload", hash)
	if got == answerValid {
		c.handed.add(envelope)
	}
	return got, err
}

func judge(status eth.PayloadStatusV1, what string, hash common.Hash) (answer, error) {
	switch status.Status {
	case eth.ExecutionValid:
		return answerValid, nil
	case eth.ExecutionSyncing, eth.ExecutionAccepted:
		return answerSyncing, nil
	case eth.ExecutionInvalid, eth.ExecutionInvalidBlockHash:
		reason := "no reason given"
		if status.ValidationError != nil {
			reason = *status.ValidationError
		}
		return answerInvalid, fmt.Errorf("%s %s: engine says %s: %s", what, hash, status.Status, reason)
	default:
		return answerFailed, fmt.Errorf("%s %s: unknown status %q", what, hash, status.Status)
	}
}

// blockAt asks for the own canonical block at a number, the recent ones from memory. What the engine says counts only as
// long as it stands on the own chain: it may have moved to a sync target meanwhile, or lost its head.
func (c *Controller) blockAt(ctx context.Context, number uint64) (follow.Lookup, error) {
	if ref, ok := c.recent.at(number); ok {
		return follow.Found(ref), nil
	}
	found, err := c.lookUp(ctx, number)
	if err != nil {
		return found, err
	}
	head := c.state.heads.Unsafe.L2BlockRef
	if at, err := c.lookUp(ctx, head.Number); err != nil {
		return follow.Failed(), err
	} else if at != follow.Found(head) {
		return follow.Failed(), reset(fmt.Errorf("the engine left the chain of its head %s", head))
	}
	if ref, ok := found.Block(); ok && number <= head.Number {
		c.recent.put(ref)
	}
	return found, nil
}

// lookUp asks the engine for its canonical block at a number.
func (c *Controller) lookUp(ctx context.Context, number uint64) (follow.Lookup, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	ref, err := c.engine.L2BlockRefByNumber(ctx, number)
	switch {
	case errors.Is(err, ethereum.NotFound):
		return follow.NotFound(), nil
	case err != nil:
		return follow.Failed(), fmt.Errorf("look up own block %d: %w", number, err)
	case ref.Number != number || ref.Hash == common.Hash{}:
		return follow.Failed(), fmt.Errorf("look up own block %d: the engine answers with %s", number, ref)
	}
	return follow.Found(ref), nil
}

// blockByHash asks whether the engine has a block, on whatever branch.
func (c *Controller) blockByHash(ctx context.Context, hash common.Hash) (ref eth.L2BlockRef, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	ref, err = c.engine.L2BlockRefByHash(ctx, hash)
	switch {
	case errors.Is(err, ethereum.NotFound):
		return eth.L2BlockRef{}, false, nil
	case err != nil:
		return eth.L2BlockRef{}, false, fmt.Errorf("look up block %s: %w", hash, err)
	case ref.Hash != hash:
		return eth.L2BlockRef{}, false, fmt.Errorf("look up block %s: the engine answers with %s", hash, ref)
	}
	return ref, true, nil
}

// label reads one of the engine's own labels; a label that was never set is not found.
func (c *Controller) label(ctx context.Context, label eth.BlockLabel) (ref eth.L2BlockRef, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	ref, err = c.engine.L2BlockRefByLabel(ctx, label)
	switch {
	case errors.Is(err, ethereum.NotFound):
		return eth.L2BlockRef{}, false, nil
	case err != nil:
		return eth.L2BlockRef{}, false, fmt.Errorf("read the engine's %s head: %w", label, err)
	case ref.Hash == common.Hash{}:
		return eth.L2BlockRef{}, false, fmt.Errorf("read the engine's %s head: empty answer", label)
	}
	return ref, true, nil
}
