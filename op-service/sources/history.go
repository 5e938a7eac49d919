package sources

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// SafeHead is a source's record of which L2 block was safe as of an L1 block.
type SafeHead struct {
	L1, L2 eth.BlockID
}

// SafeHeadAtL1 asks for the safe head as of an L1 block, with the L1 block it was recorded at.
func (c *FollowClient) SafeHeadAtL1(ctx context.Context, l1Number uint64) (SafeHead, error) {
	return ask(ctx, c, "optimism_safeHeadAtL1Block", decodeSafeHead, hexutil.Uint64(l1Number))
}

func decodeSafeHead(data []byte) (SafeHead, error) {
	var wire *struct {
		L1Block  *wireID `json:"l1Block"`
		SafeHead *wireID `json:"safeHead"`
	}
	if err := decode(data, &wire); err != nil {
		return SafeHead{}, err
	}
	if wire == nil {
		return SafeHead{}, errNull
	}
	l1, l1Err := wire.L1Block.required()
	l2, l2Err := wire.SafeHead.required()
	return SafeHead{L1: l1, L2: l2}, errors.Join(l1Err, l2Err)
}

// RequiredL1 is a source's word on the L1 block that made the L2 block of a timestamp safe.
type RequiredL1 struct {
	// OutputRoot is the output root of the L2 block.
	OutputRoot eth.Bytes32
	// L1 is the L1 block.
	L1 eth.BlockID
}

// RequiredL1 asks a source for what it knows of one chain's block at a timestamp, in seconds. found is false if the block
// is not safe there yet.
func (c *FollowClient) RequiredL1(ctx context.Context, timestamp uint64, chain eth.ChainID) (required RequiredL1, found bool, err error) {
	answer, err := ask(ctx, c, "superroot_atTimestamp", decodeSuperRoot, hexutil.Uint64(timestamp))
	if err != nil {
		return RequiredL1{}, false, err
	}
	output, found := answer.OptimisticAtTimestamp[chain]
	return RequiredL1{OutputRoot: output.OutputRoot, L1: output.RequiredL1}, found, nil
}

func decodeSuperRoot(data []byte) (eth.SuperRootAtTimestampResponse, error) {
	var answer *eth.SuperRootAtTimestampResponse
	if err := decode(data, &answer); err != nil {
		return eth.SuperRootAtTimestampResponse{}, err
	}
	if answer == nil {
		return eth.SuperRootAtTimestampResponse{}, errNull
	}
	return *answer, nil
}
