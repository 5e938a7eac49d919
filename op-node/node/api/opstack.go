package api

import (
	"context"

	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
)

// builder builds blocks one step at a time.
type builder interface {
	apis.BuildAPI
	apis.CommitAPI
}

// Opstack is the experimental opstack namespace, with which a test sequencer builds blocks by hand.
type Opstack struct {
	builder   builder
	publisher apis.PublishAPI
}

// NewOpstack returns the opstack namespace.
func NewOpstack(builder builder, publisher apis.PublishAPI) *Opstack {
	return &Opstack{builder: builder, publisher: publisher}
}

// OpenBlockV1 serves opstack_openBlockV1.
func (o *Opstack) OpenBlockV1(ctx context.Context, parent eth.BlockID, attributes *eth.PayloadAttributes) (eth.PayloadInfo, error) {
	return o.builder.OpenBlock(ctx, parent, attributes)
}

// CancelBlockV1 serves opstack_cancelBlockV1.
func (o *Opstack) CancelBlockV1(ctx context.Context, payload eth.PayloadInfo) error {
	return o.builder.CancelBlock(ctx, payload)
}

// SealBlockV1 serves opstack_sealBlockV1.
func (o *Opstack) SealBlockV1(ctx context.Context, payload eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	return o.builder.SealBlock(ctx, payload)
}

// CommitBlockV1 serves opstack_commitBlockV1.
func (o *Opstack) CommitBlockV1(ctx context.Context, signed *opsigner.SignedExecutionPayloadEnvelope) error {
	return o.builder.CommitBlock(ctx, signed)
}

// PublishBlockV1 serves opstack_publishBlockV1.
func (o *Opstack) PublishBlockV1(ctx context.Context, signed *opsigner.SignedExecutionPayloadEnvelope) error {
	return o.publisher.PublishBlock(ctx, signed)
}
