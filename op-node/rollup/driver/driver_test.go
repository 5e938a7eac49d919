package driver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-service/sources"
)

// in runs a story in a synctest bubble: its time is simulated, and a goroutine that outlives the follower's Close fails
// the test.
func in(t *testing.T, story func(t *testing.T)) { synctest.Test(t, story) }

func TestFollowsOneSource(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(time.Minute)
		w.requireFollowing()
		w.requireUnsafe()
		calls, polls := w.l1.Calls(), a.Count()
		w.run(10 * time.Minute)
		w.requireFollowing()
		require.Equal(t, calls, w.l1.Calls(), "in steady state following costs no L1 call")
		require.LessOrEqual(t, a.Count()-polls, 220, "some four requests for each L1 block")
		require.Equal(t, 1, a.Most())
		status, err := w.driver.SyncStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, status.LocalSafeL2, status.PendingSafeL2, "spec X2")
		require.Equal(t, w.chain.L1().Block(w.l1Head()).Ref, status.HeadL1)
		require.GreaterOrEqual(t, status.CurrentL1.Number+1, w.l1Head())
	})
}

// Number and hash of current_l1 are checked; what else a source says about that block does not count.
func TestCurrentL1IsTheOwn(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		say := a.Saying()
		a.Does(func() (follow.Status, error) {
			status, err := say()
			status.CurrentL1.Time, status.CurrentL1.ParentHash = 1, status.CurrentL1.Hash
			return status, err
		})
		w.follow(Config{}, a)
		w.run(time.Minute)
		status, err := w.driver.SyncStatus(t.Context())
		require.NoError(t, err)
		require.Positive(t, status.CurrentL1.Number)
		require.Equal(t, w.chain.L1().Block(status.CurrentL1.Number).Ref, status.CurrentL1)
	})
}

func TestStalledSource(t *testing.T) { // spec T10, T11
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(2 * time.Minute)
		say := a.Saying()
		a.Does(nil)
		before := w.labels()
		for range 60 {
			w.run(time.Second)
			w.requireUnsafe()
		}
		require.LessOrEqual(t, w.labels().Safe.Number, before.Safe.Number+6)
		ready, why := w.driver.Ready()
		require.False(t, ready)
		require.Contains(t, why, "fetch_failed")
		require.Equal(t, 1, a.Most(), "one request in flight")
		a.Does(say)
		w.run(30*time.Second + finalityAfterAGap)
		w.requireFollowing()
	})
}

func TestFailover(t *testing.T) { // spec T19
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.honest("a"), w.honest("b")
		w.follow(Config{}, a, b)
		w.run(time.Minute)
		require.Equal(t, "a", w.driver.State().Followed)
		a.Does(testutil.Down())
		// The last word of a counts for three polls, and then it is b's turn.
		w.run(12*time.Second + 12*time.Second)
		require.Equal(t, "b", w.driver.State().Followed)
		w.run(time.Minute)
		w.requireFollowing()
		require.Positive(t, w.metrics.of("a", "fetch_failed"))
	})
}

func TestQuorumWithLiar(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		fork := w.chain.L2().Fork("x", 0)
		liar := w.source("liar", nil)
		lie := func() (follow.Status, error) {
			status := w.version(fork, w.l1Head())
			status.Finalized = w.truth(w.l1Head()).Finalized // for a lie about that it would have no say at all
			return status, nil
		}
		w.follow(Config{Quorum: 2}, liar.Does(lie),
			w.honest("b"), w.honest("c"))
		w.run(5 * time.Minute)
		w.requireFollowing()
		require.Equal(t, 2, w.metrics.disagreements, "with b and with c, from the first block on")
		require.Equal(t, [][2]string{{"liar", "b"}, {"liar", "c"}}, w.driver.State().Disagreements)
		require.Empty(t, w.driver.State().Followed, "no single source is followed")
		liar.Does(w.honest("").Saying())
		w.run(30 * time.Second)
		require.Empty(t, w.driver.State().Disagreements)
		require.Equal(t, 2, w.metrics.disagreements)
	})
}

// TestNoQuorum is spec A7.
func TestNoQuorum(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.honest("a"), w.honest("b")
		w.follow(Config{Quorum: 2}, a, b)
		w.run(2 * time.Minute)
		w.requireFollowing()
		a.Does(testutil.Down())
		before := w.labels()
		w.run(time.Minute)
		require.LessOrEqual(t, w.labels().Safe.Number, before.Safe.Number+12)
		ready, why := w.driver.Ready()
		require.False(t, ready)
		require.Contains(t, why, "no_quorum")
		w.requireUnsafe()
	})
}

