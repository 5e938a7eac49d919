package driver

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-service/sources"
)

// follows is what a source says that follows others.
func follows(id string, path ...string) func() (sources.Lineage, error) {
	return func() (sources.Lineage, error) { return sources.Lineage{ID: id, Path: path}, nil }
}

var errMissing = fmt.Errorf("%w: %w", sources.ErrFetch, sources.ErrMethodMissing)

// One wrong answer about the chain condemns nobody: the source is asked again, and is followed once it fits (spec D4).
func TestOneWrongIdentity(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.honest("f")
		asked := 0
		f.OnIdentity = func() (sources.Identity, error) {
			if asked++; asked == 1 {
				return sources.Identity{L2ChainID: eth.ChainIDFromUInt64(7)}, nil
			}
			return sources.IdentityOf(w.chain.RollupConfig()), nil
		}
		w.follow(Config{}, f)
		w.run(time.Minute)
		require.Positive(t, w.metrics.of("f", "wrong_chain"))
		w.requireFollowing()
		require.Equal(t, 2, asked, "a source that fits is not asked again")
	})
}

// A path that is refused says nothing about cycles, so its source is refused too (spec D2).
func TestRefusedPath(t *testing.T) {
	many := make([]string, sources.MaxPath)
	for i := range many {
		many[i] = fmt.Sprint("node", i)
	}
	for name, lineage := range map[string]func() (sources.Lineage, error){
		"malformed": func() (sources.Lineage, error) {
			return sources.Lineage{}, fmt.Errorf("%w: a path of 1000 nodes", sources.ErrMalformed)
		},
		"no room for the own id": follows("x", many...),
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				f := w.honest("f")
				f.OnLineage = lineage
				w.follow(Config{}, f)
				w.run(time.Minute)
				require.Positive(t, w.metrics.of("f", "malformed"))
				require.Zero(t, w.metrics.of("f", "accepted"))
				require.Equal(t, []string{w.driver.id}, w.driver.State().Path)
				f.OnLineage = follows("x")
				w.run(30 * time.Second)
				w.requireFollowing()
			})
		})
	}
}

// With a quorum the paths of several sources count, and none can crowd out another: each has the same room.
func TestPathsOfAQuorum(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, greedy := w.honest("a"), w.honest("b"), w.honest("greedy")
		a.OnLineage, b.OnLineage = follows("a", "a", "top"), follows("b", "b", "top")
		many := make([]string, sources.MaxPath/2)
		for i := range many {
			many[i] = fmt.Sprint("node", i)
		}
		greedy.OnLineage = follows("g", many...)
		w.follow(Config{Quorum: 2}, greedy, a, b)
		w.run(time.Minute)
		require.Equal(t, []string{w.driver.id, "a", "top", "b"}, w.driver.State().Path)
		require.Positive(t, w.metrics.of("greedy", "malformed"))
		w.requireFollowing()
	})
}

// A standby that shows another node's public id does not make that node refuse us: only sources count that the labels
// rest on. The path of a source that died or is refused counts no more (spec D2).
func TestPathIsOfAcceptedSources(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		a, standby := w.honest("a"), w.honest("standby")
		a.OnLineage, standby.OnLineage = follows("a", "a", "top"), follows("s", "s", "victim")
		w.follow(Config{}, a, standby)
		w.run(time.Minute)
		require.Equal(t, []string{w.driver.id, "a", "top"}, w.driver.State().Path)
		a.Does(testutil.Down())
		w.run(time.Minute)
		require.Equal(t, []string{w.driver.id, "s", "victim"}, w.driver.State().Path, "now it is followed")
		standby.Does(testutil.Down())
		w.run(time.Minute)
		require.Equal(t, []string{w.driver.id}, w.driver.State().Path, "a dead source's path is stale")
	})
}

// A balancer that alternates between a node of ours that follows this one and a node of another kind is a cycle all the
// time, and none any more some time after the cycle is gone (spec D3, D4).
func TestBalancerOfNodeKinds(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.honest("f")
		var asked atomic.Int64
		var mended atomic.Bool
		f.OnLineage = func() (sources.Lineage, error) {
			if asked.Add(1)%2 == 1 && !mended.Load() {
				return sources.Lineage{ID: "b", Path: []string{"b", w.driver.id}}, nil
			}
			return sources.Lineage{}, errMissing
		}
		w.follow(Config{}, f)
		w.run(5 * time.Minute)
		require.Positive(t, w.metrics.of("f", "cycle"))
		require.Zero(t, w.metrics.of("f", "accepted"))
		mended.Store(true)
		w.run(lineageMemory + time.Minute)
		w.requireFollowing()
	})
}

// What a balancer's node of our kind said of its path counts also while another kind answers.
func TestBalancerDoesNotClearThePath(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.honest("f")
		var asked atomic.Int64
		f.OnLineage = func() (sources.Lineage, error) {
			if asked.Add(1) == 2 {
				return sources.Lineage{}, errMissing
			}
			return sources.Lineage{ID: "b", Path: []string{"b", "top"}}, nil
		}
		w.follow(Config{}, f)
		for range 90 {
			w.run(time.Second)
			if asked.Load() > 0 && w.driver.State().Sources[0].Reason == "accepted" {
				require.Equal(t, []string{w.driver.id, "b", "top"}, w.driver.State().Path)
			}
		}
		require.GreaterOrEqual(t, asked.Load(), int64(2))
	})
}

func TestPathHasEachIDOnce(t *testing.T) {
	accepted := func(id string, path ...string) candidate {
		return candidate{judged: true, lineage: sources.Lineage{ID: id, Path: path}}
	}
	list := []candidate{accepted("a", "a", "x"), accepted("b", "x", "b", "y"), accepted("", strings.Split("y z", " ")...)}
	require.Equal(t, []string{"own", "a", "x", "b", "y", "z"}, pathThrough("own", list))
}
