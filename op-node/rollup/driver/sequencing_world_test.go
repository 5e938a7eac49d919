package driver_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	opmetrics "github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/ethereum-optimism/optimism/op-service/testlog"
	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/l1chain"
)

// stage is a rollup in the time of a synctest bubble: L1 with a block every 12 s, an execution engine, and a source that
// says what it is told to say. A light sequencer, ours or upstream's, makes a block every 2 s on it.
type stage struct {
	t      testing.TB
	chain  *modelel.Chain
	el     *testutil.Engine
	engine *modelel.Faulty // the line to it
	peers  *modelel.Network
	// l1Open is an L1 that never becomes final, so that it can be reorged.
	l1Open bool
	// watched is what the controller is given for the node's client of the engine.
	watched func(client modelel.Engine) modelel.Engine
	l1      *testutil.L1Endpoint
	source  *sourceActor
	net     *publications
	counts  *counters
	leader  conductor.SequencerConductor
	state   *sequencerState
	log     log.Logger
	node    lightNode
	// eventDelay is how long the events of production take.
	eventDelay time.Duration
	// stop ends the node.
	stop  func()
	start time.Time

	// production and config are adjusted by a test before boot.
	production driver.Production
	config     driver.Config
}

// lightNode is a light sequencer.
type lightNode interface {
	Start() error
	Close() error
	OnL1Head(ctx context.Context, ref eth.L1BlockRef)
	SyncStatus(ctx context.Context) (*eth.SyncStatus, error)
	StartSequencer(ctx context.Context, head common.Hash) error
	StopSequencer(ctx context.Context) (common.Hash, error)
	SequencerActive(ctx context.Context) (bool, error)
}

const (
	blockTime   = 2 * time.Second
	l1BlockTime = 12 * time.Second
	pollTime    = 2 * blockTime
)

// perform runs a story in a bubble of time.
func perform(t *testing.T, story func(s *stage)) {
	synctest.Test(t, func(t *testing.T) { story(newStage(t)) })
}

func newStage(t testing.TB, opts ...modelel.Option) *stage {
	s := &stage{t: t, chain: modelel.NewChain(), peers: modelel.NewNetwork(), start: time.Now(), net: new(publications),
		counts: newCounters(), leader: new(conductor.NoOpConductor), state: new(sequencerState),
		log: testlog.Logger(t, slog.LevelError+1), watched: func(client modelel.Engine) modelel.Engine { return client }}
	s.reopen(opts...)
	s.l1 = testutil.NewL1Endpoint(s.chain, l1BlockTime)
	s.source = newSourceActor(s)
	s.config = driver.Config{Rollup: s.chain.RollupConfig(), EngineTimeout: 5 * time.Second, PollInterval: pollTime, FixedInterval: true}
	return s
}

// reopen replaces the engine by an empty one.
func (s *stage) reopen(opts ...modelel.Option) {
	s.el = testutil.NewEngine(s.chain, s.peers, opts...)
	s.engine = s.el.Line
}

// boot starts our light sequencer, and L1.
func (s *stage) boot() *driver.Driver {
	view, err := l1chain.New(l1chain.Config{}, s.l1, s.log, l1chain.NullMetrics{}, clock.SystemClock)
	require.NoError(s.t, err)
	events := newEvents(s.t)
	p := s.production
	client := s.el.Connect()
	p.L1Chain, p.L1, p.L2 = s.chain.L1ChainConfig(), s.l1, client
	p.Network, p.Conductor, p.State, p.Metrics = s.net, s.leader, s.state, s.counts
	p.Events, p.Drain = events.Sys, slowDrain{events.exec, s.eventDelay}
	list := []driver.Source{s.source}
	for i := 1; i < s.config.Quorum; i++ {
		s.source.twins = nil
		list = append(list, s.source.twin())
	}
	d, err := driver.New(s.config, driver.Deps{
		Engine: s.watched(client), L1: view, Sources: list, Metrics: s.counts, Clock: clock.SystemClock, Log: s.log,
		Fatal: func(err error) { s.t.Errorf("fatal: %v", err) }, Production: &p,
	})
	require.NoError(s.t, err)
	s.run(d)
	return d
}

