package modelel

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Recorder is an engine that keeps a log of what its caller saw. Put in front of a [Faulty], it shows faults that the
// engine behind, which has a log of its own, never got to know.
type Recorder struct {
	inner Engine
	log   *Log
}

// NewRecorder puts an empty log, with names for blocks, in front of an engine.
func NewRecorder(inner Engine, names func(common.Hash) string) *Recorder {
	return &Recorder{inner: inner, log: newLog(names)}
}

// Log is the record of the calls.
func (r *Recorder) Log() *Log { return r.log }

// GetPayload implements [Engine].
func (r *Recorder) GetPayload(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	res, err := r.inner.GetPayload(ctx, info)
	r.log.getPayload(info, res, err)
	return res, err
}

// ForkchoiceUpdate implements [Engine].
func (r *Recorder) ForkchoiceUpdate(ctx context.Context, state *eth.ForkchoiceState, attr *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	res, err := r.inner.ForkchoiceUpdate(ctx, state, attr)
	r.log.forkchoice(*state, attr, res, err)
	return res, err
}

// NewPayload implements [Engine].
func (r *Recorder) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	res, err := r.inner.NewPayload(ctx, payload, root)
	r.log.newPayload(payload, res, err)
	return res, err
}

// L2BlockRefByLabel implements [Engine].
func (r *Recorder) L2BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L2BlockRef, error) {
	ref, err := r.inner.L2BlockRefByLabel(ctx, label)
	r.log.lookup(ByLabel, string(label), ref, err)
	return ref, err
}

// L2BlockRefByHash implements [Engine].
func (r *Recorder) L2BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L2BlockRef, error) {
	ref, err := r.inner.L2BlockRefByHash(ctx, hash)
	r.log.lookup(ByHash, r.log.names(hash), ref, err)
	return ref, err
}

// L2BlockRefByNumber implements [Engine].
func (r *Recorder) L2BlockRefByNumber(ctx context.Context, num uint64) (eth.L2BlockRef, error) {
	ref, err := r.inner.L2BlockRefByNumber(ctx, num)
	r.log.lookup(ByNumber, fmt.Sprint(num), ref, err)
	return ref, err
}
