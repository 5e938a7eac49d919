package l1chain

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// hear passes answers on and returns the head after them.
func (r *rig) hear(refs ...eth.L1BlockRef) eth.L1BlockRef {
	var head eth.L1BlockRef
	for _, ref := range refs {
		head = r.OnHead(context.Background(), ref).Head
		r.HeadAsked()
		r.clock.advance(12 * time.Second)
	}
	return head
}

// A head far above the view's own (spec C5) is believed once a second answer links to it, and until then costs nothing.
func TestHeadFarAbove(t *testing.T) {
	a := newChain('a', 100)
	absurd := eth.L1BlockRef{Hash: hashOf('z', 9), Number: 1 << 60, ParentHash: hashOf('z', 8)}
	start := func() *rig {
		r := newRig(t, Config{Window: 15}, a)
		r.follow(a, 10, 20)
		return r
	}
	t.Run("absurd, once", func(t *testing.T) {
		r := start()
		require.Equal(t, a[20], r.hear(absurd))
		require.Equal(t, a[22], r.hear(a[21], a[22]), "the heads below are followed")
		require.Equal(t, canonical, r.Judge(context.Background(), a.id(15))[a.id(15)])
	})
	t.Run("absurd, again and again", func(t *testing.T) {
		r := start()
		require.Equal(t, a[20], r.hear(absurd, absurd, absurd, absurd))
		require.Equal(t, a[22], r.hear(a[21], absurd, a[22], absurd))
	})
	t.Run("absurd, ever another one", func(t *testing.T) {
		r := start()
		for i := range uint64(10) {
			require.Equal(t, a[20], r.hear(eth.L1BlockRef{Hash: hashOf('z', i), Number: 1<<60 + i, ParentHash: hashOf('y', i)}))
		}
		require.Equal(t, a[21], r.hear(a[21]))
	})
	t.Run("a real one", func(t *testing.T) {
		r := start()
		require.Equal(t, a[20], r.hear(a[40], a[40], a[40]))
		require.Equal(t, a[41], r.hear(a[41]))
		require.Empty(t, r.l1.taken(), "it names the other one")
		require.Equal(t, 1, r.Window().Len())
	})
	t.Run("a real one, and heads missed", func(t *testing.T) {
		r := start()
		require.Equal(t, a[45], r.hear(a[40], a[45]))
		require.Equal(t, [][]uint64{{40, 45}}, r.l1.taken())
	})
	t.Run("of another fork than the finalized block", func(t *testing.T) {
		r := start()
		require.True(t, r.OnFinalized(context.Background(), a[12]))
		b := a.fork(11, 'b', 100)
		r.l1.serve(b)
		require.Equal(t, a[20], r.hear(b[40], b[41], b[42]))
		require.Equal(t, 1, r.logged("Cannot follow the L1 head, holding the last one"))
		r.l1.serve(a)
		require.Equal(t, a[43], r.hear(a[42], a[43]))
	})
}

