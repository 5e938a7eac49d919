package model

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/lag"
	"github.com/lightcl/op-node/ops/bench/meter"
)

// engine is a model execution engine whose calls are counted and take a given time, and that notes when its labels move.
type engine struct {
	*modelel.EL
	meter.Counter
	latency time.Duration

	unsafe, safe, finalized lag.History

	// vigil looks on while there is one.
	vigil atomic.Pointer[vigil]
}

func newEngine(chain *modelel.Chain, latency time.Duration, opts ...modelel.Option) *engine {
	return &engine{EL: chain.NewEL(opts...), latency: latency}
}

// load gives the engine the chain up to a block, and labels.
func (e *engine) load(chain *modelel.Chain, latest, safe, finalized uint64) {
	e.Load(chain.L2().Blocks(1, latest)...)
	e.SetLabels(chain.Block(safe).Hash(), chain.Block(finalized).Hash())
	e.note()
}

func (e *engine) call(name string) {
	e.Add(name)
	if e.latency > 0 {
		time.Sleep(e.latency)
	}
}

func (e *engine) note() {
	heads, now := e.Heads(), time.Now()
	e.unsafe.Show(heads.Latest.Number, now)
	e.safe.Show(heads.Safe.Number, now)
	e.finalized.Show(heads.Finalized.Number, now)
	if v := e.vigil.Load(); v != nil {
		v.look(e, heads, now)
	}
}

// canonical tells whether a block is on the engine's chain.
func (e *engine) canonical(ref eth.L2BlockRef) bool {
	have, err := e.EL.L2BlockRefByNumber(context.Background(), ref.Number)
	return err == nil && have == ref
}

// ForkchoiceUpdate counts and passes on, as do all methods below.
func (e *engine) ForkchoiceUpdate(ctx context.Context, state *eth.ForkchoiceState, attr *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	e.call("forkchoiceUpdated")
	result, err := e.EL.ForkchoiceUpdate(ctx, state, attr)
	e.note()
	return result, err
}

func (e *engine) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	e.call("newPayload")
	return e.EL.NewPayload(ctx, payload, root)
}

func (e *engine) GetPayload(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	e.call("getPayload")
	return e.EL.GetPayload(ctx, info)
}

func (e *engine) SystemConfigByL2Hash(ctx context.Context, hash common.Hash) (eth.SystemConfig, error) {
	e.call("getBlockByHash")
	return e.EL.SystemConfigByL2Hash(ctx, hash)
}

func (e *engine) L2BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L2BlockRef, error) {
	e.call("getBlockByNumber:" + string(label))
	return e.EL.L2BlockRefByLabel(ctx, label)
}

func (e *engine) L2BlockRefByNumber(ctx context.Context, number uint64) (eth.L2BlockRef, error) {
	e.call("getBlockByNumber")
	return e.EL.L2BlockRefByNumber(ctx, number)
}

func (e *engine) L2BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L2BlockRef, error) {
	e.call("getBlockByHash")
	return e.EL.L2BlockRefByHash(ctx, hash)
}

func (e *engine) PayloadByHash(ctx context.Context, hash common.Hash) (*eth.ExecutionPayloadEnvelope, error) {
	e.call("getBlockByHash")
	return e.EL.PayloadByHash(ctx, hash)
}

func (e *engine) PayloadByNumber(ctx context.Context, number uint64) (*eth.ExecutionPayloadEnvelope, error) {
	e.call("getBlockByNumber")
	return e.EL.PayloadByNumber(ctx, number)
}

func (e *engine) PayloadByLabel(ctx context.Context, label eth.BlockLabel) (*eth.ExecutionPayloadEnvelope, error) {
	e.call("getBlockByNumber:" + string(label))
	return e.EL.PayloadByLabel(ctx, label)
}
