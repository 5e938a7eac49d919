package model

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/report"
)

// reset gives the engine a head and labels, as a driver does.
func reset(t *testing.T, e *engine, head, safe modelel.Block) {
	t.Helper()
	result, err := e.ForkchoiceUpdate(t.Context(), &eth.ForkchoiceState{HeadBlockHash: head.Hash(), SafeBlockHash: safe.Hash()}, nil)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, result.PayloadStatus.Status)
}

func TestVigil(t *testing.T) {
	chain := modelel.NewChain()
	e := newEngine(chain, 0)
	e.load(chain, 20, 12, 1)
	other := chain.L2().Fork("b", 14)
	for _, block := range append(other.Blocks(15, 18), chain.Block(21)) {
		_, err := e.NewPayload(t.Context(), block.Envelope.ExecutionPayload, block.Envelope.ParentBeaconBlockRoot)
		require.NoError(t, err)
	}
	target := other.Block(17)
	v := e.watch(target.Ref)

	reset(t, e, chain.Block(21), chain.Block(12))
	require.Equal(t, sightings{lowest: 12}, v.sightings(), "an own block more")
	reset(t, e, other.Block(16), chain.Block(10))
	require.Equal(t, sightings{left: 1, lowest: 10}, v.sightings(), "not yet there")
	reset(t, e, other.Block(17), other.Block(17))
	seen := v.sightings()
	require.Equal(t, sightings{labelled: seen.labelled, left: 1, lowest: 10, calls: 3}, seen)
	require.WithinDuration(t, time.Now(), seen.labelled, time.Minute)
	reset(t, e, other.Block(18), other.Block(17))
	built := v.sightings().built
	require.False(t, built.Before(seen.labelled))
	reset(t, e, chain.Block(21), chain.Block(12))
	reset(t, e, other.Block(18), other.Block(17))
	seen.built, seen.left = built, 3
	require.Equal(t, seen, v.sightings(), "what is seen first stays, and leaving counts")

	again := e.watch(chain.Block(21).Ref)
	require.Equal(t, sightings{lowest: 17}, again.sightings(), "a new vigil has seen nothing")
}

func TestUntil(t *testing.T) {
	now := time.Now()
	require.Equal(t, time.Second, until(now, now.Add(time.Second), time.Minute))
	require.Equal(t, time.Minute, until(now, time.Time{}, time.Minute))
}

// The head of a chain that is longer than the source's is left for the source's chain, below the safe label or not.
func TestDivergenceIsOne(t *testing.T) {
	for _, d := range divergences {
		t.Run(d.name, func(t *testing.T) {
			chain := scriptChain()
			p := &patient{chain: chain, peers: modelel.NewNetwork(), l1: newL1(chain, pastL1)}
			var opts []modelel.Option
			if d.fetch > 0 {
				opts = append(opts, modelel.WithNetwork(p.peers), modelel.SyncAfterCalls(1))
			}
			p.rig = &rig{engine: newEngine(chain, 0, opts...), source: new(source)}
			p.engine.load(chain, pastL2, pastL2-unsafeAtStart, 1)
			p.tip = chain.Block(pastL2 - unsafeAtStart).Ref

			p.goOn(d.depth)
			shown := p.source.status.Load().status
			require.Equal(t, max(pastL2-d.depth-4, pastL2-unsafeAtStart), shown.SafeL2.Number, "own blocks, but not all")
			require.NoError(t, p.diverge(t.Context(), d, "salt"))
			require.False(t, p.engine.canonical(p.tip))
			require.Greater(t, p.tip.Number, shown.SafeL2.Number, "the source does not go back")
			require.Equal(t, d.fetch == 0, p.engine.Has(p.tip.Hash), "the engine has the blocks unless it has to fetch them")
			p.engine.load(chain, pastL2+2*unsafeAtStart, pastL2-unsafeAtStart, 1)
			tip := p.tip
			p.goOn(d.depth)
			require.Equal(t, tip, p.source.status.Load().status.SafeL2, "the source stays until the own chain is on it")

			state := &eth.ForkchoiceState{HeadBlockHash: p.tip.Hash}
			for range 3 {
				_, err := p.engine.ForkchoiceUpdate(t.Context(), state, nil)
				require.NoError(t, err)
			}
			require.True(t, p.engine.canonical(p.tip), "the engine can come to the source's chain")
		})
	}
}

func TestFillRecoveries(t *testing.T) {
	g := report.Group{Columns: contestants}
	one := recovery{labelled: time.Second, built: 2 * time.Second, polls: 1, calls: 5, forced: 1, left: 1, converged: true}
	two := recovery{labelled: time.Minute, built: time.Minute, polls: 6, back: 7}
	fillRecoveries(&g, report.Ours, 12*time.Second, map[string][]recovery{"": {one, two}, divergences[0].name: {one}, divergences[1].name: {two}})
	for figure, want := range map[string]report.Value{
		report.RecoveryPolls:                    report.Of([]float64{1, 6}),
		"3 blocks: source to label":             report.Of([]float64{1000}),
		"3 blocks: source to next own block":    report.Of([]float64{2000}),
		"25 blocks: polls until labelled":       report.Of([]float64{6}),
		"25 blocks: blocks that safe went back": report.Of([]float64{7}),
		"3 blocks: not recovered within 12s":    report.Single(0),
		"25 blocks: not recovered within 12s":   report.Single(1),
	} {
		got, ok := g.Value(figure, report.Ours)
		require.True(t, ok, figure)
		require.Equal(t, want, got, figure)
	}
	_, ok := g.Value("25 blocks to fetch: source to label", report.Ours)
	require.False(t, ok)
}
