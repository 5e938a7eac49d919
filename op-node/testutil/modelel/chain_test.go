package modelel_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

func TestChainIsAValidRollup(t *testing.T) {
	chain := modelel.NewChain()
	cfg := chain.RollupConfig()
	require.NoError(t, cfg.Check())
	require.Equal(t, chain.Genesis().ID(), cfg.Genesis.L2)
	require.Equal(t, chain.L1().Block(0).ID(), cfg.Genesis.L1)

	parent := chain.Genesis()
	for _, b := range chain.L2().Blocks(1, 40) {
		actual, ok := b.Envelope.CheckBlockHash()
		require.True(t, ok, "hash of %d is %s", b.Ref.Number, actual)
		ref, err := derive.PayloadToBlockRef(cfg, b.Envelope.ExecutionPayload)
		require.NoError(t, err)
		require.Equal(t, b.Ref, ref)
		_, err = derive.PayloadToSystemConfig(cfg, b.Envelope.ExecutionPayload)
		require.NoError(t, err)

		require.Equal(t, parent.Ref.Hash, ref.ParentHash)
		require.Equal(t, cfg.TimestampForBlock(ref.Number), ref.Time)
		origin := chain.L1().Block(ref.L1Origin.Number)
		require.Equal(t, origin.ID(), ref.L1Origin)
		require.LessOrEqual(t, origin.Ref.Time, ref.Time)
		switch ref.L1Origin.Number - parent.Ref.L1Origin.Number {
		case 0:
			require.Equal(t, parent.Ref.L1Origin, ref.L1Origin)
			require.Equal(t, parent.Ref.SequenceNumber+1, ref.SequenceNumber)
		case 1:
			require.Zero(t, ref.SequenceNumber)
			require.Equal(t, parent.Ref.L1Origin.Hash, origin.Ref.ParentHash)
		default:
			t.Fatalf("origin of %d skips L1 blocks", ref.Number)
		}
		parent = b
	}
	require.EqualValues(t, 6, parent.Ref.L1Origin.Number, "L2 block 40 is 80 s old, and L1 blocks come every 12 s")
}

func TestChainsMadeAlikeAreEqual(t *testing.T) {
	make := func() (*modelel.Chain, *modelel.Branch) {
		chain := modelel.NewChain(modelel.GenesisTime(1000), modelel.BlockTimes(4, 1))
		return chain, chain.L2().ForkOn(chain.L1().Fork("x", 2), "b", 9)
	}
	one, oneFork := make()
	two, twoFork := make()
	twoFork.Block(30) // the order in which blocks are made must not matter
	require.Equal(t, one.Block(20), two.Block(20))
	require.Equal(t, oneFork.Block(20), twoFork.Block(20))
	require.Equal(t, one.RollupConfig(), two.RollupConfig())
	require.NotEqual(t, one.Genesis().Hash(), modelel.NewChain().Genesis().Hash(), "other options make another chain")
}

func TestForks(t *testing.T) {
	chain := modelel.NewChain(modelel.BlockTimes(4, 1))
	main := chain.L2()
	b := main.Fork("b", 3)
	c := b.Fork("c", 5)
	l1x := chain.L1().Fork("x", 1)
	d := main.ForkOn(l1x, "d", 7)

	require.Equal(t, main.Block(3), b.Block(3))
	require.NotEqual(t, main.Block(4).Hash(), b.Block(4).Hash())
	require.Equal(t, main.Block(3).Hash(), b.Block(4).Ref.ParentHash)
	require.Equal(t, main.Block(4).Ref.L1Origin, b.Block(4).Ref.L1Origin)
	require.Equal(t, b.Block(5), c.Block(5))
	require.Equal(t, b.Block(5).Hash(), c.Block(6).Ref.ParentHash)
	require.NotEqual(t, b.Block(6).Hash(), c.Block(6).Hash())

	require.Equal(t, chain.L1().Block(1), l1x.Block(1))
	require.Equal(t, []modelel.L1Block{l1x.Block(1), l1x.Block(2)}, l1x.Blocks(1, 2))
	require.NotEqual(t, chain.L1().Block(2).ID(), l1x.Block(2).ID())
	require.Equal(t, l1x.Block(2).ID(), d.Block(8).Ref.L1Origin)
	require.Equal(t, chain.L1().Block(2).ID(), main.Block(8).Ref.L1Origin)
	require.Equal(t, main, chain.L2())
	require.Same(t, l1x, d.L1())
	require.Equal(t, "d", d.Name())
	require.Equal(t, "x", l1x.Name())

	require.Panics(t, func() { main.Fork("b", 9) }, "a name in use")
	require.Panics(t, func() { main.Fork("b2", 9) }, "a name that ends like a number")
	require.NotPanics(t, func() { chain.L1().Fork("b", 9) }, "L1 and L2 forks have names of their own")
}

