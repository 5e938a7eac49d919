// Package api holds the JSON-RPC namespaces of the node: optimism, admin, superroot and opstack. Method names, results and error
// texts are upstream's; other programs match on them.
package api

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// heads is what reading methods need of the rollup driver.
type heads interface {
	SyncStatus(ctx context.Context) (*eth.SyncStatus, error)
	BlockRefWithStatus(ctx context.Context, number uint64) (eth.L2BlockRef, *eth.SyncStatus, error)
}

// control is what the admin namespace needs of the rollup driver.
type control interface {
	OnUnsafeL2Payload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope)
	ResetDerivationPipeline(ctx context.Context) error
	StartSequencer(ctx context.Context, head common.Hash) error
	StopSequencer(ctx context.Context) (common.Hash, error)
	SequencerActive(ctx context.Context) (bool, error)
	OverrideLeader(ctx context.Context) error
	ConductorEnabled(ctx context.Context) (bool, error)
	SetRecoverMode(ctx context.Context, recover bool) error
}

// outputs computes output roots from the execution layer.
type outputs interface {
	OutputV0AtBlock(ctx context.Context, blockHash common.Hash) (*eth.OutputV0, error)
}

// SafeHeads tells which L2 block was safe at which L1 block. Without a record it answers with an error.
type SafeHeads interface {
	// SafeHeadAtL1 returns the safe head as of an L1 block, with the L1 block it was recorded at.
	SafeHeadAtL1(ctx context.Context, l1Number uint64) (l1, safeHead eth.BlockID, err error)
	// L1AtSafeHead returns the earliest L1 block at which the safe head had reached an L2 block.
	L1AtSafeHead(ctx context.Context, l2Number uint64) (l1, safeHead eth.BlockID, err error)
}
