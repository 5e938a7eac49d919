package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-service/sources"
)

// Superroot is the superroot namespace for a chain outside of an interop set: a super root of one chain.
type Superroot struct {
	chain     *rollup.Config
	heads     heads
	outputs   outputs
	safeHeads SafeHeads
}

// NewSuperroot returns the superroot namespace of a chain.
func NewSuperroot(chain *rollup.Config, driver heads, engine outputs, safeHeads SafeHeads) *Superroot {
	return &Superroot{chain: chain, heads: driver, outputs: engine, safeHeads: safeHeads}
}

// AtTimestamp serves superroot_atTimestamp. A block that is not local-safe yet is left out of the answer, without an error.
// A follower of ours that asks on behalf of its client says in hops how many more nodes may be asked.
func (s *Superroot) AtTimestamp(ctx context.Context, timestamp hexutil.Uint64, hops *hexutil.Uint64) (eth.SuperRootAtTimestampResponse, error) {
	ctx = sources.WithHops(ctx, hops)
	var none eth.SuperRootAtTimestampResponse
	number, err := s.chain.TargetBlockNumber(uint64(timestamp))
	if err != nil {
		return none, fmt.Errorf("target block number for timestamp %d: %w", uint64(timestamp), err)
	}
	block, status, err := s.heads.BlockRefWithStatus(ctx, number)
	missing := errors.Is(err, ethereum.NotFound) && status != nil
	if err != nil && !missing {
		return none, fmt.Errorf("blockRefWithStatus@%d: %w", number, err)
	}
	id := eth.ChainIDFromBig(s.chain.L2ChainID)
	answer := eth.SuperRootAtTimestampResponse{
		ChainIDs:                  []eth.ChainID{id},
		OptimisticAtTimestamp:     make(map[eth.ChainID]eth.OutputWithRequiredL1),
		CurrentL1:                 status.CurrentL1.ID(),
		CurrentFinalizedTimestamp: status.FinalizedL2.Time,
		CurrentSafeTimestamp:      status.SafeL2.Time,
		CurrentLocalSafeTimestamp: status.LocalSafeL2.Time,
	}
	if missing || number > status.LocalSafeL2.Number {
		return answer, nil
	}
	output, err := s.outputs.OutputV0AtBlock(ctx, block.Hash)
	if err != nil {
		return none, fmt.Errorf("outputV0AtBlock@%s: %w", block, err)
	}
	requiredL1, err := s.requiredL1(ctx, block)
	if err != nil {
		return none, fmt.Errorf("l1AtSafeHead@%s: %w", block, err)
	}
	root := eth.OutputRoot(output)
	super := eth.NewSuperV1(uint64(timestamp), eth.ChainIDAndOutput{ChainID: id, Output: root})
	answer.OptimisticAtTimestamp[id] = eth.OutputWithRequiredL1{Output: output, OutputRoot: root, RequiredL1: requiredL1}
	answer.Data = &eth.SuperRootResponseData{Super: super, SuperRoot: eth.SuperRoot(super), VerifiedRequiredL1: requiredL1}
	return answer, nil
}

// requiredL1 returns the L1 block that made an L2 block safe. The genesis needs none: L1 contracts may be older than its L1 origin.
func (s *Superroot) requiredL1(ctx context.Context, block eth.L2BlockRef) (eth.BlockID, error) {
	if block.ID() == s.chain.Genesis.L2 {
		return eth.BlockID{}, nil
	}
	l1, _, err := s.safeHeads.L1AtSafeHead(ctx, block.Number)
	return l1, err
}
