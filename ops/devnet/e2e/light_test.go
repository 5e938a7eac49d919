//go:build !race

package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// production watches the head of an engine: how long it ever stood still, and whether blocks were replaced.
type production struct {
	el   *stack.EL
	stop context.CancelFunc
	wg   sync.WaitGroup

	gap      time.Duration
	blocks   uint64
	replaced int
	// safeBack is how often the engine's safe label moved down.
	safeBack int
}

// watchProduction watches until the result is asked for.
func watchProduction(t *testing.T, el *stack.EL) *production {
	ctx, cancel := context.WithCancel(t.Context())
	p := &production{el: el, stop: cancel}
	p.wg.Go(func() { p.run(ctx) })
	t.Cleanup(func() {
		cancel()
		p.wg.Wait()
	})
	return p
}

func (p *production) run(ctx context.Context) {
	last, moved := p.el.Heads(), time.Now()
	for ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		now := p.el.Heads()
		if now.Unsafe.Number > last.Unsafe.Number {
			p.blocks += now.Unsafe.Number - last.Unsafe.Number
			moved = time.Now()
			if have, ok := p.el.Canonical(last.Unsafe.Number); ok && have.Hash != last.Unsafe.Hash {
				p.replaced++
			}
		} else if now.Unsafe != last.Unsafe {
			p.replaced++
		}
		p.gap = max(p.gap, time.Since(moved))
		if now.Safe.Number < last.Safe.Number {
			p.safeBack++
		}
		last = now
	}
}

func (p *production) result() *production {
	p.stop()
	p.wg.Wait()
	return p
}

// startLight brings up a devnet whose blocks a light sequencer makes.
func startLight(t *testing.T, change func(*stack.Options)) (*stack.Stack, []*stack.Follower) {
	t.Helper()
	s := startStack(t, func(o *stack.Options) {
		o.Light = binary
		if change != nil {
			change(o)
		}
	})
	lights := s.Lights()
	for _, light := range lights {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s, the last lines:\n%s", light.Name(), strings.Join(light.Tail(), "\n"))
			}
		})
	}
	return s, lights
}

// addLight adds a light sequencer to a devnet.
func addLight(t *testing.T, s *stack.Stack, spec stack.LightSpec) *stack.Follower {
	t.Helper()
	spec.Binary = binary
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	light, err := s.AddLightSequencer(ctx, spec)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s, the last lines:\n%s", light.Name(), strings.Join(light.Tail(), "\n"))
		}
	})
	return light
}

// call makes a call of a node's admin API.
func call(t *testing.T, n *stack.Follower, result any, method string, args ...any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := rpc.DialContext(ctx, n.RPC())
	require.NoError(t, err)
	defer client.Close()
	return client.CallContext(ctx, result, method, args...)
}

// between are the proxies between light sequencers and the servers they use.
type between struct{ l1, source *faultproxy.Proxy }

// interpose puts proxies between the light sequencers of a devnet and L1 and the source.
func (b *between) interpose(t *testing.T, o *stack.Options) {
	first := make(map[string]*faultproxy.Proxy)
	o.Via = func(url string) (string, error) {
		if proxy, ok := first[url]; ok {
			return proxy.URL(), nil
		}
		proxy, err := faultproxy.Start(url)
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { require.NoError(t, proxy.Close()) })
		first[url] = proxy
		if b.l1 == nil { // L1 is asked for first
			b.l1 = proxy
		} else {
			b.source = proxy
		}
		return proxy.URL(), nil
	}
}

// Blocks wait for nobody: the source stalls twice, L1 once. Then the node is killed, and resumes on the old head.
func TestLightSequencerNeverPauses(t *testing.T) {
	t.Parallel()
	const round, stall = 25 * time.Second, 18 * time.Second
	var proxies between
	s, lights := startLight(t, func(o *stack.Options) { proxies.interpose(t, o) })
	light, blockTime := lights[0], s.Options().L2BlockTime
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, light)[mirror.Safe].Number > 2 })

	produced := watchProduction(t, light.EL())
	begin := time.Now()
	for _, proxy := range []*faultproxy.Proxy{proxies.source, proxies.l1, proxies.source} {
		time.Sleep(round - stall)
		proxy.Set(faultproxy.Stall())
		time.Sleep(stall)
		proxy.Set(faultproxy.Pass())
	}
	took := time.Since(begin)
	r := produced.result()
	t.Logf("%d blocks in %s, longest gap %s", r.blocks, took.Round(time.Second), r.gap.Round(time.Millisecond))
	require.LessOrEqual(t, r.gap, 2*blockTime)
	require.GreaterOrEqual(t, r.blocks, uint64(took/blockTime)-2)
	require.Zero(t, r.replaced)
	require.Zero(t, r.safeBack)
	waitFor(t, safeTimeout, "labels catch up", func() bool { return heads(t, light)[mirror.Safe].Number+8 > heads(t, light)[mirror.Unsafe].Number })

	light.Kill9()
	before := light.EL().Heads()
	time.Sleep(3 * time.Second)
	require.Equal(t, before, light.EL().Heads(), "nobody drives the engine")
	restarted := watchProduction(t, light.EL())
	begin = time.Now()
	require.NoError(t, light.Restart(t.Context()))
	waitFor(t, 20*time.Second, "the next block", func() bool { return light.EL().Heads().Unsafe.Number > before.Unsafe.Number })
	t.Logf("the next block %s after the start of the process", time.Since(begin).Round(time.Millisecond))
	waitFor(t, safeTimeout, "the labels go on", func() bool { return heads(t, light)[mirror.Safe].Number > before.Unsafe.Number+2 })
	r = restarted.result()
	require.Zero(t, r.replaced, "the next block is on the old head")
	require.Zero(t, r.safeBack, "nothing rewinds")
	old, ok := light.EL().Canonical(before.Unsafe.Number)
	require.True(t, ok)
	require.Equal(t, before.Unsafe.Hash, old.Hash)
}

