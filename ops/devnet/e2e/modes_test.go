//go:build !race

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// spec E6, I3: a node follows, derives, and follows again, on one execution engine and one directory. Each start goes on where
// the engine is, and nothing rewinds.
func TestModesOnOneEngine(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	n := startFollower(t, s, stack.FollowerSpec{Name: "node-1"})
	watched := watchProduction(t, n.EL())
	for i, derive := range []bool{false, true, false} {
		if i > 0 {
			ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
			require.NoError(t, n.Stop(ctx))
			var err error
			n, err = s.Replace(ctx, n, stack.FollowerSpec{Name: fmt.Sprintf("node-%d", i+1), Binary: binary, Derive: derive})
			cancel()
			require.NoError(t, err)
			watchLog(t, n)
		}
		before := n.EL().Heads()
		waitFor(t, finalTimeout, "all labels to move on", func() bool {
			now, source := heads(t, n), heads(t, s.Source())
			return now[mirror.Finalized].Number > before.Finalized.Number && now[mirror.Safe].Number > before.Safe.Number+2 &&
				now[mirror.Unsafe].Number > before.Unsafe.Number && source[mirror.Safe].Number > 0
		})
	}
	time.Sleep(time.Second)
	r := watched.result()
	require.Zero(t, r.replaced, "no block was taken back")
	require.Zero(t, r.finalBack)
	final := n.EL().Heads().Finalized
	for number := uint64(1); number <= final.Number; number++ {
		own, ok := n.EL().Canonical(number)
		require.True(t, ok)
		source, ok := s.Source().EL().Canonical(number)
		require.True(t, ok)
		require.Equal(t, source, own)
	}
	t.Logf("lower safe labels of the engine on the way: %v", r.safeBack)
}