// The view goes back to lower heads when several answers in a row agree on them (spec C5), as after an absurd head that was
// the first one.
func TestLowerHeads(t *testing.T) {
	a, z := newChain('a', 200), newChain('z', 200)
	b := a.fork(12, 'b', 100)
	fork := func() *rig {
		r := newRig(t, Config{}, a)
		r.follow(a, 10, 20)
		r.l1.serve(b)
		return r
	}
	t.Run("the same one", func(t *testing.T) {
		r := fork()
		require.Equal(t, a[20], r.hear(b[15], b[15]))
		change := r.OnHead(context.Background(), b[15])
		require.Equal(t, Change{Head: b[15], Moved: true, Reorged: true, Ancestor: a.id(12), Depth: 8}, change)
	})
	t.Run("growing", func(t *testing.T) {
		r := fork()
		require.Equal(t, a[20], r.hear(b[15], b[16]))
		require.Equal(t, b[18], r.hear(b[18]))
		require.Equal(t, mismatch, r.Window().Canonical(a.id(14)))
	})
	t.Run("that agree, but not in a row", func(t *testing.T) {
		r := fork()
		require.Equal(t, a[20], r.hear(b[15], b[16], a[20], b[17], b[18], a[19], b[19]))
	})
	t.Run("that do not agree", func(t *testing.T) {
		r := fork()
		c := a.fork(13, 'c', 100)
		require.Equal(t, a[20], r.hear(b[15], c[15], b[15], c[16], b[17], c[18]))
	})
	t.Run("and not to still lower ones at once", func(t *testing.T) {
		r := fork()
		require.Equal(t, b[18], r.hear(b[18], b[18], b[18]))
		r.follow(b, 30, 30)
		require.Equal(t, b[30], r.hear(a[14]))
		r = newRig(t, Config{}, b)
		require.Equal(t, b[18], r.hear(a[19], b[18], b[18], b[18]))
		require.Equal(t, b[18], r.hear(b[16]), "a backend that lags")
	})
	t.Run("after an absurd first head", func(t *testing.T) {
		r := newRig(t, Config{}, a)
		absurd := eth.L1BlockRef{Hash: hashOf('z', 9), Number: 1 << 60, ParentHash: hashOf('z', 8)}
		require.Equal(t, absurd, r.hear(absurd))
		require.Equal(t, absurd, r.hear(a[20], a[20]))
		change := r.OnHead(context.Background(), a[21])
		require.Equal(t, Change{Head: a[21], Moved: true, Reorged: true, Depth: 1}, change)
		require.Equal(t, a[22], r.hear(a[22]))
	})
	t.Run("below finality, never", func(t *testing.T) {
		r := fork()
		require.True(t, r.OnFinalized(context.Background(), a[13]))
		require.Equal(t, a[20], r.hear(b[15], b[15], b[15], b[16], b[17]))
		r.l1.serve(z)
		require.Equal(t, a[20], r.hear(z[5], z[6], z[7], z[8]))
		require.Equal(t, a[21], r.hear(a[21]))
	})
	t.Run("L1 is asked again soon, but not for ever", func(t *testing.T) {
		r := fork()
		var waits []time.Duration
		for range 3 {
			r.OnHead(context.Background(), b[15])
			r.HeadAsked()
			waits = append(waits, r.dueIn()/time.Millisecond)
			r.clock.advance(time.Second)
		}
		require.Equal(t, []time.Duration{250, 500, -1 / time.Millisecond}, waits)

		r = fork()
		calls := 0
		for i := uint64(0); r.dueIn() >= 0 || i == 0; i++ {
			r.OnHead(context.Background(), newChain('c'+byte(i), 15)[15])
			r.HeadAsked()
			r.clock.advance(max(r.dueIn(), 0))
			calls++
		}
		require.Equal(t, 1+maxDoubts, calls)
	})
}

// Backends of two networks behind one endpoint (spec C5): the wrong one is never believed, whichever answers first.
func TestTwoNetworks(t *testing.T) {
	ctx := context.Background()
	mainnet, testnet := newChain('m', 300), newChain('t', 300)
	cfg := Config{Window: 30, Anchor: mainnet.id(50)}
	for name, heads := range map[string][2]uint64{"a lower testnet": {250, 100}, "a higher one": {150, 250}, "level": {150, 151}} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []bool{true, false} {
				r := newRig(t, cfg, mainnet)
				if first {
					r.l1.serve(testnet)
					require.Zero(t, r.hear(testnet[heads[1]], testnet[heads[1]+1], testnet[heads[1]+2]))
					r.l1.rotate(mainnet, testnet)
				}
				for i := range uint64(20) {
					r.l1.rotate(mainnet, testnet)
					require.Equal(t, mainnet[heads[0]+i], r.hear(mainnet[heads[0]+i]), "%d", i)
					r.l1.rotate(testnet, mainnet)
					require.Equal(t, mainnet[heads[0]+i], r.hear(testnet[heads[1]+i]))
					r.OnFinalized(ctx, testnet[heads[1]-40])
					require.Zero(t, r.Refs().Finalized)
					for _, number := range []uint64{60 + i, heads[0] - 5, heads[0] - 35} {
						r.clock.advance(time.Second)
						facts := r.Judge(ctx, mainnet.id(number), testnet.id(number))
						require.NotEqual(t, mismatch, facts[mainnet.id(number)])
						require.NotEqual(t, canonical, facts[testnet.id(number)])
					}
				}
				r.l1.serve(testnet)
				require.Equal(t, mainnet[heads[0]+19], r.hear(testnet[100], testnet[101], testnet[102], testnet[103]))
				r.l1.serve(mainnet)
				require.True(t, r.OnFinalized(ctx, mainnet[heads[0]-40]))
				require.Equal(t, canonical, r.Judge(ctx, mainnet.id(55))[mainnet.id(55)])
			}
		})
	}
	t.Run("L1 does not keep the anchor", func(t *testing.T) {
		r := newRig(t, cfg, append(make(chain, 60), mainnet[60:]...))
		require.Equal(t, mainnet[100], r.hear(mainnet[100]))
	})
	t.Run("L1 refuses to tell the anchor", func(t *testing.T) {
		r := newRig(t, cfg, mainnet)
		r.l1.pruned = 60
		require.Equal(t, mainnet[100], r.hear(mainnet[100]))
		r.l1.pruned = 120
		require.True(t, r.OnFinalized(context.Background(), mainnet[100]))
		require.Equal(t, mainnet[100], r.hear(mainnet[150], mainnet[151]), "nor the finalized block")
		r.l1.pruned = 60
		require.Equal(t, mainnet[152], r.hear(mainnet[152]))
	})
	t.Run("L1 has not even reached the anchor", func(t *testing.T) {
		r := newRig(t, cfg, mainnet)
		require.Zero(t, r.hear(mainnet[49]))
	})
}

