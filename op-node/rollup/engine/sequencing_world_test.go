package engine

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/ethereum-optimism/optimism/op-service/testlog"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// bench is a controller of a light sequencer on a model engine, with the test in the place of the sequencer.
type bench struct {
	t      *testing.T
	chain  *modelel.Chain
	el     *testutil.Engine
	log    *modelel.Recorder
	c      *Controller
	heard  heard
	reorgs map[string]int
	// l1 answers for origins; canonical unless listed.
	l1 map[eth.BlockID]follow.L1Answer
}

// onBench runs a story on a controller that has loaded a chain of five blocks, three of them safe.
func onBench(t *testing.T, story func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, chain: modelel.NewChain(), reorgs: make(map[string]int), l1: make(map[eth.BlockID]follow.L1Answer)}
		b.el = testutil.NewEngine(b.chain, modelel.NewNetwork())
		b.el.Load(b.chain.L2().Blocks(1, 5)...)
		b.el.SetLabels(b.chain.Block(3).Hash(), b.chain.Block(1).Hash())
		b.log = modelel.NewRecorder(b.el.Connect(), b.chain.Name)
		logger := testlog.Logger(t, slog.LevelError+1)
		var err error
		b.c, err = New(Config{Rollup: b.chain.RollupConfig(), PollPeriod: 4 * time.Second, CallTimeout: 5 * time.Second}, Deps{
			Engine: b.log, L1: b, Observer: b, Metrics: b, Clock: clock.SystemClock, Log: logger,
			Role: NewSequencer(SequencerDeps{Events: &b.heard, Metrics: b, Log: logger}),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { require.NoError(t, b.c.Run(ctx)) })
		defer func() {
			cancel()
			running.Wait()
		}()
		b.settle()
		story(b)
	})
}

// settle lets the controller come to rest, and forgets what it said and did so far.
func (b *bench) settle() {
	synctest.Wait()
	b.log.Log().Take()
	b.heard.take()
}

func (b *bench) Canonical(id eth.BlockID) follow.L1Answer {
	if answer, ok := b.l1[id]; ok {
		return answer
	}
	return follow.L1Canonical
}

func (b *bench) Ref(id eth.BlockID) eth.L1BlockRef                      { return testutil.L1Ref(id) }
func (b *bench) Ask(eth.BlockID)                                        {}
func (b *bench) OnSnapshot(*Snapshot)                                   {}
func (b *bench) RecordTask(string, time.Duration, time.Duration, bool)  {}
func (b *bench) RecordUnsafePayloadsBuffer(uint64, uint64, eth.BlockID) {}
func (b *bench) RecordFollowSourceReorg(action string)                  { b.reorgs[action]++ }
func (b *bench) RecordSequencerSealingTime(time.Duration)               {}
func (b *bench) RecordSequencerBuildingDiffTime(time.Duration)          {}
func (b *bench) CountSequencedTxsInBlock(int, int)                      {}

// heard are the events that the sequencer got, by name.
type heard struct {
	mu     sync.Mutex
	events []event.Event
}

func (h *heard) Emit(_ context.Context, ev event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, ev)
}

func (h *heard) take() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range h.events {
		names = append(names, ev.String())
	}
	h.events = nil
	return names
}

// attributes ask for the block that follows a parent on the main chain.
func (b *bench) attributes(parent modelel.Block) *derive.AttributesWithParent {
	payload := b.chain.Block(parent.Ref.Number + 1).Envelope.ExecutionPayload
	gas, fee := payload.GasLimit, uint64(0)
	root := *b.chain.Block(parent.Ref.Number + 1).Envelope.ParentBeaconBlockRoot
	return &derive.AttributesWithParent{Parent: parent.Ref, Attributes: &eth.PayloadAttributes{
		Timestamp: payload.Timestamp, PrevRandao: payload.PrevRandao, SuggestedFeeRecipient: common.Address{1},
		Withdrawals: payload.Withdrawals, ParentBeaconBlockRoot: &root, Transactions: payload.Transactions,
		NoTxPool: true, GasLimit: &gas, EIP1559Params: new(eth.Bytes8), MinBaseFee: &fee,
	}}
}

// build, seal and process do as the sequencer does.
func (b *bench) build(parent modelel.Block) (*upstream.BuildStartResult, error) {
	return b.c.StartBuild(context.Background(), b.attributes(parent))
}

// buildOn is build on whatever block.
func (b *bench) buildOn(parent eth.L2BlockRef) (*upstream.BuildStartResult, error) {
	attrs := b.attributes(b.chain.Block(parent.Number))
	attrs.Parent = parent
	return b.c.StartBuild(context.Background(), attrs)
}

func (b *bench) seal(job *upstream.BuildStartResult) (*upstream.SealResult, error) {
	return b.c.SealBuild(context.Background(), job.Info, job.BuildStarted)
}

func (b *bench) process(block *upstream.SealResult) error {
	return b.c.ProcessPayload(context.Background(), block.Envelope, block.Ref, time.Time{})
}

// sealed is a block on the head that is sealed and not processed yet.
func (b *bench) sealed() *upstream.SealResult {
	b.t.Helper()
	job, err := b.build(b.chain.Block(5))
	require.NoError(b.t, err)
	block, err := b.seal(job)
	require.NoError(b.t, err)
	return block
}

// source hands in a target.
func (b *bench) source(localSafe modelel.Block) {
	b.t.Helper()
	b.sourceOn(b.chain.L1(), localSafe)
}

// sourceOn hands in a target of a source that reads a branch of L1.
func (b *bench) sourceOn(l1 *modelel.L1Branch, localSafe modelel.Block) {
	b.t.Helper()
	status := follow.Status{Safe: localSafe.Ref, LocalSafe: localSafe.Ref, Finalized: b.chain.Block(1).Ref, CurrentL1: l1.Block(20).Ref}
	g := gate{cfg: b.chain.RollupConfig(), el: b.el, l1: b.Canonical, final: func() uint64 { return 20 }}
	_, target, ok := g.judge(status, b.c.Snapshot(), time.Now())
	require.True(b.t, ok)
	b.c.Follow(target)
	synctest.Wait()
}

// fault is what goes wrong with the next call of a method.
type fault func(b *bench, method modelel.Method)

func meets(f modelel.Fault) fault {
	return func(b *bench, method modelel.Method) { b.el.Line.Next(1, f, method) }
}

// says has the engine answer with a status, whatever it was asked.
func says(status eth.ExecutePayloadStatus) fault {
	return func(b *bench, method modelel.Method) { b.el.SayNext(method, status) }
}

// give has the engine look at a block, whatever it makes of it.
func (b *bench) give(block modelel.Block) {
	b.t.Helper()
	_, err := b.el.NewPayload(context.Background(), block.Envelope.ExecutionPayload, block.Envelope.ParentBeaconBlockRoot)
	require.NoError(b.t, err)
}
