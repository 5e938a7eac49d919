//go:build !race

package e2e

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// Blocks wait for nobody: in three minutes the source stalls twice, L1 once. Then the node is killed, and resumes on the
// old head. This is by far the longest test. It is the first one of the first file because that is the one of the parallel
// tests that runs first.
func TestLightSequencerNeverPauses(t *testing.T) {
	t.Parallel()
	const round, stall = 62 * time.Second, 35 * time.Second
	var proxies between
	s, lights := startLight(t, func(o *stack.Options) { proxies.interpose(t, o) })
	light, blockTime := lights[0], s.Options().L2BlockTime
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, light)[mirror.Safe].Number > 2 })

	produced := watchProduction(t, light.EL())
	begin := time.Now()
	for i, stalls := range []struct {
		what  string
		proxy *faultproxy.Proxy
		why   string // of the labels not being fresh, while it lasts
	}{
		{"the source", proxies.source, "fetch_failed"}, {"L1", proxies.l1, "l1_behind"}, {"the source", proxies.source, "fetch_failed"},
	} {
		time.Sleep(time.Until(begin.Add(time.Duration(i+1)*round - stall)))
		require.True(t, statusOf(t, light).Ready, "before %s stalls", stalls.what)
		requests := faultproxy.CountCalls("")
		stalls.proxy.Set(requests.Over(faultproxy.Stall()))
		time.Sleep(stall - 2*time.Second)
		status := statusOf(t, light)
		require.False(t, status.Ready, "while %s stalls", stalls.what)
		require.Contains(t, status.Why, stalls.why)
		require.Equal(t, stalls.why, status.Sources[0].Reason)
		if stalls.proxy == proxies.source {
			// One at a time: the proxy hears a moment late that one was given up, when the next may be there.
			require.LessOrEqual(t, requests.Most(), 2)
			require.Greater(t, requests.Total(), uint64(1), "it is asked again")
		}
		t.Logf("%s: %d requests in %s, %d at a time", stalls.what, requests.Total(), stall, requests.Most())
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * round)))
		stalls.proxy.Set(faultproxy.Pass())
	}
	took := time.Since(begin)
	r := produced.result()
	gap, at := r.gap(begin, begin.Add(took))
	t.Logf("%d blocks in %s, longest gap %s, %s after the beginning", r.blocks, took.Round(time.Second), gap.Round(time.Millisecond), at.Sub(begin).Round(time.Second))
	require.GreaterOrEqual(t, took, 3*time.Minute)
	r.requireGap(t, light, begin, begin.Add(took), 2*blockTime)
	require.GreaterOrEqual(t, r.blocks, uint64(took/blockTime)-2)
	require.Zero(t, r.replaced)
	require.Empty(t, r.safeBack)
	require.Zero(t, r.finalBack)
	waitFor(t, safeTimeout, "labels catch up", func() bool { return heads(t, light)[mirror.Safe].Number+8 > heads(t, light)[mirror.Unsafe].Number })
	require.True(t, statusOf(t, light).Ready)
	require.Equal(t, "0", metricOf(t, light, forcedResets))

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
	require.Empty(t, r.safeBack, "nothing rewinds")
	require.Zero(t, r.finalBack)
	old, ok := light.EL().Canonical(before.Unsafe.Number)
	require.True(t, ok)
	require.Equal(t, before.Unsafe.Hash, old.Hash)
}

// production watches the heads of an engine: when it got blocks, and which were replaced.
type production struct {
	el   *stack.EL
	stop context.CancelFunc
	wg   sync.WaitGroup

	// times are when the head moved up.
	times []time.Time
	// stutters are when the watch itself, which shares a process with the engine, stood still, and for how long.
	stutters []stutter
	blocks   uint64
	replaced int
	// safeBack are the blocks that the engine's safe label moved down to; finalBack is how often the finalized one did.
	safeBack  []eth.BlockID
	finalBack int
}

type stutter struct {
	at   time.Time
	took time.Duration
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
	const pace = 5 * time.Millisecond
	last := p.el.Heads()
	for ctx.Err() == nil {
		looked := time.Now()
		time.Sleep(pace)
		now := p.el.Heads()
		if took := time.Since(looked) - pace; took > pace {
			p.stutters = append(p.stutters, stutter{looked, took})
		}
		if now.Unsafe.Number > last.Unsafe.Number {
			p.blocks += now.Unsafe.Number - last.Unsafe.Number
			p.times = append(p.times, time.Now())
			if have, ok := p.el.Canonical(last.Unsafe.Number); ok && have.Hash != last.Unsafe.Hash {
				p.replaced++
			}
		} else if now.Unsafe != last.Unsafe {
			p.replaced++
		}
		if now.Safe.Number < last.Safe.Number {
			p.safeBack = append(p.safeBack, now.Safe)
		}
		if now.Finalized.Number < last.Finalized.Number {
			p.finalBack++
		}
		last = now
	}
}

func (p *production) result() *production {
	p.stop()
	p.wg.Wait()
	return p
}

// gap is the longest time without a block between two times, and when it began. It is for a result.
func (p *production) gap(from, to time.Time) (longest time.Duration, at time.Time) {
	last := from
	for _, next := range append(p.times[:len(p.times):len(p.times)], to) {
		if next.Before(from) {
			continue
		}
		if next.After(to) {
			next = to
		}
		if next.Sub(last) > longest {
			longest, at = next.Sub(last), last
		}
		last = next
	}
	return longest, at
}

// noise is how long the watch stood still between two times. It is for a result.
func (p *production) noise(from, to time.Time) (sum time.Duration) {
	for _, s := range p.stutters {
		if !s.at.Before(from) && s.at.Before(to) {
			sum += s.took
		}
	}
	return sum
}

// requireGap fails the test if there was a longer time without a block between two times than limit, and shows what the
// node said meanwhile. On a machine so busy that the watch stood still as well, that time does not count.
func (p *production) requireGap(t *testing.T, n *stack.Follower, from, to time.Time, limit time.Duration) {
	t.Helper()
	gap, at := p.gap(from, to)
	noise := p.noise(at, at.Add(gap))
	if gap > limit {
		t.Logf("%s without a block from %s on, %s of it the machine's; %s said:\n%s", gap, at.UTC().Format("15:04:05.000"), noise, n.Name(),
			logOf(t, n, at.Add(-time.Second), at.Add(gap+time.Second)))
	}
	require.LessOrEqual(t, gap-noise, limit)
}

// logOf is what a node logged between two times, which its log has in seconds.
func logOf(t *testing.T, n *stack.Follower, from, to time.Time) string {
	t.Helper()
	text, err := os.ReadFile(n.LogFile())
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "t="), " ")
		if at, err := time.Parse("2006-01-02T15:04:05-0700", stamp); err == nil && !at.Before(from.Truncate(time.Second)) && at.Before(to) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