// What a backend on another fork answers for a block below the window is not believed, and what one said that is right again
// is (spec C6).
func TestLookUpsOnAnotherFork(t *testing.T) {
	ctx := context.Background()
	a := newChain('a', 200)
	b := a.fork(70, 'b', 200)
	for name, c := range map[string]struct {
		cfg       Config
		finalized uint64
		number    uint64
	}{
		"above finality, out of reach": {Config{Window: 25}, 0, 80}, "below finality": {Config{}, 90, 80}, "one at a time": {Config{MaxBatch: 1}, 90, 80},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.cfg, a)
			r.follow(a, 100, 120)
			if c.finalized > 0 {
				require.True(t, r.OnFinalized(ctx, a[c.finalized]))
			}
			r.l1.serve(b)
			require.Equal(t, notAsked, r.Judge(ctx, a.id(c.number))[a.id(c.number)])
			r.clock.advance(time.Second)
			r.l1.serve(a)
			require.Equal(t, canonical, r.Judge(ctx, a.id(c.number))[a.id(c.number)])
			require.Equal(t, mismatch, r.Judge(ctx, b.id(c.number))[b.id(c.number)])
		})
	}
	t.Run("one answer pieced together from two backends", func(t *testing.T) {
		r := newRig(t, Config{}, a)
		r.follow(a, 100, 120)
		require.True(t, r.OnFinalized(ctx, a[90]))
		r.l1.serve(append(append(chain{}, b[:95]...), a[95:]...))
		require.Equal(t, mismatch, r.Judge(ctx, a.id(80))[a.id(80)])
		r.l1.serve(a)
		r.l1.taken()
		require.Equal(t, mismatch, r.Judge(ctx, a.id(80))[a.id(80)])
		require.Empty(t, r.l1.taken(), "not asked again during one head")
		r.hear(a[121])
		require.Equal(t, canonical, r.Judge(ctx, a.id(80))[a.id(80)])
	})
	t.Run("a reorg makes void what was not final", func(t *testing.T) {
		r := newRig(t, Config{Window: 25}, a)
		r.follow(a, 100, 120)
		require.Equal(t, canonical, r.Judge(ctx, a.id(80))[a.id(80)])
		c := a.fork(105, 'c', 200)
		r.l1.serve(c)
		require.Equal(t, c[121], r.hear(c[121]))
		r.l1.taken()
		require.Equal(t, canonical, r.Judge(ctx, a.id(80))[a.id(80)])
		require.Len(t, r.l1.taken(), 1)
	})
}

// A finalized block counts when it is on the chain of the window; L1 is asked for that if the window does not reach it.
func TestFinalizedBelowTheWindow(t *testing.T) {
	ctx := context.Background()
	a := newChain('a', 200)
	b := a.fork(70, 'b', 200)
	r := newRig(t, Config{}, a)
	require.False(t, r.OnFinalized(ctx, a[80]), "no head yet")
	r.hear(a[120])
	require.True(t, woken(r.FinalityWanted()), "asked for with the first one")
	r.l1.serve(b)
	require.False(t, r.OnFinalized(ctx, b[80]))
	r.l1.down()
	require.False(t, r.OnFinalized(ctx, a[80]))
	r.l1.serve(a)
	require.False(t, r.OnFinalized(ctx, b[80]))
	require.True(t, r.OnFinalized(ctx, a[80]))
	r.l1.taken()
	require.False(t, r.OnFinalized(ctx, a[80]))
	require.False(t, r.OnFinalized(ctx, a[79]))
	require.Empty(t, r.l1.taken())
	require.Equal(t, follow.L1Facts{a.id(80): canonical, b.id(80): mismatch}, r.Judge(ctx, a.id(80), b.id(80)))
}