func TestExtend(t *testing.T) {
	chain := modelel.NewChain()
	l1 := chain.L1()
	blocks := chain.Extend(chain.Block(4), "odd", l1.Block(0), l1.Block(1), l1.Block(1))
	require.Len(t, blocks, 3)
	require.Equal(t, chain.Block(4).Hash(), blocks[0].Ref.ParentHash)
	require.EqualValues(t, 5, blocks[0].Ref.SequenceNumber)
	require.Equal(t, l1.Block(1).ID(), blocks[1].Ref.L1Origin)
	require.EqualValues(t, 0, blocks[1].Ref.SequenceNumber)
	require.EqualValues(t, 1, blocks[2].Ref.SequenceNumber)
	require.NotEqual(t, chain.Block(5).Hash(), blocks[0].Hash(), "the salt counts")

	el := chain.NewEL()
	el.Load(append(chain.L2().Blocks(1, 4), blocks...)...)
	require.Equal(t, blocks[2].Ref, el.Heads().Latest)
}

func TestNames(t *testing.T) {
	chain := world()
	chain.L1().Fork("x", 4)
	for _, name := range []string{"0", "3", "15", "4b", "123b"} {
		b, err := chain.Find(name)
		require.NoError(t, err)
		require.Equal(t, name, chain.Name(b.Hash()))
	}
	for _, name := range []string{"L0", "L7", "L5x"} {
		b, err := chain.FindL1(name)
		require.NoError(t, err)
		require.Equal(t, name, chain.Name(b.Ref.Hash))
	}
	require.Equal(t, "-", chain.Name(common.Hash{}))
	require.Equal(t, "?", chain.Name(unknown))
	require.Contains(t, chain.Name(common.HexToHash("0xbeef")), "beef")
	b, err := chain.Find("2b")
	require.NoError(t, err)
	require.Equal(t, "2", chain.Name(b.Hash()), "shared blocks have one name")

	for _, name := range []string{"", "b", "5z", "L5", "5.", "-1"} {
		_, err := chain.Find(name)
		require.Error(t, err, name)
	}
	for _, name := range []string{"", "L", "5", "L5z"} {
		_, err := chain.FindL1(name)
		require.Error(t, err, name)
	}
}

func TestPayloadLookups(t *testing.T) {
	ctx := context.Background()
	chain := world()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 4)...)
	el.SetLabels(chain.Block(3).Hash(), chain.Block(2).Hash())
	byLabel, err := el.PayloadByLabel(ctx, eth.Safe)
	require.NoError(t, err)
	require.Equal(t, chain.Block(3).Envelope, byLabel)
	byNumber, err := el.PayloadByNumber(ctx, 4)
	require.NoError(t, err)
	require.Equal(t, chain.Block(4).Envelope, byNumber)
	byHash, err := el.PayloadByHash(ctx, chain.Block(1).Hash())
	require.NoError(t, err)
	require.Equal(t, chain.Block(1).Envelope, byHash)
	sysCfg, err := el.SystemConfigByL2Hash(ctx, chain.Block(1).Hash())
	require.NoError(t, err)
	require.Equal(t, chain.RollupConfig().Genesis.SystemConfig.BatcherAddr, sysCfg.BatcherAddr)
	require.Equal(t, chain.RollupConfig().Genesis.SystemConfig.GasLimit, sysCfg.GasLimit)
	require.Zero(t, el.Log().Count(), "these are not engine calls")
}
