//go:build !race

package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// The metrics of what a light sequencer gave up: for the source's chain, for L1, and how often it began anew.
const (
	forcedResets = `follow_source_reorgs_total\{action="force_reset"\}`
	walkedBack   = `follow_source_reorgs_total\{action="walk_back"\}`
	resets       = `sequencer_resets_total`
)

// maxPolls is how many polls a light sequencer has for coming back to the chain of its source.
const maxPolls = 2

// Two light sequencers make blocks without knowing of each other; the source knows the blocks of one of them. The other
// one gives its blocks up, once, and goes on from there.
func TestLightSequencerDiverges(t *testing.T) {
	t.Parallel()
	// Without gossip the two learn of each other's blocks from the source alone. The batcher knows one of them, and posts
	// what that has, stopped or not.
	s, lights := startLight(t, func(o *stack.Options) { o.P2P = false })
	a := lights[0]
	proxy, err := faultproxy.Start(s.Source().RPC())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	// Empty blocks on the same L1 origins would be the same blocks, so it takes older ones.
	c := addLight(t, s, stack.LightSpec{Name: "diverging", Stopped: true, Sources: []string{proxy.URL()}, Extra: []string{"--sequencer.l1-confs=4"}})
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, c)[mirror.Safe].Number > 3 })

	proxy.Set(faultproxy.Fail(http.StatusServiceUnavailable))
	time.Sleep(2 * time.Second)
	fork := heads(t, c)[mirror.Unsafe]
	require.NoError(t, call(t, c, nil, "admin_startSequencer", fork.Hash))
	waitFor(t, 20*time.Second, "blocks of its own", func() bool { return heads(t, c)[mirror.Unsafe].Number > fork.Number+8 })
	waitFor(t, safeTimeout, "others to be safe", func() bool { return heads(t, s.Source())[mirror.Safe].Number > fork.Number+8 })
	var last common.Hash
	require.NoError(t, call(t, a, &last, "admin_stopSequencer"))
	waitFor(t, safeTimeout, "all blocks of the other to be safe", func() bool { return heads(t, s.Source())[mirror.Safe].Hash == last })

	own := heads(t, c)
	theirs, ok := s.Source().EL().Canonical(fork.Number + 8)
	require.True(t, ok)
	ours, ok := c.EL().Canonical(fork.Number + 8)
	require.True(t, ok)
	require.NotEqual(t, theirs.Hash, ours.Hash, "the chains have parted")
	produced := watchProduction(t, c.EL())
	polls := faultproxy.CountCalls("optimism_syncStatus")
	begin := time.Now()
	proxy.Set(polls.Over(faultproxy.Pass()))
	waitFor(t, 20*time.Second, "the other's chain", func() bool { return c.EL().Heads().Safe.Hash == last })
	took, asked := time.Since(begin), polls.Total()
	waitFor(t, 20*time.Second, "the next blocks", func() bool { return heads(t, c)[mirror.Unsafe].Number > own[mirror.Unsafe].Number })
	time.Sleep(5 * time.Second)
	end := time.Now()
	r := produced.result()
	gap, _ := r.gap(begin, end)
	t.Logf("on the source's chain after %d ms and %d polls; longest gap %s; %d heads replaced, %s forced resets, %s resets of the sequencer",
		took.Milliseconds(), asked, gap.Round(time.Millisecond), r.replaced, metricOf(t, c, forcedResets), metricOf(t, c, resets))
	require.LessOrEqual(t, asked, uint64(maxPolls))
	r.requireGap(t, c, begin, end, 2*s.Options().L2BlockTime)
	require.Empty(t, r.safeBack, "local-safe never went back")
	require.Zero(t, r.finalBack)
	tip, ok := c.EL().Canonical(heads(t, s.Source())[mirror.Safe].Number)
	require.True(t, ok)
	require.Equal(t, last, tip.Hash, "and it stays there")
	require.Equal(t, "1", metricOf(t, c, forcedResets))
	require.Equal(t, 1, r.replaced, "no to and fro")
}

// spec G1, G2: L1 leaves blocks that a light sequencer has taken as origins: first those of unsafe blocks alone, then those of
// safe ones too. Blocks go on, and labels go back to what the source once said of the L1 that is left.
func TestLightSequencerFollowsAnL1Reorg(t *testing.T) {
	t.Parallel()
	var proxies between
	s, lights := startLight(t, func(o *stack.Options) {
		o.FinalizedDistance = 10
		proxies.interpose(t, o)
	})
	light := lights[0]
	said := listen(proxies.source)
	waitFor(t, finalTimeout, "final blocks", func() bool { return heads(t, light)[mirror.Finalized].Number > 2 })
	final := heads(t, light)[mirror.Finalized]
	// A batch with a block of L1 origin N is in L1 block N+2 at the earliest.
	require.False(t, reorgL1(t, s, light, said, 2))
	status, err := light.SyncStatus(t.Context())
	require.NoError(t, err)
	require.True(t, reorgL1(t, s, light, said, s.L1().Head().Number-status.LocalSafeL2.L1Origin.Number+2))
	safe := heads(t, light)[mirror.Safe]
	for number := final.Number; number <= safe.Number; number++ {
		own, ok := light.EL().Canonical(number)
		require.True(t, ok)
		source, ok := s.Source().EL().Canonical(number)
		require.True(t, ok)
		require.Equal(t, source.Hash, own.Hash, "block %d", number)
	}
}