// run starts a node and feeds it L1 heads until the end of the test.
func (s *stage) run(node lightNode) {
	s.node = node
	require.NoError(s.t, node.Start())
	ctx, cancel := context.WithCancel(context.Background())
	var beat sync.WaitGroup
	beat.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			if ref, err := s.l1.L1BlockRefByLabel(ctx, eth.Unsafe); err == nil {
				node.OnL1Head(ctx, ref)
				s.finalize(ctx, ref.Number)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		beat.Wait()
		require.NoError(s.t, node.Close())
	})
	s.t.Cleanup(s.stop)
}

// finalize tells the node what is final of L1, if it wants to know: what the source has derived from, unless L1 is open.
func (s *stage) finalize(ctx context.Context, head uint64) {
	node, wants := s.node.(interface {
		OnL1Finalized(context.Context, eth.L1BlockRef)
	})
	s.source.mu.Lock()
	final := min(s.source.say.CurrentL1.Number, head)
	s.source.mu.Unlock()
	if !wants || s.l1Open {
		return
	}
	if ref, err := s.l1.L1BlockRefByNumber(ctx, final); err == nil {
		node.OnL1Finalized(ctx, ref)
	}
}

// wait lets time pass, and what happens in it happen.
func (s *stage) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until waits for a condition, and says how long that took.
func (s *stage) until(limit time.Duration, what string, reached func() bool) time.Duration {
	s.t.Helper()
	begin := time.Now()
	for !reached() {
		require.Less(s.t, time.Since(begin), limit, "waiting for %s; status %v", what, s)
		s.wait(50 * time.Millisecond)
	}
	return time.Since(begin)
}

func (s *stage) status() *eth.SyncStatus {
	status, err := s.node.SyncStatus(context.Background())
	require.NoError(s.t, err)
	return status
}

func (s *stage) head() eth.L2BlockRef { return s.status().UnsafeL2 }

// String shows the heads.
func (s *stage) String() string {
	st := s.status()
	return fmt.Sprintf("unsafe %s, local-safe %s, safe %s, finalized %s; engine %s", st.UnsafeL2, st.LocalSafeL2, st.SafeL2, st.FinalizedL2, s.el)
}

// own is a block of the engine's chain.
func (s *stage) own(number uint64) modelel.Block {
	s.t.Helper()
	ref, err := s.el.L2BlockRefByNumber(context.Background(), number)
	require.NoError(s.t, err)
	envelope, err := s.el.PayloadByHash(context.Background(), ref.Hash)
	require.NoError(s.t, err)
	return modelel.Block{Ref: ref, Envelope: envelope}
}

// onChain tells whether a block is on the engine's chain.
func (s *stage) onChain(ref eth.L2BlockRef) bool {
	have, err := s.el.L2BlockRefByNumber(context.Background(), ref.Number)
	return err == nil && have == ref
}

// replace makes another version of the chain above a block, with the origins of the own blocks as far as there are any,
// and then those that blocks of these times have as a rule.
func (s *stage) replace(shared modelel.Block, blocks int, salt string) []modelel.Block {
	s.t.Helper()
	var origins []modelel.L1Block
	for number := shared.Ref.Number + 1; number <= shared.Ref.Number+uint64(blocks); number++ {
		origin := number * uint64(blockTime/time.Second) / uint64(l1BlockTime/time.Second)
		if number <= s.el.Heads().Latest.Number {
			origin = s.own(number).Ref.L1Origin.Number
		}
		origins = append(origins, s.l1.Branch().Block(origin))
	}
	return s.chain.Extend(shared, salt, origins...)
}

// events is an event system that somebody listens to for critical errors.
type events struct {
	*event.Sys
	exec *event.GlobalSyncExec
}

