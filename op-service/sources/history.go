package sources

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// SafeHead is a source's record of which L2 block was safe as of an L1 block.
type SafeHead struct {
	L1, L2 eth.BlockID
}

// SafeHeadAtL1 asks for the safe head as of an L1 block, with the L1 block it was recorded at. A source that does not
// take the hops gives ErrArguments.
func (c *FollowClient) SafeHeadAtL1(ctx context.Context, l1Number uint64, left Hops) (SafeHead, error) {
	return ask(ctx, c, "optimism_safeHeadAtL1Block", decodeSafeHead, left.arguments(l1Number)...)
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
	l1, err := wire.L1Block.required()
	if err != nil {
		return SafeHead{}, fmt.Errorf("l1Block: %w", err)
	}
	l2, err := wire.SafeHead.required()
	if err != nil {
		return SafeHead{}, fmt.Errorf("safeHead: %w", err)
	}
	return SafeHead{L1: l1, L2: l2}, nil
}

// RequiredL1 is a source's word on the L1 block that made the L2 block of a timestamp safe.
type RequiredL1 struct {
	// L2 is the hash of the L2 block.
	L2 common.Hash
	// L1 is the L1 block.
	L1 eth.BlockID
}

// RequiredL1 asks a source for what it knows of one chain's block at a timestamp, in seconds. found is false if the block
// is not safe there yet. A source that does not take the hops gives ErrArguments.
func (c *FollowClient) RequiredL1(ctx context.Context, timestamp uint64, chain eth.ChainID, left Hops) (required RequiredL1, found bool, err error) {
	type reply struct {
		required RequiredL1
		ok       bool
	}
	answer, err := ask(ctx, c, "superroot_atTimestamp", func(data []byte) (r reply, err error) {
		r.required, r.ok, err = decodeRequiredL1(data, chain)
		return r, err
	}, left.arguments(timestamp)...)
	return answer.required, answer.ok, err
}

func decodeRequiredL1(data []byte, chain eth.ChainID) (required RequiredL1, found bool, err error) {
	var wire *struct {
		Outputs map[string]*struct {
			Output *struct {
				Block common.Hash `json:"blockHash"`
			} `json:"output"`
			RequiredL1 *wireID `json:"required_l1"`
		} `json:"optimistic_at_timestamp"`
	}
	if err := decode(data, &wire); err != nil {
		return RequiredL1{}, false, err
	}
	if wire == nil {
		return RequiredL1{}, false, errNull
	}
	output := wire.Outputs[chain.String()]
	if output == nil {
		return RequiredL1{}, false, nil
	}
	if output.Output == nil || output.Output.Block == (common.Hash{}) {
		return RequiredL1{}, false, errors.New("output.blockHash is missing")
	}
	id, err := output.RequiredL1.required()
	if err != nil {
		return RequiredL1{}, false, fmt.Errorf("required_l1: %w", err)
	}
	return RequiredL1{L2: output.Output.Block, L1: id}, true, nil
}
