package stack

import (
	"context"

	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"
	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// version is what the devnet's in-process nodes call themselves.
const version = "devnet"

// safeHeads answers which L2 block was safe after an L1 block.
type safeHeads interface {
	SafeHeadAtL1(ctx context.Context, l1Number uint64) (l1, l2 eth.BlockID, err error)
}

// rollupAPI serves the optimism namespace of an in-process node.
type rollupAPI struct {
	cfg    *rollup.Config
	driver *driver.Driver
	engine *sources.EngineClient
	safe   safeHeads
}

var _ apis.RollupNodeServer = (*rollupAPI)(nil)

// Version answers optimism_version.
func (a *rollupAPI) Version(context.Context) (string, error) { return version, nil }

// RollupConfig answers optimism_rollupConfig.
func (a *rollupAPI) RollupConfig(context.Context) (*rollup.Config, error) { return a.cfg, nil }

// DependencySet answers optimism_dependencySet; this chain depends on no other.
func (a *rollupAPI) DependencySet(context.Context) (depset.DependencySet, error) {
	return nil, ethereum.NotFound
}

// SyncStatus answers optimism_syncStatus.
func (a *rollupAPI) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	return a.driver.SyncStatus(ctx)
}

// SafeHeadAtL1Block answers optimism_safeHeadAtL1Block.
func (a *rollupAPI) SafeHeadAtL1Block(ctx context.Context, number hexutil.Uint64) (*eth.SafeHeadResponse, error) {
	l1, l2, err := a.safe.SafeHeadAtL1(ctx, uint64(number))
	if err != nil {
		return nil, err
	}
	return &eth.SafeHeadResponse{L1Block: l1, SafeHead: l2}, nil
}

// OutputAtBlock answers optimism_outputAtBlock.
func (a *rollupAPI) OutputAtBlock(ctx context.Context, number hexutil.Uint64) (*eth.OutputResponse, error) {
	ref, status, err := a.driver.BlockRefWithStatus(ctx, uint64(number))
	if err != nil {
		return nil, err
	}
	output, err := a.engine.OutputV0AtBlock(ctx, ref.Hash)
	if err != nil {
		return nil, err
	}
	answer := &eth.OutputResponse{BlockRef: ref, Status: status}
	answer.Version, answer.OutputRoot = output.Version(), eth.OutputRoot(output)
	answer.StateRoot = common.Hash(output.StateRoot)
	answer.WithdrawalStorageRoot = common.Hash(output.MessagePasserStorageRoot)
	return answer, nil
}