func TestReplayingSourceMovesNothing(t *testing.T) { // spec T24
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.honest("a")
		w.follow(Config{}, a)
		w.run(3 * time.Minute)
		old := w.truth(5)
		a.Does(func() (follow.Status, error) { return old, nil })
		w.run(time.Minute)
		require.Positive(t, w.metrics.of("a", "behind"))
		a.Does(w.honest("").Saying())
		w.run(30*time.Second + finalityAfterAGap)
		w.requireFollowing()
	})
}

// TestRefusedSources is spec D1, D3.
func TestRefusedSources(t *testing.T) {
	for reason, prepare := range map[string]func(f *testutil.Source, w *world){
		"cycle": func(f *testutil.Source, w *world) {
			f.OnLineage = func() (sources.Lineage, error) {
				return sources.Lineage{ID: "b", Path: []string{"b", "c", w.driver.id}}, nil
			}
		},
		"wrong_chain": func(f *testutil.Source, w *world) {
			f.OnIdentity = func() (sources.Identity, error) { return sources.Identity{L2ChainID: eth.ChainIDFromUInt64(7)}, nil }
		},
		"malformed": func(f *testutil.Source, _ *world) {
			f.Does(func() (follow.Status, error) { return follow.Status{}, fmt.Errorf("%w: html", sources.ErrMalformed) })
		},
		"incomplete": func(f *testutil.Source, _ *world) {
			f.Does(func() (follow.Status, error) { return follow.Status{}, nil })
		},
		"l1_mismatch": func(f *testutil.Source, w *world) {
			f.Does(func() (follow.Status, error) {
				s := w.truth(w.l1Head())
				s.CurrentL1.Hash[0] ^= 1
				return s, nil
			})
		},
		"l1_behind": func(f *testutil.Source, w *world) {
			f.Does(func() (follow.Status, error) { return w.truth(w.l1Head() + 3), nil })
		},
	} {
		t.Run(reason, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				f := w.honest("f")
				prepare(f, w)
				w.follow(Config{}, f)
				w.run(time.Minute)
				require.Positive(t, w.metrics.of("f", reason))
				require.Zero(t, w.metrics.of("f", "accepted"))
				require.Zero(t, w.labels().Safe.Number)
				w.requireUnsafe()
				ready, why := w.driver.Ready()
				require.False(t, ready)
				require.Contains(t, why, reason)
				require.NotEmpty(t, w.driver.State().Sources[0].Advice)
			})
		})
	}
}

// TestWhatASourceDoesNotTell: only the status is required.
func TestWhatASourceDoesNotTell(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.honest("f")
		refuse := fmt.Errorf("%w: error -32001: rpc method is not whitelisted", sources.ErrFetch)
		f.OnIdentity = func() (sources.Identity, error) { return sources.Identity{}, refuse }
		f.OnLineage = func() (sources.Lineage, error) { return sources.Lineage{}, refuse }
		w.follow(Config{}, f)
		w.run(time.Minute)
		w.requireFollowing()
	})
}

func TestStatePath(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.honest("f")
		f.OnLineage = func() (sources.Lineage, error) { return sources.Lineage{ID: "up", Path: []string{"up", "top"}}, nil }
		w.follow(Config{}, f)
		w.run(time.Minute)
		s := w.driver.State()
		require.Equal(t, []string{s.ID, "up", "top"}, s.Path)
		require.Equal(t, "f", s.Followed)
		require.True(t, s.Ready)
		require.Equal(t, "following", s.Phase)
		require.Equal(t, "accepted", s.Sources[0].Reason)
		require.NotEmpty(t, s.Applied.CurrentL1.Hash)
	})
}

func TestSourcesOfOneNameAreToldApart(t *testing.T) {
	source := func(name string) Source { return testutil.NewSource(name, nil, nil) }
	require.Equal(t, []string{"a", "b", "a#3"}, uniqueNames([]Source{source("a"), source("b"), source("a")}))
}

// TestFinalizedConflict: where the only source contradicts what is final here, labels are frozen and the node is not
// ready; where another source carries them, it goes on.
func TestFinalizedConflict(t *testing.T) {
	for name, others := range map[string]int{"alone": 0, "beside another": 1} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.honest("a")
				list := []Source{a}
				if others > 0 {
					list = append(list, w.honest("b"))
				}
				w.follow(Config{}, list...)
				w.run(3 * time.Minute)
				fork := w.chain.L2().Fork("x", 0)
				// The source shows another block of the number that is final here.
				held := w.labels().Finalized.Number
				a.Does(func() (follow.Status, error) {
					s := w.version(fork, w.l1Head())
					s.Finalized = fork.Block(held).Ref
					return s, nil
				})
				w.run(time.Minute)
				require.Positive(t, w.metrics.of("a", "finalized_conflict"))
				w.requireUnsafe()
				if others > 0 {
					w.requireFollowing()
					require.Equal(t, "b", w.driver.State().Followed)
					return
				}
				ready, why := w.driver.Ready()
				require.False(t, ready)
				require.Contains(t, why, "finalized_conflict")
			})
		})
	}
}
