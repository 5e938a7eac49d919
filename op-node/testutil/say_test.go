package testutil_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/sources"
)

// said is what a source says at the present time: local-safe, safe, finalized and current L1 by name.
func said(t *testing.T, chain *modelel.Chain, say testutil.Say) [4]string {
	t.Helper()
	status, err := say()
	require.NoError(t, err)
	name := func(id eth.BlockID) string { return chain.Name(id.Hash) }
	return [4]string{name(status.LocalSafe.ID()), name(status.Safe.ID()), name(status.Finalized.ID()), name(status.CurrentL1.ID())}
}

func TestSayings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := modelel.NewChain()
		l1 := testutil.NewL1Endpoint(chain, 12*time.Second)
		d := testutil.Derivation{L1: chain.L1(), L2: chain.L2(), PerL1: 6, BatchDelay: 2, Finality: 4}
		time.Sleep(120 * time.Second)
		honest := testutil.Honest(d, l1.Head)
		at := [4]string{"48", "48", "24", "L10"}
		require.Equal(t, at, said(t, chain, honest))

		frozen := testutil.Frozen(honest)
		require.Equal(t, at, said(t, chain, frozen))
		cached := testutil.Cached(10*time.Second, honest)
		require.Equal(t, at, said(t, chain, cached))
		restarting := testutil.Restarting(d, 8, time.Second, l1.Head)
		rewound := testutil.Rewound(d, 8, time.Second, l1.Head)
		supernode := testutil.Supernode(d, l1.Head, 30, time.Minute)
		equivocating := testutil.InTurn(honest, testutil.Honest(d, testutil.Behind(5, l1.Head)))
		switched := testutil.Then(honest, time.Now().Add(6*time.Second), testutil.Down())

		require.Equal(t, [4]string{"48", "48", "24", "L2"}, said(t, chain, restarting), "heads are kept")
		require.Equal(t, [4]string{"0", "0", "0", "L2"}, said(t, chain, rewound))
		require.Equal(t, [4]string{"48", "18", "-", "L10"}, said(t, chain, supernode))
		require.Equal(t, at, said(t, chain, equivocating))
		require.Equal(t, [4]string{"18", "18", "0", "L5"}, said(t, chain, equivocating))
		require.Equal(t, at, said(t, chain, equivocating))
		require.Equal(t, [4]string{"48", "48", "48", "L10"}, said(t, chain, testutil.EarlyFinality(honest)))
		require.Equal(t, [4]string{"-", "30", "6", "L10"}, said(t, chain, testutil.Kona(d, testutil.Behind(3, l1.Head), l1.Head)))
		require.Equal(t, at, said(t, chain, switched))

		time.Sleep(6 * time.Second)
		require.Equal(t, at, said(t, chain, cached))
		require.Equal(t, [4]string{"36", "36", "12", "L8"}, said(t, chain, rewound))
		_, err := switched()
		require.ErrorIs(t, err, sources.ErrFetch)

		time.Sleep(time.Minute)
		later := [4]string{"78", "78", "54", "L15"}
		require.Equal(t, later, said(t, chain, honest))
		require.Equal(t, at, said(t, chain, frozen))
		require.Equal(t, later, said(t, chain, cached))
		require.Equal(t, later, said(t, chain, restarting))
		require.Equal(t, later, said(t, chain, rewound))
		require.Equal(t, [4]string{"78", "48", "48", "L15"}, said(t, chain, supernode))

		begin := time.Now()
		status, err := testutil.Slow(3*time.Second, testutil.FalseTimes(-100, honest))()
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.Equal(t, d.L1.Block(15).Ref.Time-100, status.CurrentL1.Time)
	})
}

// A source that was told nothing stalls, and its client gives up.
func TestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := testutil.NewSource("a", modelel.NewChain().RollupConfig(), nil)
		_, err := source.Status(t.Context())
		require.ErrorIs(t, err, sources.ErrFetch)
		_, err = source.Does(testutil.Always(follow.Status{})).Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, source.Count())
		require.Equal(t, 1, source.Most())
		_, err = source.Lineage(t.Context())
		require.ErrorIs(t, err, sources.ErrMethodMissing)
	})
}

