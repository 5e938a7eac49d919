package testutil_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// The client answers as the engine does.
func TestClient(t *testing.T) {
	chain, ctx := modelel.NewChain(), t.Context()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 5)...)
	el.SetLabels(chain.Block(3).Hash(), chain.Block(1).Hash())
	client := testutil.NewClient(chain.RollupConfig(), el, el)

	for label, number := range map[eth.BlockLabel]uint64{eth.Unsafe: 5, eth.Safe: 3, eth.Finalized: 1} {
		ref, err := client.L2BlockRefByLabel(ctx, label)
		require.NoError(t, err)
		require.Equal(t, chain.Block(number).Ref, ref)
	}
	for number := range uint64(6) {
		block := chain.Block(number)
		ref, err := client.L2BlockRefByNumber(ctx, number)
		require.NoError(t, err)
		require.Equal(t, block.Ref, ref)
		envelope, err := client.PayloadByHash(ctx, block.Hash())
		require.NoError(t, err)
		actual, ok := envelope.CheckBlockHash()
		require.True(t, ok)
		require.Equal(t, block.Hash(), actual)
	}
	_, err := client.L2BlockRefByNumber(ctx, 6)
	require.ErrorIs(t, err, ethereum.NotFound)
	_, err = client.L2BlockRefByHash(ctx, chain.Block(6).Hash())
	require.ErrorIs(t, err, ethereum.NotFound)
	config, err := client.SystemConfigByL2Hash(ctx, chain.Block(2).Hash())
	require.NoError(t, err)
	require.Equal(t, chain.RollupConfig().Genesis.SystemConfig.BatcherAddr, config.BatcherAddr)

	next := chain.Block(6)
	status, err := client.NewPayload(ctx, next.Envelope.ExecutionPayload, next.Envelope.ParentBeaconBlockRoot)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, status.Status)
	result, err := client.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: next.Hash()}, nil)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, result.PayloadStatus.Status)
	require.Equal(t, next.Ref, el.Heads().Latest)
}

// As in production, a block that was seen once is found by its hash for ever, and by number only while it is there.
func TestClientKeepsWhatTheEngineLost(t *testing.T) {
	chain, ctx := modelel.NewChain(), t.Context()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 5)...)
	client := testutil.NewClient(chain.RollupConfig(), el, el)
	_, err := client.L2BlockRefByNumber(ctx, 5)
	require.NoError(t, err)
	el.Rewind(3)

	ref, err := client.L2BlockRefByHash(ctx, chain.Block(5).Hash())
	require.NoError(t, err)
	require.Equal(t, chain.Block(5).Ref, ref)
	_, err = client.L2BlockRefByNumber(ctx, 5)
	require.ErrorIs(t, err, ethereum.NotFound)
	_, err = client.L2BlockRefByHash(ctx, chain.Block(4).Hash())
	require.ErrorIs(t, err, ethereum.NotFound, "never seen")
}

// Faults lie between client and engine, where the wire is.
func TestClientMeetsFaults(t *testing.T) {
	chain, ctx := modelel.NewChain(), t.Context()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 5)...)
	line := modelel.NewFaulty(el)
	client := testutil.NewClient(chain.RollupConfig(), line, el)

	line.Always(modelel.Drop())
	_, err := client.PayloadByHash(ctx, chain.Block(2).Hash())
	require.ErrorIs(t, err, modelel.ErrDropped)
	_, err = client.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: chain.Block(2).Hash()}, nil)
	require.ErrorIs(t, err, modelel.ErrDropped)

	line.Always(modelel.EmptyAnswer())
	_, err = client.L2BlockRefByNumber(ctx, 2)
	require.ErrorContains(t, err, "post-merge block header")
	require.NotErrorIs(t, err, ethereum.NotFound)

	line.Always(modelel.NilAnswer())
	result, err := client.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: chain.Block(2).Hash()}, nil)
	require.NoError(t, err)
	require.Equal(t, new(eth.ForkchoiceUpdatedResult), result)
}
