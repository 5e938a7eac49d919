package engine

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

func requireCode(t require.TestingT, code int, err error) {
	var known rpc.Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, code, known.ErrorCode(), "%v", err)
}

// A block is built by hand: opened, sealed, committed. What does not extend the head is refused with upstream's codes.
func TestBlocksByHand(t *testing.T) {
	onBench(t, func(b *bench) {
		ctx := context.Background()
		head := b.chain.Block(5)
		attrs := b.attributes(head).Attributes
		_, err := b.c.OpenBlock(ctx, b.chain.Block(4).ID(), attrs)
		requireCode(t, apis.BuildErrCodePrestate, err)
		_, err = b.c.OpenBlock(ctx, head.ID(), nil)
		requireCode(t, apis.BuildErrCodeInvalidInput, err)

		info, err := b.c.OpenBlock(ctx, head.ID(), attrs)
		require.NoError(t, err)
		block, err := b.c.SealBlock(ctx, info)
		require.NoError(t, err)
		require.Equal(t, head.Hash(), block.ExecutionPayload.ParentHash)
		require.Equal(t, head.Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef, "a sealed block is no head yet")

		signed := &opsigner.SignedExecutionPayloadEnvelope{Envelope: block}
		require.NoError(t, b.c.CommitBlock(ctx, signed))
		require.Equal(t, block.ExecutionPayload.BlockHash, b.c.Snapshot().Heads.Unsafe.Hash)
		requireCode(t, apis.BuildErrCodePrestate, b.c.CommitBlock(ctx, signed))
		requireCode(t, apis.BuildErrCodeInvalidInput, b.c.CommitBlock(ctx, nil))

		unknown := eth.PayloadInfo{ID: eth.PayloadID{9}, Timestamp: info.Timestamp}
		_, err = b.c.SealBlock(ctx, unknown)
		requireCode(t, apis.BuildErrCodeUnknownPayload, err)
		requireCode(t, apis.BuildErrCodeUnknownPayload, b.c.CancelBlock(ctx, unknown))
		synctest.Wait()
		require.Positive(t, b.log.Log().Count(modelel.GetPayload))
	})
}
