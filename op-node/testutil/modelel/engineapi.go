package modelel

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-core/eip1559"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// What op-geth remembers of blocks and payloads it does not have in its database.
const (
	maxHeaders      = 96
	maxPayloads     = 10
	badBlockAmnesty = 128 // meetings with a bad block after which it gets another chance
)

// NewPayload is engine_newPayload. An answer is VALID if the block is in the database or could be put there, SYNCING if
// its parent is missing or the engine snap syncs, ACCEPTED if the state of its parent is missing, INVALID otherwise.
// The canonical chain never changes.
func (el *EL) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, parentBeaconBlockRoot *common.Hash) (res *eth.PayloadStatusV1, err error) {
	defer func() { el.log.newPayload(payload, res, err) }()
	el.mu.Lock()
	defer el.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	el.settle(true)
	if payload.Withdrawals == nil || payload.ExcessBlobGas == nil || payload.BlobGasUsed == nil || parentBeaconBlockRoot == nil {
		return nil, fmt.Errorf("failed to execute payload: %w", engine.InvalidParams.With(errors.New("missing field")))
	}
	envelope := &eth.ExecutionPayloadEnvelope{ParentBeaconBlockRoot: parentBeaconBlockRoot, ExecutionPayload: payload}
	if err := el.checkPayload(envelope); err != nil {
		return invalid(err, nil), nil
	}
	return el.newPayload(envelope), nil
}

// checkPayload makes the checks that need nothing but the payload.
func (el *EL) checkPayload(envelope *eth.ExecutionPayloadEnvelope) error {
	payload := envelope.ExecutionPayload
	if len(*payload.Withdrawals) != 0 {
		return errors.New("withdrawals are not empty")
	}
	if err := eip1559.ValidateOptimismExtraData(el.cfg, uint64(payload.Timestamp), payload.ExtraData); err != nil {
		return err
	}
	if el.cfg.IsIsthmus(uint64(payload.Timestamp)) != (payload.WithdrawalsRoot != nil) {
		return errors.New("withdrawals root does not fit the fork")
	}
	if actual, ok := envelope.CheckBlockHash(); !ok {
		return fmt.Errorf("block hash is %s, not %s", actual, payload.BlockHash)
	}
	return nil
}

func (el *EL) newPayload(envelope *eth.ExecutionPayloadEnvelope) *eth.PayloadStatusV1 {
	payload := envelope.ExecutionPayload
	h := header{hash: payload.BlockHash, parent: payload.ParentHash, number: uint64(payload.BlockNumber)}
	if _, known := el.blocks[h.hash]; known {
		return valid(h.hash)
	}
	if status := el.rejected(h.hash, h.hash); status != nil {
		return status
	}
	parent, ok := el.blocks[h.parent]
	if !ok {
		if el.reth {
			el.buffered.put(h.parent, envelope)
		}
		return el.delay(h)
	}
	if uint64(payload.Timestamp) <= parent.Ref.Time {
		return invalid(errors.New("timestamp is not after the parent's"), &h.parent)
	}
	if el.snap {
		return el.delay(h)
	}
	if parent.stateless {
		el.headers.put(h.hash, h)
		return &eth.PayloadStatusV1{Status: eth.ExecutionAccepted}
	}
	block, err := el.execute(parent.Block, envelope)
	if err != nil {
		el.hits[h.hash] = 1
		el.invalid[h.hash] = h
		return invalid(err, &h.parent)
	}
	el.store(block)
	if el.reth {
		el.connect(block)
	}
	return valid(h.hash)
}

// execute stands for execution: it fails for blocks that a test marked, and for those a rollup node could not read.
func (el *EL) execute(parent Block, envelope *eth.ExecutionPayloadEnvelope) (Block, error) {
	if uint64(envelope.ExecutionPayload.BlockNumber) != parent.Ref.Number+1 {
		return Block{}, errors.New("invalid number")
	}
	if el.bad[envelope.ExecutionPayload.BlockHash] {
		return Block{}, errors.New("invalid merkle root")
	}
	return el.blockOf(envelope)
}

// delay answers for a block that cannot be executed now: it is remembered, and made part of a running sync if it
// extends that.
func (el *EL) delay(h header) *eth.PayloadStatusV1 {
	if status := el.rejected(h.parent, h.hash); status != nil {
		return status
	}
	el.headers.put(h.hash, h)
	el.extendSync(h)
	return &eth.PayloadStatusV1{Status: eth.ExecutionSyncing}
}