func TestGossip(t *testing.T) {
	chain := modelel.NewChain()
	arrives := func(gossip testutil.Gossip) (names []string) {
		for number := uint64(1); number <= 6; number++ {
			names = append(names, "|")
			for _, b := range gossip(number) {
				names = append(names, chain.Name(b.Hash()))
			}
		}
		return names
	}
	on := testutil.OnTime(chain.L2())
	require.Equal(t, []string{"|", "1", "|", "2", "|", "3", "|", "4", "|", "5", "|", "6"}, arrives(on))
	require.Equal(t, []string{"|", "|", "|", "1", "|", "2", "|", "3", "|", "4"}, arrives(testutil.Late(2, on)))
	require.Equal(t, []string{"|", "|", "2", "1", "|", "|", "4", "3", "|", "|", "6", "5"}, arrives(testutil.OutOfOrder(on)))
	fork := testutil.OnTime(chain.L2().Fork("b", 0))
	require.Equal(t, []string{"|", "1", "1b", "|", "2", "2b", "|", "3", "3b", "|", "4", "4b", "|", "5", "5b", "|", "6", "6b"},
		arrives(testutil.Together(on, fork)))
	require.Equal(t, []string{"|", "|", "|", "|", "|", "|"}, arrives(testutil.Silence()))
	lossy := func() []string { return arrives(testutil.Missing(2, rand.New(rand.NewPCG(7, 0)), on)) }
	require.Equal(t, lossy(), lossy(), "one seed gives one history")
	require.Less(t, len(lossy()), 12)
}

// Backends behind a balancer answer in turn; an absurd endpoint says what it likes.
func TestL1Endpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain, ctx := modelel.NewChain(), t.Context()
		l1 := testutil.NewL1Endpoint(chain, 12*time.Second)
		time.Sleep(240 * time.Second)
		head := func() string {
			ref, err := l1.L1BlockRefByLabel(ctx, eth.Unsafe)
			require.NoError(t, err)
			return chain.Name(ref.Hash)
		}
		require.Equal(t, "L20", head())
		fork := chain.L1().Fork("r", 18)
		l1.Set(func(s *testutil.L1State) {
			s.Backends = []testutil.L1Backend{{Branch: chain.L1(), Behind: 1}, {Branch: fork}}
		})
		require.Equal(t, []string{"L19", "L20r", "L19"}, []string{head(), head(), head()})
		l1.Set(func(s *testutil.L1State) { s.Backends, s.Branch, s.Final = nil, fork, 3 })
		final, err := l1.L1BlockRefByLabel(ctx, eth.Finalized)
		require.NoError(t, err)
		require.Equal(t, "L17", chain.Name(final.Hash))
		require.True(t, l1.Has(fork.Block(19).ID()))
		require.False(t, l1.Has(chain.L1().Block(19).ID()))
		l1.Set(func(s *testutil.L1State) {
			s.Absurd = func(ref eth.L1BlockRef) eth.L1BlockRef { ref.Number *= 1000; return ref }
		})
		absurd, err := l1.L1BlockRefByLabel(ctx, eth.Unsafe)
		require.NoError(t, err)
		require.EqualValues(t, 20_000, absurd.Number)

		calls := l1.Calls()
		begin := time.Now()
		l1.Set(func(s *testutil.L1State) { s.Stalled = true })
		_, err = l1.L1BlockRefByNumber(ctx, 3)
		require.Error(t, err)
		require.Less(t, time.Since(begin), 10*time.Second)
		require.Equal(t, calls, l1.Calls())
		l1.Set(func(s *testutil.L1State) { s.Stalled, s.Down = false, true })
		_, err = l1.Fetch(ctx, []uint64{1})
		require.ErrorIs(t, err, modelel.ErrDropped)
		view := testutil.L1{Branch: fork, Head: 19}
		require.Equal(t, []follow.L1Answer{follow.L1Canonical, follow.L1Mismatch, follow.L1Behind, follow.L1Unavailable},
			[]follow.L1Answer{view.Canonical(fork.Block(19).ID()), view.Canonical(chain.L1().Block(19).ID()),
				view.Canonical(fork.Block(20).ID()), view.Canonical(eth.BlockID{})})
	})
}
