package driver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
)

// The source revoked its local-safe head, and a replica behind the same name still says what was before. spec V5.
func TestAStatusFromBeforeARevocation(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(5 * time.Minute)
		before := w.truth(w.l1Head())
		branch := w.chain.L2().Fork("b", before.LocalSafe.Number-6)
		for _, b := range branch.Blocks(before.LocalSafe.Number-5, before.LocalSafe.Number-2) {
			_, err := w.el.NewPayload(t.Context(), b.Envelope.ExecutionPayload, b.Envelope.ParentBeaconBlockRoot)
			require.NoError(t, err)
		}
		tip := branch.Block(before.LocalSafe.Number - 2).Ref
		a.Does(func() (follow.Status, error) {
			return follow.Status{LocalSafe: tip, Safe: tip, Finalized: before.Finalized, CurrentL1: w.chain.L1().Block(w.l1Head()).Ref}, nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, tip, w.labels().LocalSafe.L2BlockRef, "the revocation is followed")
		a.Does(func() (follow.Status, error) { return before, nil })
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, tip, w.labels().LocalSafe.L2BlockRef, "and not taken back")
		}
	})
}

// A source calls everything final at once. spec V8.
func TestFinalityThatL1DoesNotHaveYet(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		a.Does(func() (follow.Status, error) {
			status := w.truth(w.l1Head())
			status.Finalized = status.Safe
			return status, nil
		})
		w.follow(Config{}, a)
		for range 300 {
			time.Sleep(time.Second)
			synctest.Wait()
			require.LessOrEqual(t, w.labels().Finalized.Number, w.truth(w.l1Head()).Finalized.Number, "ahead of the own L1 finality")
		}
		require.Positive(t, w.labels().Finalized.Number)
	})
}

// A source that repeats itself for ever is not fresh (spec X1), and is again once it progresses.
func TestAFrozenSourceIsNotFresh(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(5 * time.Minute)
		w.requireFollowing()
		frozen := w.truth(w.l1Head())
		a.Does(func() (follow.Status, error) { return frozen, nil })
		w.run(5 * time.Minute)
		ready, why := w.driver.Ready()
		require.False(t, ready, "labels have stood still for five minutes")
		require.Contains(t, why, "source_behind")
		ready, why = w.driver.UnsafeReady()
		require.True(t, ready, why)
		a.Does(w.honest("").Saying())
		w.run(5 * time.Second)
		ready, why = w.driver.Ready()
		require.True(t, ready, why)
	})
}

// Of two other sources the one in front contradicts what is applied, and the next agrees with it. The one that agrees is
// followed when the followed one is gone.
func TestFailoverToASourceThatAgrees(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, c := w.honest("a"), w.honest("c")
		fork := w.chain.L2().Fork("x", 60)
		b := w.source("b", nil)
		b.Does(func() (follow.Status, error) {
			status := w.version(fork, w.l1Head())
			status.Finalized = eth.L2BlockRef{}
			return status, nil
		})
		w.follow(Config{}, a, b, c)
		w.run(5 * time.Minute)
		a.Does(testutil.Down())
		w.run(time.Minute) // no label on the fork
		require.Equal(t, "c", w.driver.State().Followed)
		w.requireFollowing()
	})
}

// spec R10: a bogus status teaches nothing. One that is a million blocks ahead comes in between once per L1 block, and the
// honest ones are followed all the same.
func TestABogusStatusTeachesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(5 * time.Minute)
		bogus := uint64(0)
		a.Does(func() (follow.Status, error) {
			l1 := w.l1Head()
			status := w.truth(l1)
			if l1 == bogus {
				return status, nil
			}
			bogus = l1
			status.LocalSafe.Number += 1_000_000
			status.LocalSafe.Time += 2_000_000
			status.LocalSafe.Hash[0] ^= 1
			return status, nil
		})
		w.run(5 * time.Minute)
		require.Zero(t, w.metrics.of("a", "regressed"))
		w.requireFollowing()
	})
}

// A load balancer alternates between the truth and answers that are 20 s old: the labels keep following, and the verdicts
// are one condition in the log.
func TestABalancerWithAStaleReplica(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		turn := false
		a.Does(func() (follow.Status, error) {
			l1 := w.l1Head()
			if turn = !turn; turn {
				l1 -= min(l1, 2)
			}
			return w.truth(l1), nil
		})
		w.follow(Config{}, a)
		w.run(5 * time.Minute)
		for range 60 {
			w.run(5 * time.Second)
			w.requireFollowing()
		}
		require.Zero(t, w.metrics.of("a", "regressed"))
		require.Positive(t, w.metrics.of("a", "behind"))
	})
}

// A source that freezes loses its place to one that moves, even if that one contradicts it (spec A1, A2).
func TestAFrozenSourceLosesItsPlace(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.honest("a"), w.honest("b")
		w.follow(Config{}, a, b)
		w.run(5 * time.Minute)
		require.Equal(t, "a", w.driver.State().Followed)
		frozen := w.truth(w.l1Head())
		a.Does(func() (follow.Status, error) { return frozen, nil })
		w.run(defaultMaxLag + 30*time.Second + finalityAfterAGap)
		require.Equal(t, "b", w.driver.State().Followed)
		w.requireFollowing()
	})
}

// spec V9: what a source says of the time of its current L1 block ranks nobody, and the labels go on with the one in front.
func TestALieAboutL1Times(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.honest("a"), w.honest("b")
		b.Does(func() (follow.Status, error) {
			status := w.truth(w.l1Head())
			status.CurrentL1.Time = 1 << 62
			return status, nil
		})
		w.follow(Config{}, a, b)
		w.run(5 * time.Minute)
		require.Equal(t, "a", w.driver.State().Followed)
		w.requireFollowing()
	})
}