func newEvents(t testing.TB) events {
	ctx, cancel := context.WithCancel(context.Background())
	exec := event.NewGlobalSynchronous(ctx)
	system := event.NewSystem(testlog.Logger(t, slog.LevelError+1), exec)
	system.Register("critical", event.DeriverFunc(func(_ context.Context, ev event.Event) bool {
		x, ok := ev.(rollup.CriticalErrorEvent)
		if ok {
			t.Errorf("critical: %v", x.Err)
		}
		return ok
	}))
	t.Cleanup(func() {
		cancel()
		system.Stop()
	})
	return events{system, exec}
}

// slowDrain takes a while to run events.
type slowDrain struct {
	*event.GlobalSyncExec
	delay time.Duration
}

func (d slowDrain) Drain() error {
	if d.delay > 0 {
		time.Sleep(d.delay)
	}
	return d.GlobalSyncExec.Drain()
}

// sourceActor is a source that says what it is told to, and others that say the same.
type sourceActor struct {
	*testutil.Source
	s     *stage
	twins []*testutil.Source

	mu  sync.Mutex
	say follow.Status
	// delay is how long an answer takes; stalled tells that it does not come, down that there is none.
	delay         time.Duration
	stalled, down bool
	// reads is whether the source goes on to read L1 while it says the same heads.
	reads bool
}

func newSourceActor(s *stage) *sourceActor {
	genesis := s.chain.Genesis().Ref
	a := &sourceActor{s: s, say: follow.Status{Safe: genesis, LocalSafe: genesis, Finalized: genesis, CurrentL1: s.chain.L1().Block(0).Ref}}
	a.Source = testutil.NewSource("source-0", s.chain.RollupConfig(), a.answer)
	return a
}

// twin is another source that says the same.
func (a *sourceActor) twin() *testutil.Source {
	twin := testutil.NewSource(fmt.Sprintf("source-%d", len(a.twins)+1), a.s.chain.RollupConfig(), a.Saying())
	a.twins = append(a.twins, twin)
	return twin
}

// answer is what the source says if it does not stall.
func (a *sourceActor) answer() (follow.Status, error) {
	a.mu.Lock()
	delay := a.delay
	a.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return testutil.Down()()
	}
	say := a.say
	if number := uint64(time.Since(a.s.start) / l1BlockTime); a.reads && number > say.CurrentL1.Number {
		say.CurrentL1 = a.s.l1.Branch().Block(number).Ref
	}
	return say, nil
}

// derives tells the source that the engine's chain up to here is local-safe and safe, up to there finalized.
func (a *sourceActor) derives(localSafe, finalized uint64) {
	a.says(a.s.own(localSafe).Ref, a.s.own(finalized).Ref)
}

// says gives the source its heads; its current L1 is the newest L1 block.
func (a *sourceActor) says(localSafe, finalized eth.L2BlockRef) {
	number := max(a.s.l1.Head(), localSafe.L1Origin.Number)
	current := a.s.l1.Branch().Block(number).Ref
	a.set(func(a *sourceActor) {
		a.say = follow.Status{Safe: localSafe, LocalSafe: localSafe, Finalized: finalized, CurrentL1: current}
	})
}

func (a *sourceActor) stall(on bool) { a.set(func(a *sourceActor) { a.stalled = on }) }

func (a *sourceActor) set(change func(*sourceActor)) {
	a.mu.Lock()
	change(a)
	say := a.answer
	if a.stalled {
		say = nil
	}
	a.mu.Unlock()
	for _, source := range append([]*testutil.Source{a.Source}, a.twins...) {
		source.Does(say)
	}
}

// keepUp has the source derive the engine's chain, some blocks behind, until the returned function is called.
func (s *stage) keepUp(behind uint64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if tip := s.el.Heads().Latest.Number; tip > behind {
				safe, err := s.el.L2BlockRefByNumber(ctx, tip-behind)
				final, finalErr := s.el.L2BlockRefByNumber(ctx, (tip-behind)/2)
				if err == nil && finalErr == nil { // not if the engine has just gone back
					s.source.says(safe, final)
				}
			}
			time.Sleep(time.Second)
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	s.t.Cleanup(stop)
	return stop
}

