package driver

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"

	optypes "github.com/ethereum-optimism/optimism/op-core/types"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/l1chain"
)

// plainL1 is an L1 client, and a view of L1 that knows nothing yet.
type plainL1 struct {
	derive.L1Fetcher
	l1View
	branch *modelel.L1Branch
}

func (l plainL1) L1BlockRefByNumber(_ context.Context, number uint64) (eth.L1BlockRef, error) {
	return l.branch.Block(number).Ref, nil
}

func (plainL1) L1BlockRefByHash(context.Context, common.Hash) (eth.L1BlockRef, error) {
	return eth.L1BlockRef{}, ethereum.NotFound
}

func (plainL1) FetchReceipts(context.Context, common.Hash) (eth.BlockInfo, optypes.Receipts, error) {
	return nil, nil, nil
}

func (plainL1) Refs() l1chain.Refs     { return l1chain.Refs{} }
func (plainL1) Window() l1chain.Window { return l1chain.Window{} }

// When overdue blocks are made, the origin selector is asked about heads on both sides of a change of origins, in any
// order. What was offered as the next origin is at hand when it is the origin of the head, without another request.
func TestOriginsThatWereOfferedAreAtHand(t *testing.T) {
	l1 := plainL1{branch: modelel.NewChain().L1()}
	blocks := newOriginBlocks(t.Context(), l1, l1, clock.SystemClock)
	for number := uint64(1); number <= 3; number++ {
		_, err := blocks.L1BlockRefByNumber(t.Context(), number)
		require.NoError(t, err)
	}
	for _, number := range []uint64{3, 2, 3, 1} {
		want := l1.branch.Block(number).Ref
		ref, err := blocks.L1BlockRefByHash(t.Context(), want.Hash)
		require.NoError(t, err)
		require.Equal(t, want, ref)
	}
	blocks.wait()
}
