//go:build !race

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

func TestFollowerMirrorsItsSource(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower"})
	requireMirrored(t, s, f, 5*time.Second)

	safe := heads(t, f)[mirror.Safe]
	require.Greater(t, heads(t, f)[mirror.Unsafe].Number, safe.Number, "gossip runs ahead of the labels")
	waitFor(t, 5*time.Second, "the engine has the labels of the sync status", func() bool {
		return f.EL().Heads().Safe.Number >= safe.Number
	})
}

func TestDerivingNodeAgreesWithSource(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	f := startFollower(t, s, stack.FollowerSpec{Name: "deriving", Derive: true})
	waitFor(t, finalTimeout, "final", func() bool { return heads(t, f)[mirror.Finalized].Number > 2 })
	final := heads(t, f)[mirror.Finalized]
	block, ok := s.Source().EL().Canonical(final.Number)
	require.True(t, ok)
	require.Equal(t, block.Hash, final.Hash)
}

// Without gossip the labels are all a follower gets: its engine fetches the blocks from the others.
func TestLabelsDriveUnsafeWithoutGossip(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(o *stack.Options) { o.P2P = false })
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower"})
	requireMirrored(t, s, f, 5*time.Second)
}

// TestNothingRewindsAfterKill9 is spec T20.
func TestNothingRewindsAfterKill9(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower"})
	waitFor(t, finalTimeout, "finalized mirrored", func() bool { return heads(t, f)[mirror.Finalized].Number > 2 })

	before := heads(t, f)
	f.Kill9()
	engine := f.EL().Heads()
	require.GreaterOrEqual(t, engine.Safe.Number, before[mirror.Safe].Number)
	waitFor(t, safeTimeout, "the source goes on meanwhile", func() bool {
		return heads(t, s.Source())[mirror.Safe].Number > before[mirror.Safe].Number+4
	})
	require.Equal(t, engine, f.EL().Heads(), "nobody drives the engine")

	done := make(chan struct{})
	rewound := watchEngine(f.EL(), engine, done)
	require.NoError(t, f.Restart(t.Context()))
	last := before
	waitFor(t, safeTimeout, "the source is mirrored again", func() bool {
		now := heads(t, f)
		for _, l := range mirror.Labels() {
			if now[l].Known() { // a new process may not know yet
				require.GreaterOrEqual(t, now[l].Number, last[l].Number, "%s went back", l)
				last[l] = now[l]
			}
		}
		source := heads(t, s.Source())
		return now[mirror.Safe] == source[mirror.Safe] && now[mirror.Finalized].Number > before[mirror.Finalized].Number &&
			now[mirror.Unsafe].Number > now[mirror.Safe].Number
	})
	close(done)
	require.Empty(t, <-rewound)
	for _, block := range []struct {
		was    mirror.Ref
		engine *stack.EL
	}{{before[mirror.Unsafe], f.EL()}, {before[mirror.Safe], f.EL()}} {
		now, ok := block.engine.Canonical(block.was.Number)
		require.True(t, ok)
		require.Equal(t, block.was.Hash, now.Hash, "block %d was rewritten", block.was.Number)
	}
}

// watchEngine looks at an engine's labels until done is closed and delivers the first state in which one of them was
// lower than before, or nothing.
func watchEngine(el *stack.EL, before stack.ELHeads, done <-chan struct{}) <-chan []stack.ELHeads {
	result := make(chan []stack.ELHeads, 1)
	go func() {
		last := before
		for {
			now := el.Heads()
			if now.Unsafe.Number < last.Unsafe.Number || now.Safe.Number < last.Safe.Number || now.Finalized.Number < last.Finalized.Number {
				result <- []stack.ELHeads{last, now}
				return
			}
			last = now
			select {
			case <-done:
				result <- nil
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return result
}

func TestStalledSourceDelaysLabelsOnly(t *testing.T) {
	t.Parallel()
	const stall = 20 * time.Second
	s := startStack(t, nil)
	proxy, err := faultproxy.Start(s.Source().RPC())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower", Sources: []string{proxy.URL()}})
	waitFor(t, safeTimeout, "safe mirrored", func() bool { return heads(t, f)[mirror.Safe].Number > 2 })

	proxy.Set(faultproxy.Stall())
	begin, requests := time.Now(), proxy.Requests()
	start := heads(t, f)
	last, moved, gap := start, begin, time.Duration(0)
	waitFor(t, stall+5*time.Second, "the stall is over", func() bool {
		now := heads(t, f)
		for _, l := range mirror.Labels() {
			require.GreaterOrEqual(t, now[l].Number, last[l].Number, "%s went back", l)
		}
		if now[mirror.Unsafe] != last[mirror.Unsafe] {
			moved = time.Now()
		}
		gap = max(gap, time.Since(moved))
		last = now
		return time.Since(begin) > stall
	})
	blocks := last[mirror.Unsafe].Number - start[mirror.Unsafe].Number
	t.Logf("during the stall: %d unsafe blocks, longest gap %s, safe from %s to %s, %d requests",
		blocks, gap.Round(time.Millisecond), start[mirror.Safe], last[mirror.Safe], proxy.Requests()-requests)
	require.GreaterOrEqual(t, blocks, uint64(stall/time.Second)-4, "unsafe goes on")
	require.Less(t, gap, 4*time.Second)
	require.LessOrEqual(t, last[mirror.Safe].Number, start[mirror.Safe].Number+4, "the labels held")
	require.Greater(t, heads(t, s.Source())[mirror.Safe].Number, last[mirror.Safe].Number+4, "the source itself went on")

	proxy.Set(faultproxy.Pass())
	requireMirrored(t, s, f, 3*time.Second)
}