// reorgL1 reorgs L1 and watches a light sequencer come through. It tells whether the local-safe block lost its L1 origin.
func reorgL1(t *testing.T, s *stack.Stack, light *stack.Follower, said *words, depth uint64) (under bool) {
	blockTime := s.Options().L2BlockTime
	forced, walks, anew := metricOf(t, light, forcedResets), metricOf(t, light, walkedBack), metricOf(t, light, resets)
	produced := watchProduction(t, light.EL())
	before, err := light.SyncStatus(t.Context())
	require.NoError(t, err)
	begin := time.Now()
	ancestor, abandoned, err := s.L1().Reorg(depth)
	require.NoError(t, err)
	var converged time.Time
	final := before.FinalizedL2.Number
	waitFor(t, safeTimeout, "blocks of the new L1 to be safe", func() bool {
		status, err := light.SyncStatus(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, status.FinalizedL2.Number, final, "finalized went back")
		final = status.FinalizedL2.Number
		under = under || !onL1(s.L1(), status.LocalSafeL2.L1Origin)
		if converged.IsZero() && status.CurrentL1.Number > ancestor.Number && onL1(s.L1(), status.CurrentL1.ID()) {
			converged = time.Now()
		}
		return status.SafeL2.L1Origin.Number > abandoned.Number+1
	})
	end := time.Now()
	r := produced.result()

	// The source's first word on the new L1, and how often it was asked from there on until its labels were taken over.
	heard := said.since(begin)
	first := slices.IndexFunc(heard, func(w word) bool { return w.currentL1.Number > ancestor.Number && onL1(s.L1(), w.currentL1) })
	require.NotEqual(t, -1, first)
	polls := 0
	for _, w := range heard[first:] {
		if w.at.Before(converged) {
			polls++
		}
	}
	whole, _ := r.gap(begin, end)
	after, _ := r.gap(heard[first].at, end)
	t.Logf("depth %d, L1 from %d to %d, under the safe block: %v. The source spoke after %d ms; labels on the new L1 %d ms and %d polls later; "+
		"longest gap %s, %s once the source had spoken; %d times to another head, %d times to a lower safe block; forced resets %s to %s, "+
		"walks back %s to %s, resets of the sequencer %s to %s", depth, abandoned.Number, ancestor.Number, under, heard[first].at.Sub(begin).Milliseconds(),
		converged.Sub(heard[first].at).Milliseconds(), polls, whole.Round(time.Millisecond), after.Round(time.Millisecond), r.replaced, len(r.safeBack),
		forced, metricOf(t, light, forcedResets), walks, metricOf(t, light, walkedBack), anew, metricOf(t, light, resets))
	require.LessOrEqual(t, polls, maxPolls)
	require.LessOrEqual(t, counted(t, metricOf(t, light, forcedResets))-counted(t, forced), 1.0)
	require.LessOrEqual(t, counted(t, metricOf(t, light, resets))-counted(t, anew), 3.0, "not over and over")
	r.requireGap(t, light, begin, end, 2*blockTime)
	require.Zero(t, r.finalBack)
	for _, to := range r.safeBack {
		require.True(t, slices.ContainsFunc(said.since(time.Time{}), func(w word) bool { return w.localSafe == to }), "local-safe went back to %s, where the source never was", to)
	}
	return under
}

func onL1(l1 *stack.L1, id eth.BlockID) bool {
	have, ok := l1.Canonical(id.Number)
	return ok && have == id
}

func counted(t *testing.T, text string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return value
}

// words are what a source said, in order.
type words struct {
	mu   sync.Mutex
	list []word
}

type word struct {
	at                   time.Time
	localSafe, currentL1 eth.BlockID
}

// listen notes all sync statuses that pass through a proxy.
func listen(proxy *faultproxy.Proxy) *words {
	w := new(words)
	proxy.Set(faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.list = append(w.list, word{at: time.Now(), localSafe: blockID(s["local_safe_l2"]), currentL1: blockID(s["current_l1"])})
		return s
	}))
	return w
}

func (w *words) since(begin time.Time) []word {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.IndexFunc(w.list, func(x word) bool { return x.at.After(begin) })
	if at == -1 {
		return nil
	}
	return slices.Clone(w.list[at:])
}

// blockID is a block as a decoded status has it; zero if it is none.
func blockID(ref map[string]any) eth.BlockID {
	hash, _ := ref["hash"].(string)
	number, _ := ref["number"].(float64)
	return eth.BlockID{Hash: common.HexToHash(hash), Number: uint64(number)}
}