// publications are the blocks that were published, with their times.
type publications struct {
	mu     sync.Mutex
	blocks []publication
}

type publication struct {
	at  time.Time
	ref eth.BlockRef
}

func (p *publications) SignAndPublishL2Payload(_ context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
	payload := envelope.ExecutionPayload
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocks = append(p.blocks, publication{time.Now(), eth.BlockRef{
		Hash: payload.BlockHash, Number: uint64(payload.BlockNumber), ParentHash: payload.ParentHash, Time: uint64(payload.Timestamp)}})
	return nil
}

// since are the blocks published from a time on.
func (p *publications) since(t time.Time) []publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.blocks {
		if !b.at.Before(t) {
			return append([]publication(nil), p.blocks[i:]...)
		}
	}
	return nil
}

// gap is the longest time without a block between two times.
func (p *publications) gap(from, to time.Time) time.Duration {
	var longest time.Duration
	last := from
	for _, b := range append(p.since(from), publication{at: to}) {
		if b.at.After(to) {
			b.at = to
		}
		longest = max(longest, b.at.Sub(last))
		last = b.at
	}
	return longest
}

// counters are metrics that can be asked.
type counters struct {
	opmetrics.Metricer
	mu      sync.Mutex
	reorgs  map[string]int
	reasons map[string]int
	resets  int
	// onReorg and onTask hear of moved heads and of finished tasks, in the engine controller's goroutine.
	onReorg func(action string)
	onTask  func(kind string, failed bool)
	// onHead hears of published heads that changed, in the same goroutine.
	onHead func(name string, ref eth.L2BlockRef)
	// onL1 hears of published L1 blocks that changed, the current L1 among them in the same goroutine.
	onL1 func(name string, ref eth.L1BlockRef)
}

func newCounters() *counters {
	return &counters{Metricer: opmetrics.NoopMetrics, reorgs: make(map[string]int), reasons: make(map[string]int),
		onReorg: func(string) {}, onTask: func(string, bool) {}, onHead: func(string, eth.L2BlockRef) {}, onL1: func(string, eth.L1BlockRef) {}}
}

func (c *counters) RecordFollowSourceReorg(action string) {
	c.onReorg(action)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reorgs[action]++
}

func (c *counters) RecordSequencerReset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
}

func (c *counters) reorg(action string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reorgs[action]
}

func (c *counters) RecordL2Ref(name string, ref eth.L2BlockRef) { c.onHead(name, ref) }

func (c *counters) RecordL1Ref(name string, ref eth.L1BlockRef) { c.onL1(name, ref) }

func (c *counters) RecordTask(kind string, _, _ time.Duration, failed bool) { c.onTask(kind, failed) }

func (*counters) RecordPoll(string, time.Duration, bool)               {}
func (*counters) RecordVerdict(string, string)                         {}
func (*counters) RecordSourceHeads(string, follow.Status)              {}
func (*counters) RecordFollowed(string, string)                        {}
func (*counters) RecordSources([]string, int)                          {}
func (*counters) RecordUnresolved(bool)                                {}
func (*counters) RecordDisagreement()                                  {}
func (*counters) RecordL1Gap(uint64)                                   {}
func (*counters) RecordFollowState(bool, uint64, time.Duration, int64) {}
func (*counters) RecordWaiters(int)                                    {}
func (*counters) RecordWait(string)                                    {}

// sequencerState remembers what production was last told to do.
type sequencerState struct {
	mu      sync.Mutex
	started bool
}

func (s *sequencerState) SequencerStarted() error { return s.set(true) }
func (s *sequencerState) SequencerStopped() error { return s.set(false) }

// says is what a node that starts would be told.
func (s *sequencerState) says() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

func (s *sequencerState) set(started bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = started
	return nil
}
