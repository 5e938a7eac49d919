package driver

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/testlog"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/l1chain"
)

// world is a rollup with an L1 block every 12 s and an L2 block every 2 s, on the time of a synctest bubble, and one
// follower in it. What honest sources say follows from the time.
type world struct {
	t     testing.TB
	chain *modelel.Chain
	el    *testutil.Engine
	view  *l1chain.View
	l1    *testutil.L1Endpoint
	// mu guards gossip.
	mu      sync.Mutex
	gossip  testutil.Gossip
	driver  *Driver
	metrics *counts
	start   time.Time
	// finality is how many blocks L1 finality is behind.
	finality uint64

	// lowest is checked by watch: no label may fall below it.
	seen follow.Labels
}

// l1FinalityLag is how many blocks L1 finality is behind, as a rule.
const l1FinalityLag = 4

// finalityAfterAGap is for how long the finalized head is behind after a while without statuses: until what L1 has got
// meanwhile is final (spec V8).
const finalityAfterAGap = l1FinalityLag * 12 * time.Second

func newWorld(t testing.TB) *world {
	w := &world{t: t, chain: modelel.NewChain(), metrics: &counts{verdicts: map[string]int{}}, start: time.Now(), finality: l1FinalityLag}
	w.el = testutil.NewEngine(w.chain, modelel.NewNetwork())
	w.gossip = testutil.OnTime(w.chain.L2())
	w.l1 = testutil.NewL1Endpoint(w.chain, 12*time.Second)
	return w
}

// follow makes the follower and starts it. Payloads and L1 heads arrive from then on.
func (w *world) follow(cfg Config, list ...Source) {
	t := w.t
	logger := testlog.Logger(t, slog.LevelError)
	view, err := l1chain.New(l1chain.Config{}, w.l1, logger, l1chain.NullMetrics{}, clock.SystemClock)
	require.NoError(t, err)
	w.view = view
	cfg.Rollup, cfg.EngineTimeout = w.chain.RollupConfig(), time.Second
	w.driver, err = New(cfg, Deps{
		Engine: w.el.Connect(), L1: view, Sources: list, Metrics: w.metrics, Clock: clock.SystemClock, Log: logger,
		Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	})
	require.NoError(t, err)
	require.NoError(t, w.driver.Start())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.beat(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		require.NoError(t, w.driver.Close())
	})
}

// beat lets the chains grow. The follower hears of no L1 block while the endpoint does not answer.
func (w *world) beat(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		l1, l2 := w.l1Head(), w.l2Head()
		if state := w.l1.State(); !state.Stalled && !state.Down {
			l1 -= min(l1, state.Behind)
			w.driver.OnL1Head(ctx, w.chain.L1().Block(l1).Ref)
			w.driver.OnL1Finalized(ctx, w.chain.L1().Block(l1-min(l1, w.finality)).Ref)
		}
		if l2 > 0 {
			for _, b := range w.heard(l2) {
				w.driver.OnUnsafeL2Payload(ctx, b.Envelope)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// heard is what gossip has for the time of a block.
func (w *world) heard(number uint64) []modelel.Block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gossip(number)
}

func (w *world) l1Head() uint64 { return w.l1.Head() }
func (w *world) l2Head() uint64 { return uint64(time.Since(w.start) / (2 * time.Second)) }

// truth is what a deriving node says when it has digested L1 up to a block: batches land two L1 blocks late, and L1
// finalizes after four more.
func (w *world) truth(l1 uint64) follow.Status { return w.version(w.chain.L2(), l1) }

func (w *world) version(branch *modelel.Branch, l1 uint64) follow.Status {
	return w.derivation(branch).At(l1)
}

func (w *world) derivation(branch *modelel.Branch) testutil.Derivation {
	return testutil.Derivation{L1: w.chain.L1(), L2: branch, PerL1: 6, BatchDelay: 2, Finality: l1FinalityLag}
}

// run lets time pass and checks every second that no label went back and that all are on the true chain.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Second)
		synctest.Wait()
		now := w.labels()
		for _, ref := range []eth.L2BlockRef{now.LocalSafe.L2BlockRef, now.Safe.L2BlockRef, now.Finalized.L2BlockRef} {
			require.Equal(w.t, w.chain.Block(ref.Number).Ref, ref, "a false label")
		}
		require.GreaterOrEqual(w.t, now.LocalSafe.Number, w.seen.LocalSafe.Number, "local-safe went back")
		require.GreaterOrEqual(w.t, now.Safe.Number, w.seen.Safe.Number, "safe went back")
		require.GreaterOrEqual(w.t, now.Finalized.Number, w.seen.Finalized.Number, "finalized went back")
		w.seen = now
	}
}

func (w *world) labels() follow.Labels { return w.driver.controller.Snapshot().Heads.Labels }

// requireFollowing checks that the labels are what the truth was one L1 block ago, at least.
func (w *world) requireFollowing() {
	w.t.Helper()
	truth := w.truth(w.l1Head() - 1)
	require.GreaterOrEqual(w.t, w.labels().Safe.Number, truth.Safe.Number)
	require.GreaterOrEqual(w.t, w.labels().Finalized.Number, truth.Finalized.Number)
	ready, why := w.driver.Ready()
	require.True(w.t, ready, why)
}

// requireUnsafe checks that the unsafe head is the newest block.
func (w *world) requireUnsafe() {
	w.t.Helper()
	require.GreaterOrEqual(w.t, w.driver.controller.Snapshot().Heads.Unsafe.Number+1, w.l2Head())
}

// honest is a source that shows the truth, a moment after each L1 block.
func (w *world) honest(name string) *testutil.Source {
	return w.source(name, func() (follow.Status, error) { return w.truth(w.l1Head()), nil })
}

// source is one that says what it is told to.
func (w *world) source(name string, say testutil.Say) *testutil.Source {
	return testutil.NewSource(name, w.chain.RollupConfig(), say)
}

// counts are metrics that can be asked.
type counts struct {
	mu            sync.Mutex
	verdicts      map[string]int
	disagreements int
}

func (c *counts) RecordVerdict(source, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdicts[source+" "+reason]++
}

func (c *counts) RecordDisagreement() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disagreements++
}

func (c *counts) of(source, reason string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdicts[source+" "+reason]
}

func (*counts) RecordTask(string, time.Duration, time.Duration, bool)  {}
func (*counts) RecordUnsafePayloadsBuffer(uint64, uint64, eth.BlockID) {}
func (*counts) RecordFollowSourceReorg(string)                         {}
func (*counts) RecordL1Ref(string, eth.L1BlockRef)                     {}
func (*counts) RecordL2Ref(string, eth.L2BlockRef)                     {}
func (*counts) SetDerivationIdle(bool)                                 {}
func (*counts) RecordFollowSourceRequest(string)                       {}
func (*counts) RecordPoll(string, time.Duration, bool)                 {}
func (*counts) RecordSourceHeads(string, follow.Status)                {}
func (*counts) RecordFollowed(string, string)                          {}
func (*counts) RecordSources([]string, int)                            {}
func (*counts) RecordUnresolved(bool)                                  {}
func (*counts) RecordL1Gap(uint64)                                     {}
func (*counts) RecordFollowState(bool, uint64, time.Duration, int64)   {}
func (*counts) RecordWaiters(int)                                      {}
func (*counts) RecordWait(string)                                      {}
