package testutil

import (
	"context"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// Payloads are the whole blocks of an execution layer; [modelel.EL] has them.
type Payloads interface {
	PayloadByHash(ctx context.Context, hash common.Hash) (*eth.ExecutionPayloadEnvelope, error)
}

// NewClient is the client that the program puts in front of its execution layer: upstream's EngineClient with the
// program's settings, which answers look-ups by hash from its caches, so that a block which the engine lost is still
// found. Calls that it does make reach the engine in memory, without JSON; decorators such as [modelel.Faulty] belong
// between the two, where the wire is. An answer that names no block, as of [modelel.EmptyAnswer], is to the client an
// object without fields. The payloads are those of the same engine.
func NewClient(cfg *rollup.Config, engine modelel.Engine, payloads Payloads) *sources.EngineClient {
	quiet := log.NewLogger(log.DiscardHandler())
	client, err := sources.NewEngineClient(&wire{engine, payloads}, quiet, nil, sources.EngineClientDefaultConfig(cfg))
	if err != nil {
		panic(fmt.Sprintf("testutil: engine client: %v", err)) // the settings are constants
	}
	return client
}

// wire carries the calls of upstream's client to an engine.
type wire struct {
	engine   modelel.Engine
	payloads Payloads
}

// CallContext implements client.RPC.
func (w *wire) CallContext(ctx context.Context, result any, method string, args ...any) error {
	switch out := result.(type) {
	case *eth.ForkchoiceUpdatedResult:
		answer, err := w.engine.ForkchoiceUpdate(ctx, args[0].(*eth.ForkchoiceState), args[1].(*eth.PayloadAttributes))
		return hand(out, answer, err)
	case *eth.PayloadStatusV1:
		answer, err := w.engine.NewPayload(ctx, args[0].(*eth.ExecutionPayload), args[2].(*common.Hash))
		return hand(out, answer, err)
	case *eth.ExecutionPayloadEnvelope:
		answer, err := w.engine.GetPayload(ctx, eth.PayloadInfo{ID: args[0].(eth.PayloadID)})
		return hand(out, answer, err)
	case **sources.RPCBlock:
		ref, err := w.lookUp(ctx, args[0])
		if err != nil {
			return err
		}
		*out, err = w.block(ctx, ref)
		return err
	default:
		return fmt.Errorf("testutil: %s is not modelled", method)
	}
}

// hand gives the client an answer; nil is JSON's null, which leaves the result as it is.
func hand[T any](out *T, answer *T, err error) error {
	if answer != nil {
		*out = *answer
	}
	return err
}

func (w *wire) lookUp(ctx context.Context, by any) (eth.L2BlockRef, error) {
	switch by := by.(type) {
	case common.Hash:
		return w.engine.L2BlockRefByHash(ctx, by)
	case string:
		if !strings.HasPrefix(by, "0x") {
			return w.engine.L2BlockRefByLabel(ctx, eth.BlockLabel(by))
		}
		number, err := hexutil.DecodeUint64(by)
		if err != nil {
			return eth.L2BlockRef{}, err
		}
		return w.engine.L2BlockRefByNumber(ctx, number)
	default:
		return eth.L2BlockRef{}, fmt.Errorf("testutil: a look-up by %T is not modelled", by)
	}
}

// block is the block with a reference as eth_getBlockBy… serves it.
func (w *wire) block(ctx context.Context, ref eth.L2BlockRef) (*sources.RPCBlock, error) {
	if ref == (eth.L2BlockRef{}) {
		return new(sources.RPCBlock), nil
	}
	envelope, err := w.payloads.PayloadByHash(ctx, ref.Hash)
	if err != nil {
		return nil, err
	}
	p := envelope.ExecutionPayload
	block := &sources.RPCBlock{
		RPCHeader: sources.RPCHeader{
			ParentHash: p.ParentHash, UncleHash: types.EmptyUncleHash, Coinbase: p.FeeRecipient, Root: common.Hash(p.StateRoot),
			ReceiptHash: common.Hash(p.ReceiptsRoot), Bloom: p.LogsBloom, Number: p.BlockNumber, GasLimit: p.GasLimit,
			GasUsed: p.GasUsed, Time: p.Timestamp, Extra: hexutil.Bytes(p.ExtraData), MixDigest: common.Hash(p.PrevRandao),
			BaseFee: (*hexutil.Big)((*uint256.Int)(&p.BaseFeePerGas).ToBig()), WithdrawalsRoot: p.WithdrawalsRoot,
			BlobGasUsed: p.BlobGasUsed, ExcessBlobGas: p.ExcessBlobGas, ParentBeaconRoot: envelope.ParentBeaconBlockRoot,
			Hash: p.BlockHash,
		},
		Withdrawals: p.Withdrawals,
	}
	for _, tx := range p.Transactions {
		block.Transactions = append(block.Transactions, sources.RawTransaction(tx))
	}
	return block, nil
}

// BatchCallContext implements client.RPC. Nothing that a driver asks of an engine is asked in a batch.
func (*wire) BatchCallContext(context.Context, []rpc.BatchElem) error {
	return fmt.Errorf("testutil: batches are not modelled")
}

// Subscribe implements client.RPC.
func (*wire) Subscribe(context.Context, string, any, ...any) (ethereum.Subscription, error) {
	return nil, rpc.ErrNotificationsUnsupported
}

// Close implements client.RPC.
func (*wire) Close() {}