// One light sequencer hands over to another, as a conductor has them do it.
func TestLightSequencersHandOver(t *testing.T) {
	t.Parallel()
	s, lights := startLight(t, func(o *stack.Options) { o.Standby = 1 })
	a, b := lights[0], lights[1]
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, b)[mirror.Safe].Number > 3 })
	produced := watchProduction(t, s.Source().EL())

	var head common.Hash
	require.NoError(t, call(t, a, &head, "admin_stopSequencer"))
	waitFor(t, 5*time.Second, "the other one to have the last block", func() bool { return heads(t, b)[mirror.Unsafe].Hash == head })
	require.ErrorContains(t, call(t, b, nil, "admin_startSequencer", common.Hash{1}), "block hash does not match")
	require.NoError(t, call(t, b, nil, "admin_startSequencer", head))
	handed := heads(t, b)[mirror.Unsafe]
	waitFor(t, safeTimeout, "blocks of the new one to be safe everywhere", func() bool {
		return heads(t, s.Source())[mirror.Safe].Number > handed.Number+5 && heads(t, a)[mirror.Safe].Number > handed.Number+5
	})
	r := produced.result()
	t.Logf("longest gap %s", r.gap.Round(time.Millisecond))
	require.LessOrEqual(t, r.gap, 4*s.Options().L2BlockTime)
	require.Zero(t, r.replaced)
	for _, light := range lights {
		var active bool
		require.NoError(t, call(t, light, &active, "admin_sequencerActive"))
		require.Equal(t, light == b, active, light.Name())
		block, ok := light.EL().Canonical(handed.Number)
		require.True(t, ok)
		require.Equal(t, handed.Hash, block.Hash)
	}
}

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
	begin, polls := time.Now(), proxy.Requests()
	proxy.Set(faultproxy.Pass())
	waitFor(t, 20*time.Second, "the other's chain", func() bool { return heads(t, c)[mirror.Safe].Hash == last })
	took, asked := time.Since(begin), proxy.Requests()-polls
	waitFor(t, 20*time.Second, "the next blocks", func() bool { return heads(t, c)[mirror.Unsafe].Number > own[mirror.Unsafe].Number })
	time.Sleep(5 * time.Second)
	r := produced.result()
	t.Logf("on the source's chain after %s and %d requests of all kinds to the source; longest gap %s; %d heads replaced",
		took.Round(time.Millisecond), asked, r.gap.Round(time.Millisecond), r.replaced)
	require.Zero(t, r.safeBack, "local-safe never went back")
	tip, ok := c.EL().Canonical(heads(t, s.Source())[mirror.Safe].Number)
	require.True(t, ok)
	require.Equal(t, last, tip.Hash, "and it stays there")
	require.Equal(t, "1", metricOf(t, c, `follow_source_reorgs_total\{action="force_reset"\}`))
}

// metricOf reads a metric of a node, by a pattern of its name and labels.
func metricOf(t *testing.T, n *stack.Follower, pattern string) string {
	t.Helper()
	address := regexp.MustCompile(`[Mm]etrics.*addr[^=]*=\S*?(127\.0\.0\.1:\d+)`)
	text, err := os.ReadFile(n.LogFile())
	require.NoError(t, err)
	found := address.FindSubmatch(text)
	require.NotNil(t, found, "the address of the metrics server is in the log")
	response, err := http.Get("http://" + string(found[1]) + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	value := regexp.MustCompile(`(?m)^\S*` + pattern + ` (\S+)$`).FindSubmatch(body)
	require.NotNil(t, value, "metric %s", pattern)
	return string(value[1])
}

// L1 leaves blocks that a light sequencer has taken as origins, and batches with them.
func TestLightSequencerFollowsAnL1Reorg(t *testing.T) {
	t.Parallel()
	s, lights := startLight(t, nil)
	light := lights[0]
	waitFor(t, finalTimeout, "final blocks", func() bool { return heads(t, light)[mirror.Finalized].Number > 2 })
	final := heads(t, light)[mirror.Finalized]
	produced := watchProduction(t, light.EL())
	begin := time.Now()
	ancestor, abandoned, err := s.L1().Reorg(2)
	require.NoError(t, err)
	waitFor(t, safeTimeout, "blocks of the new L1 to be safe", func() bool {
		status, err := light.SyncStatus(t.Context())
		return err == nil && status.SafeL2.L1Origin.Number > abandoned.Number+1
	})
	took := time.Since(begin)
	r := produced.result()
	t.Logf("L1 from %d to %d; safe blocks of the new L1 after %s, longest gap %s, %d heads replaced", abandoned.Number, ancestor.Number,
		took.Round(time.Millisecond), r.gap.Round(time.Millisecond), r.replaced)
	safe := heads(t, light)[mirror.Safe]
	for number := final.Number; number <= safe.Number; number++ {
		own, ok := light.EL().Canonical(number)
		require.True(t, ok)
		source, ok := s.Source().EL().Canonical(number)
		require.True(t, ok)
		require.Equal(t, source.Hash, own.Hash, "block %d", number)
	}
	require.LessOrEqual(t, r.gap, 8*s.Options().L2BlockTime)
}
