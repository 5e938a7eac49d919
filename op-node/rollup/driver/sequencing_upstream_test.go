//go:build !race

// Upstream's driver has data races of its own, between its event loop and its sequencer's goroutine: they are not ours to
// report.

package driver_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	upstreamdriver "github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-node/rollup/finality"
	rollupsync "github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	upstreamsources "github.com/ethereum-optimism/optimism/op-service/sources"
	"github.com/ethereum-optimism/optimism/op-service/testlog"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// upstreamNode is upstream's own light sequencer.
type upstreamNode struct {
	*upstreamdriver.Driver
	signals event.Emitter
}

// l1HeadSignal takes a head of L1 into upstream's event loop, where its status tracker wants it.
type l1HeadSignal struct{ ref eth.L1BlockRef }

func (l1HeadSignal) String() string { return "l1-head-signal" }

func (u upstreamNode) OnL1Head(ctx context.Context, ref eth.L1BlockRef) {
	u.signals.Emit(ctx, l1HeadSignal{ref})
}

// upstreamSource is our source, and L1, as upstream's driver wants them.
type upstreamSource struct {
	*testutil.L1Endpoint
	source *sourceActor
}

func (u upstreamSource) GetFollowStatus(ctx context.Context) (*upstreamsources.FollowStatus, error) {
	status, err := u.source.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &upstreamsources.FollowStatus{SafeL2: status.Safe, LocalSafeL2: status.LocalSafe, FinalizedL2: status.Finalized,
		CurrentL1: status.CurrentL1}, nil
}

// bootUpstream starts upstream's light sequencer in the place of ours.
func (s *stage) bootUpstream() {
	logger := testlog.Logger(s.t, slog.LevelError+1)
	ctx, cancel := context.WithCancel(context.Background())
	exec := event.NewGlobalSynchronous(ctx)
	system := event.NewSystem(logger, exec)
	s.t.Cleanup(func() {
		cancel()
		system.Stop()
	})
	cfg := &upstreamdriver.Config{SequencerEnabled: true, SequencerConfDepth: s.production.L1Confs, Finalizer: &finality.Config{}}
	d := upstreamdriver.NewDriver(system, exec, cfg, s.chain.RollupConfig(), s.chain.L1ChainConfig(), nil,
		s.el.Connect(), s.l1, upstreamSource{s.l1, s.source}, nil, s.net, logger, upstreamMetrics{counters: s.counts}, s.state,
		safedb.Disabled, &rollupsync.Config{SyncMode: rollupsync.CLSync, L2FollowSourceEndpoint: "source", NeedInitialResetEngine: true},
		s.leader, altda.Disabled, nil)
	system.Register("l1-heads", event.DeriverFunc(func(ctx context.Context, ev event.Event) bool {
		signal, ok := ev.(l1HeadSignal)
		if ok {
			d.SyncDeriver.L1Tracker.OnL1Unsafe(signal.ref)
			d.StatusTracker.OnL1Unsafe(signal.ref)
			d.SyncDeriver.OnL1Unsafe(ctx)
		}
		return ok
	}))
	s.run(upstreamNode{d, system.Register("l1", nil)})
}

// upstreamMetrics are our counters with what upstream's event system counts besides.
type upstreamMetrics struct {
	*counters
	event.NoopMetrics
}

func (upstreamMetrics) RecordL1RequestTime(string, time.Duration) {}

// diverge lets a light sequencer make 40 blocks of which 12 are safe, and replaces those above 14.
func (s *stage) diverge() (target []modelel.Block) {
	s.source.derives(0, 0)
	s.until(2*time.Minute, "40 blocks", func() bool { return s.head().Number >= 40 })
	s.source.derives(12, 6)
	s.until(time.Minute, "safe blocks", func() bool { return s.status().SafeL2.Number == 12 })
	return s.replace(s.own(14), 10, "replaced")
}

// watchLocalSafe notes the lowest local-safe head from now on, of the status and of the engine's label.
func (s *stage) watchLocalSafe() (lowest func() uint64) {
	low := s.status().LocalSafeL2.Number
	done := make(chan struct{})
	s.t.Cleanup(func() { <-done })
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if st, err := s.node.SyncStatus(ctx); err == nil {
				low = min(low, st.LocalSafeL2.Number, s.el.Heads().Safe.Number)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func() uint64 {
		cancel()
		<-done
		return low
	}
}

// divergence is how a light sequencer got through one.
type divergence struct {
	converged   bool
	took        time.Duration
	polls       int
	forced      int
	gap         time.Duration
	lowestLocal uint64
	finally     string
}

// runDivergence replaces 26 blocks of a light sequencer, the engine having the first ten of what came instead or having
// to fetch them.
func runDivergence(t *testing.T, boot func(s *stage), fetch bool) (result divergence) {
	perform(t, func(s *stage) {
		if fetch {
			s.reopen(modelel.SyncAfterTime(3*time.Second, time.Now))
		}
		boot(s)
		target := s.diverge()
		if fetch {
			s.peers.Publish(target...)
		} else {
			require.NoError(t, s.el.Give(target...))
		}
		tip := target[len(target)-1].Ref
		polls, begin := s.source.Count(), time.Now()
		lowest := s.watchLocalSafe()
		s.source.says(tip, s.own(6).Ref)
		const limit = 60 * time.Second
		for time.Since(begin) < limit {
			if st := s.status(); s.onChain(tip) && st.LocalSafeL2 == tip && s.el.Heads().Safe == tip && st.UnsafeL2.Number > tip.Number+2 {
				result.converged = true
				break
			}
			s.wait(50 * time.Millisecond)
		}
		result.took, result.polls = time.Since(begin), s.source.Count()-polls
		s.wait(30 * time.Second)
		result.converged = result.converged && s.onChain(tip) && s.status().LocalSafeL2 == tip
		result.forced = s.counts.reorg("force_reset")
		result.gap = s.net.gap(begin, time.Now())
		result.lowestLocal = lowest()
		result.finally = s.String()
	})
	return result
}

// The same divergence, on ours and on upstream's light sequencer. Upstream's numbers are logged for comparison; what is
// asserted is ours.
func TestDivergenceBesideUpstream(t *testing.T) {
	for name, fetch := range map[string]bool{"the engine has the blocks": false, "the engine fetches the blocks": true} {
		t.Run(name, func(t *testing.T) {
			ours := runDivergence(t, func(s *stage) { s.boot() }, fetch)
			theirs := runDivergence(t, func(s *stage) { s.bootUpstream() }, fetch)
			for who, r := range map[string]divergence{"ours": ours, "upstream's": theirs} {
				t.Logf("%s: converged %v after %s and %d polls, %d forced resets, longest gap %s, lowest local-safe %d (was 12); finally %s",
					who, r.converged, r.took, r.polls, r.forced, r.gap, r.lowestLocal, r.finally)
			}
			require.True(t, ours.converged)
			require.Equal(t, 1, ours.forced)
			require.LessOrEqual(t, ours.polls, 2)
			require.GreaterOrEqual(t, ours.lowestLocal, uint64(12))
		})
	}
}
