package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/version"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-service/sources"
)

// Optimism is the optimism namespace. Its exported methods are the RPC methods.
type Optimism struct {
	chain     *rollup.Config
	depSet    depset.DependencySet
	heads     heads
	outputs   outputs
	safeHeads SafeHeads
}

// Optimism is an apis.RollupNodeServer, but for one argument more.
var _ interface {
	apis.Version
	apis.RollupConfig
	apis.DependencySetConfig
	apis.RollupSyncStatus
	apis.RollupOutputServer
} = (*Optimism)(nil)

// NewOptimism returns the optimism namespace of a chain. The dependency set may be nil: there is none.
func NewOptimism(chain *rollup.Config, depSet depset.DependencySet, driver heads, engine outputs, safeHeads SafeHeads) *Optimism {
	return &Optimism{chain: chain, depSet: depSet, heads: driver, outputs: engine, safeHeads: safeHeads}
}

// SyncStatus serves optimism_syncStatus.
func (o *Optimism) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	return o.heads.SyncStatus(ctx)
}

// OutputAtBlock serves optimism_outputAtBlock.
func (o *Optimism) OutputAtBlock(ctx context.Context, number hexutil.Uint64) (*eth.OutputResponse, error) {
	block, status, err := o.heads.BlockRefWithStatus(ctx, uint64(number))
	if err != nil {
		return nil, fmt.Errorf("failed to get L2 block ref with sync status: %w", err)
	}
	output, err := o.outputs.OutputV0AtBlock(ctx, block.Hash)
	if err != nil {
		return nil, fmt.Errorf("failed to get L2 output at block %s: %w", block, err)
	}
	response := &eth.OutputResponse{BlockRef: block, Status: status, Version: output.Version(), OutputRoot: eth.OutputRoot(output)}
	response.StateRoot = common.Hash(output.StateRoot)
	response.WithdrawalStorageRoot = common.Hash(output.MessagePasserStorageRoot)
	return response, nil
}

// SafeHeadAtL1Block serves optimism_safeHeadAtL1Block. A follower of ours that asks on behalf of its client says in hops
// how many more nodes may be asked.
func (o *Optimism) SafeHeadAtL1Block(ctx context.Context, number hexutil.Uint64, hops *hexutil.Uint64) (*eth.SafeHeadResponse, error) {
	l1, head, err := o.safeHeads.SafeHeadAtL1(sources.WithHops(ctx, hops), uint64(number))
	switch {
	case errors.Is(err, safedb.ErrNotFound): // clients match on the bare text
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("failed to get safe head at l1 block %s: %w", number, err)
	}
	return &eth.SafeHeadResponse{SafeHead: head, L1Block: l1}, nil
}

// RollupConfig serves optimism_rollupConfig.
func (o *Optimism) RollupConfig(context.Context) (*rollup.Config, error) { return o.chain, nil }

// DependencySet serves optimism_dependencySet.
func (o *Optimism) DependencySet(context.Context) (depset.DependencySet, error) {
	if o.depSet == nil {
		return nil, ethereum.NotFound
	}
	return o.depSet, nil
}

// Version serves optimism_version: the version with its suffix, unlike health_status.
func (o *Optimism) Version(context.Context) (string, error) {
	return version.Version + "-" + version.Meta, nil
}