// rejected says INVALID if the chain that ends in check is known to be bad, in which case the one that ends in tip is
// remembered as bad as well.
func (el *EL) rejected(check, tip common.Hash) *eth.PayloadStatusV1 {
	origin, ok := el.invalid[check]
	if !ok {
		return nil
	}
	el.hits[origin.hash]++
	if el.hits[origin.hash] >= badBlockAmnesty {
		delete(el.hits, origin.hash)
		for descendant, h := range el.invalid {
			if h == origin {
				delete(el.invalid, descendant)
			}
		}
		return nil
	}
	el.invalid[tip] = origin
	return invalid(errors.New("links to previously rejected block"), &origin.parent)
}

// ForkchoiceUpdate is engine_forkchoiceUpdated. As in op-geth, the head moves before finalized and safe are looked at,
// so a head can be adopted by a call that fails with -38002; finalized is set before safe is looked at; labels may be
// set back; and a head that is canonical already, but not the latest block, leaves latest where it is. For op-reth see
// [Reth].
func (el *EL) ForkchoiceUpdate(ctx context.Context, state *eth.ForkchoiceState, attr *eth.PayloadAttributes) (res *eth.ForkchoiceUpdatedResult, err error) {
	defer func() { el.log.forkchoice(*state, attr, res, err) }()
	el.mu.Lock()
	defer el.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	el.settle(true)
	if state.HeadBlockHash == (common.Hash{}) {
		if el.reth {
			return nil, engine.InvalidForkChoiceState
		}
		return &eth.ForkchoiceUpdatedResult{PayloadStatus: eth.PayloadStatusV1{Status: eth.ExecutionInvalid}}, nil
	}
	if attr != nil {
		if err := el.checkAttributes(attr); err != nil {
			return nil, engine.InvalidPayloadAttributes.With(err)
		}
	}
	block, ok := el.blocks[state.HeadBlockHash]
	if !ok {
		return &eth.ForkchoiceUpdatedResult{PayloadStatus: *el.unknownHead(state.HeadBlockHash)}, nil
	}
	if el.canonical[block.Ref.Number] != block.Hash() {
		el.setCanonical(block.Hash())
	}
	if !el.reth || block.Hash() == el.head {
		if err := el.label(&el.finalized, "final", state.FinalizedBlockHash); err != nil {
			return nil, err
		}
		if err := el.label(&el.safe, "safe", state.SafeBlockHash); err != nil {
			return nil, err
		}
	}
	res = &eth.ForkchoiceUpdatedResult{PayloadStatus: *valid(block.Hash())}
	if attr != nil {
		id, err := el.build(block.Block, attr)
		if err != nil {
			return nil, engine.InvalidPayloadAttributes.With(err)
		}
		res.PayloadID = &id
	}
	return res, nil
}

// unknownHead answers a forkchoice update to a block that is not in the database: it starts a sync if the block is
// known from a payload or can be got from peers.
func (el *EL) unknownHead(hash common.Hash) *eth.PayloadStatusV1 {
	if status := el.rejected(hash, hash); status != nil {
		return status
	}
	if h, ok := el.header(hash); ok {
		el.headers.put(hash, h)
		el.startSync(h)
	} else if el.reth {
		el.startSync(header{hash: hash})
	}
	return &eth.PayloadStatusV1{Status: eth.ExecutionSyncing}
}

// label sets a label to a block that must be canonical; the zero hash leaves it alone.
func (el *EL) label(label *common.Hash, name string, hash common.Hash) error {
	if hash == (common.Hash{}) {
		return nil
	}
	block, ok := el.blocks[hash]
	if !ok {
		return engine.InvalidForkChoiceState.With(fmt.Errorf("%s block is not in the database", name))
	}
	if el.canonical[block.Ref.Number] != hash {
		return engine.InvalidForkChoiceState.With(fmt.Errorf("%s block is not canonical", name))
	}
	*label = hash
	return nil
}

func valid(hash common.Hash) *eth.PayloadStatusV1 {
	return &eth.PayloadStatusV1{Status: eth.ExecutionValid, LatestValidHash: &hash}
}

func invalid(reason error, latestValid *common.Hash) *eth.PayloadStatusV1 {
	text := reason.Error()
	return &eth.PayloadStatusV1{Status: eth.ExecutionInvalid, LatestValidHash: latestValid, ValidationError: &text}
}
