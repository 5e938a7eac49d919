//go:build !race

package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

var nightly = flag.Bool("nightly", false, "also run what takes minutes")

// spec S5: execution engines come back without their newest blocks. Nothing is lost, for a sequencer and for a verifier, with
// engines that could have them from each other and without.
func TestEnginesThatLoseTheirTip(t *testing.T) {
	t.Parallel()
	s, lights := startLight(t, nil)
	verifier := startFollower(t, s, stack.FollowerSpec{Name: "verifier"})
	waitFor(t, finalTimeout, "labels", func() bool {
		return heads(t, lights[0])[mirror.Safe].Number > 5 && heads(t, verifier)[mirror.Safe].Number > 5
	})
	for _, n := range []*stack.Follower{lights[0], verifier} {
		loseTip(t, n)
		n.EL().Isolate()
		loseTip(t, n)
	}
}

// loseTip takes three blocks from a node's engine, and waits for them and the next one.
func loseTip(t *testing.T, n *stack.Follower) {
	t.Helper()
	before, begin := n.EL().Heads().Unsafe, time.Now()
	require.NoError(t, n.EL().Lose(3))
	waitFor(t, 10*time.Second, "a head beyond the old one", func() bool { return n.EL().Heads().Unsafe.Number > before.Number })
	t.Logf("%s, %d peers: a head beyond the old one %d ms after its engine lost three blocks", n.Name(), n.EL().Peers(), time.Since(begin).Milliseconds())
	have, ok := n.EL().Canonical(before.Number)
	require.True(t, ok)
	require.Equal(t, before, have, "%s has its old head", n.Name())
	waitFor(t, safeTimeout, "safe blocks beyond the old head", func() bool { return heads(t, n)[mirror.Safe].Number > before.Number })
}

// spec S1, I6: the source's answer alternates between the truth and a block that nobody has. No block waits for that.
func TestLightSequencerAndAFlappingSource(t *testing.T) {
	t.Parallel()
	var proxies between
	s, lights := startLight(t, func(o *stack.Options) { proxies.interpose(t, o) })
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, lights[0])[mirror.Safe].Number > 3 })
	turns := 2
	if *nightly {
		turns = 8
	}
	flap(t, s, lights[0], proxies.source, turns)
}

// flap has the source alternate every four seconds.
func flap(t *testing.T, s *stack.Stack, light *stack.Follower, source *faultproxy.Proxy, turns int) {
	t.Helper()
	produced, before, begin := watchProduction(t, light.EL()), heads(t, light), time.Now()
	for range turns {
		source.Set(faultproxy.Invent(40, s.Options().L2BlockTime))
		time.Sleep(4 * time.Second)
		source.Set(faultproxy.Pass())
		time.Sleep(4 * time.Second)
	}
	end := time.Now()
	r := produced.result()
	gap, _ := r.gap(begin, end)
	t.Logf("a source that alternates for %s: longest gap %s, safe from %d to %d", end.Sub(begin).Round(time.Second),
		gap.Round(time.Millisecond), before[mirror.Safe].Number, heads(t, light)[mirror.Safe].Number)
	r.requireGap(t, light, begin, end, 2*s.Options().L2BlockTime)
	require.Zero(t, r.replaced)
	require.Empty(t, r.safeBack)
	require.Zero(t, r.finalBack)
	require.Greater(t, heads(t, light)[mirror.Safe].Number, before[mirror.Safe].Number, "what it said in between was applied")
}

// One run of a light sequencer has all of these, one after the other: an engine that loses its tip, a source that flaps, and L1
// reorgs with the source up and down.
func TestLightSequencerSurvivesAllOfThem(t *testing.T) {
	if !*nightly {
		t.Skip("takes four minutes: make e2e-long")
	}
	t.Parallel()
	var proxies between
	s, lights := startLight(t, func(o *stack.Options) {
		o.FinalizedDistance = 10
		proxies.interpose(t, o)
	})
	light := lights[0]
	waitFor(t, finalTimeout, "final blocks", func() bool { return heads(t, light)[mirror.Finalized].Number > 2 })
	whole := watchProduction(t, light.EL())
	loseTip(t, light)
	flap(t, s, light, proxies.source, 8)
	for _, depth := range []uint64{2, 6} {
		for _, up := range []bool{true, false} {
			crossL1Reorg(t, s, light, proxies.source, depth, up)
		}
	}
	light.EL().Isolate()
	loseTip(t, light)
	require.Zero(t, whole.result().finalBack, "finalized never went back")
}

// crossL1Reorg reorgs L1 under a light sequencer, whose source may be down meanwhile.
func crossL1Reorg(t *testing.T, s *stack.Stack, light *stack.Follower, source *faultproxy.Proxy, depth uint64, up bool) {
	t.Helper()
	what := fmt.Sprintf("L1 reorg of %d, source up: %v", depth, up)
	if !up {
		source.Set(faultproxy.Fail(http.StatusServiceUnavailable))
	}
	produced, begin := watchProduction(t, light.EL()), time.Now()
	ancestor, abandoned, err := s.L1().Reorg(depth)
	require.NoError(t, err, what)
	time.Sleep(12 * time.Second)
	if !up {
		status, err := light.SyncStatus(t.Context())
		require.NoError(t, err)
		for _, id := range []eth.BlockID{status.CurrentL1.ID(), status.LocalSafeL2.L1Origin, status.UnsafeL2.L1Origin} {
			require.True(t, onL1(s.L1(), id), "%s: %s is gone, L1 was left after %s; labels %s", what, id, ancestor, status.LocalSafeL2)
		}
	}
	end := time.Now()
	r := produced.result()
	gap, _ := r.gap(begin, end)
	source.Set(faultproxy.Pass())
	spoke := time.Now()
	waitFor(t, safeTimeout, what+": the labels of the source", func() bool {
		mine, theirs := heads(t, light), heads(t, s.Source())
		return mine[mirror.Safe] == theirs[mirror.Safe] && theirs[mirror.CurrentL1].Number > ancestor.Number
	})
	t.Logf("%s: longest gap %s; labels level %d ms after the source could speak; %d heads replaced, %d times to a lower safe block",
		what, gap.Round(time.Millisecond), time.Since(spoke).Milliseconds(), r.replaced, len(r.safeBack))
	r.requireGap(t, light, begin, end, 2*s.Options().L2BlockTime)
	require.Zero(t, r.finalBack)
	waitFor(t, safeTimeout, "L1 to be beyond what it left", func() bool {
		status, err := light.SyncStatus(t.Context())
		return err == nil && status.SafeL2.L1Origin.Number > abandoned.Number
	})
}
