package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// spec S5: the engine loses blocks that nobody can give it. Building waits for two block times, and then goes on from what it
// has; below the local-safe head it waits until that is back.
func TestBuildingOnWhatIsLeft(t *testing.T) {
	for kept, builds := range map[uint64]bool{4: true, 3: true, 2: false} {
		onBench(t, func(b *bench) {
			b.el.Rewind(kept)
			_, err := b.build(b.chain.Block(5))
			require.Error(t, err)
			require.NotErrorIs(t, err, upstream.ErrStaleBuild, "it passes by itself")
			time.Sleep(3900 * time.Millisecond)
			synctest.Wait()
			require.Equal(t, b.chain.Block(5).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
			_, err = b.build(b.chain.Block(5))
			require.NotErrorIs(t, err, upstream.ErrStaleBuild)
			b.settle()
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			require.Equal(t, b.chain.Block(kept).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
			names := b.heard.take()
			require.Contains(t, names, "diverged")
			_, err = b.build(b.chain.Block(kept))
			require.Equal(t, builds, err == nil, "%v", err)
			if !builds {
				require.ErrorIs(t, err, upstream.ErrStaleBuild)
				b.settle()
				require.NoError(t, b.c.Insert(b.chain.Block(3).Envelope))
				synctest.Wait()
				_, err = b.build(b.chain.Block(3))
				require.NoError(t, err, "L1 has it again")
			}
		})
	}
}

// spec F6: among targets that all have to be fetched a newer one waits for two polls; one that the engine has does not.
func TestPendingTargetsGiveWay(t *testing.T) {
	onBench(t, func(b *bench) {
		one, two, three := b.chain.L2().Fork("b", 3), b.chain.L2().Fork("c", 3), b.chain.L2().Fork("d", 3)
		b.source(one.Block(5))
		b.source(two.Block(5))
		require.Equal(t, one.Block(5).Ref, b.c.Snapshot().Pending)
		time.Sleep(8 * time.Second)
		b.source(two.Block(5))
		require.Equal(t, two.Block(5).Ref, b.c.Snapshot().Pending)
		b.give(three.Block(4))
		b.give(three.Block(5))
		b.source(three.Block(5))
		require.Equal(t, three.Block(5).Ref, b.c.Snapshot().Heads.LocalSafe.L2BlockRef)
		require.Zero(t, b.c.Snapshot().Pending)
	})
}

// spec F5: the engine is asked again within two seconds, however seldom sources are.
func TestBackoffsOfTheEngine(t *testing.T) {
	onBench(t, func(b *bench) {
		b.c.cfg.PollPeriod = time.Minute // nobody reads it now
		b.el.Line.Always(modelel.Drop())
		require.NoError(t, b.c.Insert(b.chain.Block(6).Envelope))
		time.Sleep(5 * time.Minute)
		b.el.Line.Heal()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, b.chain.Block(6).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef, "an error")

		other := b.chain.L2().Fork("b", 3).Block(4)
		b.source(other)
		time.Sleep(5 * time.Minute)
		b.give(other)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, other.Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef, "a target")
	})
}

// spec S1: a target that nobody has for 30 s is said to be unresolved, whatever other targets that nobody has come in its place.
func TestUnresolved(t *testing.T) {
	onBench(t, func(b *bench) {
		one, two := b.chain.L2().Fork("b", 3), b.chain.L2().Fork("c", 3)
		for second := range 31 {
			require.Equal(t, second > 30, b.c.Snapshot().Outcome.Reason == follow.ReorgUnresolved, "second %d", second)
			if b.source(one.Block(4)); second/10%2 == 1 {
				b.source(two.Block(5))
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(2 * time.Second) // a probe
		synctest.Wait()
		require.Equal(t, follow.ReorgUnresolved, b.c.Snapshot().Outcome.Reason)
		b.source(b.chain.Block(4))
		require.Equal(t, follow.None, b.c.Snapshot().Outcome.Reason)
		b.source(one.Block(5))
		require.Equal(t, follow.EngineSyncing, b.c.Snapshot().Outcome.Reason, "that was the last one")
	})
}
