package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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
	"github.com/lightcl/op-node/op-node/rollup/engine/modelel"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// bench is a controller of a light sequencer on a model engine, with the test in the place of the sequencer.
type bench struct {
	t      *testing.T
	chain  *modelel.Chain
	el     *modelel.EL
	engine *modelel.Faulty
	odd    *oddEngine
	log    *modelel.Recorder
	c      *Controller
	heard  heard
	reorgs map[string]int
	// l1 answers for origins; canonical unless listed.
	l1 map[eth.BlockID]follow.L1Answer
}

// onBench runs a story on a controller that has loaded a chain of five blocks, three of them safe.
func onBench(t *testing.T, patience time.Duration, story func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, chain: modelel.NewChain(), reorgs: make(map[string]int), l1: make(map[eth.BlockID]follow.L1Answer)}
		b.el = b.chain.NewEL()
		b.el.Load(b.chain.L2().Blocks(1, 5)...)
		b.el.SetLabels(b.chain.Block(3).Hash(), b.chain.Block(1).Hash())
		b.engine = modelel.NewFaulty(b.el)
		b.odd = &oddEngine{Faulty: b.engine}
		b.log = modelel.NewRecorder(b.odd, b.chain.Name)
		logger := testlog.Logger(t, slog.LevelError+1)
		var err error
		b.c, err = New(Config{Rollup: b.chain.RollupConfig(), PollPeriod: 4 * time.Second, CallTimeout: 5 * time.Second}, Deps{
			Engine: b.log, L1: b, Observer: b, Metrics: b, Clock: clock.SystemClock, Log: logger,
			Role: NewSequencer(SequencerConfig{Patience: patience}, SequencerDeps{Events: &b.heard, Metrics: b, Log: logger}),
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
	genesis := b.chain.Genesis()
	status := follow.Status{Safe: localSafe.Ref, LocalSafe: localSafe.Ref, Finalized: b.chain.Block(1).Ref, CurrentL1: b.chain.L1().Block(20).Ref}
	cfg := b.chain.RollupConfig()
	chain := follow.Chain{Genesis: cfg.Genesis.L2, GenesisTime: genesis.Ref.Time, BlockTime: cfg.BlockTime}
	prev := b.c.Snapshot().Applied()
	facts := follow.Facts{Chain: chain, L1: make(follow.L1Facts)}
	for _, id := range follow.L1Refs(status, prev) {
		facts.L1[id] = follow.L1Canonical
	}
	target, ok := follow.Validate(status, facts, prev).Accepted()
	require.True(b.t, ok)
	b.c.Follow(target)
	synctest.Wait()
}

func TestBuildSealProcess(t *testing.T) {
	onBench(t, 0, func(b *bench) {
		job, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
		require.Equal(t, b.chain.Block(5).Ref, job.Parent)
		require.Equal(t, []string{"forkchoice-update"}, b.heard.take())
		block, err := b.seal(job)
		require.NoError(t, err)
		require.Equal(t, b.chain.Block(5).Hash(), block.Ref.ParentHash)
		require.Empty(t, b.heard.take(), "a sealed block is nobody's business yet")
		unnamed := b.chain.Name(block.Ref.Hash)
		b.chain.Call(block.Ref.Hash, "6own")
		require.NoError(t, b.process(block))
		require.Equal(t, []string{"forkchoice-update", "unsafe-update"}, b.heard.take())
		require.Equal(t, block.Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		synctest.Wait()
		require.Equal(t, strings.Join([]string{
			"FCU head=5 safe=3 fin=1 build@946684812 → VALID", "getPayload @946684812 → " + unnamed,
			"newPayload 6own → VALID", "FCU head=6own safe=3 fin=1 → VALID", ""}, "\n"), modelel.Lines(b.log.Log().Take()))
	})
}

// T8: what does not extend the head is turned away at the door.
func TestStaleBuildsAreNeverSent(t *testing.T) {
	onBench(t, 0, func(b *bench) {
		_, err := b.build(b.chain.Block(4))
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		require.Equal(t, []string{"forkchoice-update"}, b.heard.take(), "the head is announced")

		job, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
		block, err := b.seal(job)
		require.NoError(t, err)
		require.NoError(t, b.c.Insert(b.chain.Block(6).Envelope))
		synctest.Wait()
		require.Equal(t, b.chain.Block(6).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		b.settle()
		_, err = b.seal(job)
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		require.ErrorIs(t, b.process(block), upstream.ErrStaleBuild)
		unknown := *job
		unknown.Info.ID[3]++
		_, err = b.seal(&unknown)
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		require.Equal(t, []string{"forkchoice-update", "forkchoice-update", "forkchoice-update"}, b.heard.take())
		require.Zero(t, b.log.Log().Count(), "the engine heard nothing of it: %s", b.log.Log())
	})
}

// What the engine answers decides what the sequencer is told, by error and by event.
func TestBuildFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault  fault
		is     error
		events []string
		resets bool // it is found out where the engine stands
	}{
		"transport":            {meets(modelel.Drop()), nil, []string{"engine-temporary-error"}, false},
		"no answer":            {meets(modelel.NilAnswer()), nil, []string{"engine-temporary-error"}, false},
		"empty answer":         {meets(modelel.EmptyAnswer()), nil, []string{"engine-temporary-error"}, false},
		"engine forgot":        {meets(modelel.Forget()), nil, []string{"engine-temporary-error"}, true},
		"inconsistent":         {meets(modelel.RPCError(-38002, "invalid forkchoice state")), nil, []string{"reset-event"}, true},
		"other engine error":   {meets(modelel.RPCError(-38004, "too large request")), nil, []string{"reset-event"}, true},
		"other error":          {meets(modelel.RPCError(-32000, "what")), nil, []string{"engine-temporary-error"}, false},
		"attributes refused":   {meets(modelel.RPCError(-38003, "invalid payload attributes")), upstream.ErrBuildInvalid, []string{"build-invalid"}, false},
		"parent refused":       {says(eth.ExecutionInvalid), upstream.ErrBuildInvalid, []string{"build-invalid"}, false},
		"valid without an id":  {says(eth.ExecutionValid), nil, []string{"engine-temporary-error"}, false},
		"an unheard-of answer": {says("PERHAPS"), nil, []string{"engine-temporary-error"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, 0, func(b *bench) {
				c.fault(b, modelel.FCU)
				_, err := b.build(b.chain.Block(5))
				require.Error(t, err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				require.NotErrorIs(t, err, upstream.ErrStaleBuild)
				require.Equal(t, c.events, b.heard.take())
				synctest.Wait()
				require.Equal(t, c.resets, b.log.Log().Count(modelel.ByHash) > 0, "%s", b.log.Log())
				_, err = b.build(b.chain.Block(5))
				require.NoError(t, err, "the next attempt")
			})
		})
	}
}

func TestSealFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault modelel.Fault
		is    error
	}{
		"unknown":    {modelel.RPCError(-38001, "unknown payload"), upstream.ErrSealExpired},
		"transport":  {modelel.Drop(), upstream.ErrSealExpired},
		"no payload": {modelel.NilAnswer(), upstream.ErrSealExpired},
		"empty":      {modelel.EmptyAnswer(), upstream.ErrSealExpired},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, 0, func(b *bench) {
				job, err := b.build(b.chain.Block(5))
				require.NoError(t, err)
				b.heard.take()
				b.engine.Next(1, c.fault, modelel.GetPayload)
				_, err = b.seal(job)
				require.ErrorIs(t, err, c.is)
				require.Empty(t, b.heard.take(), "the caller has the error, nobody else needs it")
				require.NoError(t, b.process(b.sealed()))
			})
		})
	}
}

func TestCountDeposits(t *testing.T) {
	deposit, other := eth.Data{0x7e, 1}, eth.Data{2, 1}
	for name, c := range map[string]struct {
		txs   []eth.Data
		count int
		fails bool
	}{
		"one":         {[]eth.Data{deposit}, 1, false},
		"then others": {[]eth.Data{deposit, deposit, other, other}, 2, false},
		"none":        {nil, 0, true},
		"only others": {[]eth.Data{other}, 0, true},
		"late":        {[]eth.Data{deposit, other, deposit}, 0, true},
		"empty":       {[]eth.Data{deposit, {}}, 0, true},
	} {
		count, err := countDeposits(c.txs)
		require.Equal(t, c.fails, err != nil, name)
		require.Equal(t, c.count, count, name)
	}
}

func TestProcessFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault  fault
		method modelel.Method
		is     error
		events []string
		gone   bool // the block is not to be tried again
	}{
		"new payload: transport": {meets(modelel.Drop()), modelel.NewPayload, nil, []string{"engine-temporary-error"}, false},
		"new payload: syncing":   {meets(modelel.Forget()), modelel.NewPayload, nil, []string{"engine-temporary-error"}, false},
		"new payload: invalid":   {says(eth.ExecutionInvalid), modelel.NewPayload, upstream.ErrPayloadInvalid, []string{"payload-invalid"}, true},
		"new payload: bad hash":  {says(eth.ExecutionInvalidBlockHash), modelel.NewPayload, upstream.ErrPayloadInvalid, []string{"payload-invalid"}, true},
		"head: transport":        {meets(modelel.Drop()), modelel.FCU, nil, []string{"engine-temporary-error"}, false},
		"head: answer lost":      {meets(modelel.Late(modelel.Drop())), modelel.FCU, nil, []string{"engine-temporary-error"}, false},
		"head: inconsistent":     {meets(modelel.RPCError(-38002, "invalid forkchoice state")), modelel.FCU, nil, []string{"reset-event"}, false},
		"head: invalid":          {says(eth.ExecutionInvalid), modelel.FCU, upstream.ErrPayloadInvalid, []string{"payload-invalid"}, true},
		"head: syncing":          {meets(modelel.Forget()), modelel.FCU, nil, []string{"engine-temporary-error"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, 0, func(b *bench) {
				block := b.sealed()
				b.heard.take()
				c.fault(b, c.method)
				err := b.process(block)
				require.Error(t, err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				require.Equal(t, c.events, b.heard.take())
				require.Equal(t, b.chain.Block(5).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef, "nothing moves")
				time.Sleep(time.Second)
				synctest.Wait()
				if !c.gone {
					require.NoError(t, b.process(block), "the sequencer tries again")
					require.Equal(t, block.Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
				}
			})
		})
	}
}

// fault is what goes wrong with the next call of a method.
type fault func(b *bench, method modelel.Method)

func meets(f modelel.Fault) fault {
	return func(b *bench, method modelel.Method) { b.engine.Next(1, f, method) }
}

// says has the engine answer with a status, whatever it was asked.
func says(status eth.ExecutePayloadStatus) fault {
	return func(b *bench, method modelel.Method) { b.odd.next(method, status) }
}

// oddEngine is an engine that can be made to answer with any status.
type oddEngine struct {
	*modelel.Faulty
	mu     sync.Mutex
	method modelel.Method
	status eth.ExecutePayloadStatus
}

func (o *oddEngine) next(method modelel.Method, status eth.ExecutePayloadStatus) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.method, o.status = method, status
}

func (o *oddEngine) take(method modelel.Method) (eth.PayloadStatusV1, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.method != method {
		return eth.PayloadStatusV1{}, false
	}
	o.method = ""
	return eth.PayloadStatusV1{Status: o.status}, true
}

func (o *oddEngine) ForkchoiceUpdate(ctx context.Context, fc *eth.ForkchoiceState, attrs *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	if status, ok := o.take(modelel.FCU); ok {
		return &eth.ForkchoiceUpdatedResult{PayloadStatus: status}, nil
	}
	return o.Faulty.ForkchoiceUpdate(ctx, fc, attrs)
}

func (o *oddEngine) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	if status, ok := o.take(modelel.NewPayload); ok {
		return &status, nil
	}
	return o.Faulty.NewPayload(ctx, payload, root)
}

// T7: while the engine fetches a target off the own chain, nothing is begun, and what was begun is cancelled; what was
// sealed, and so perhaps published, is still taken in.
func TestBuildingIsHeldForATarget(t *testing.T) {
	onBench(t, 30*time.Second, func(b *bench) {
		other := b.chain.L2().Fork("b", 3)
		sealed := b.sealed()
		job, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
		b.settle()
		b.source(other.Block(4))
		require.Equal(t, 1, b.log.Log().Count(modelel.GetPayload), "the build in flight is cancelled: %s", b.log.Log())
		require.Equal(t, other.Block(4).Ref, b.c.Snapshot().Pending)
		_, err = b.seal(job)
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		_, err = b.build(b.chain.Block(5))
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		require.NoError(t, b.process(sealed))
		b.heard.take()

		// The engine gets it.
		b.el.Load(b.chain.Block(5)) // keeps the head where it is
		b.give(other.Block(4))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, other.Block(4).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		names := b.heard.take()
		require.Contains(t, names, "diverged")
		require.Contains(t, names, "engine-reset-confirmed")
		require.Equal(t, map[string]int{"force_reset": 1}, b.reorgs)
		attrs := b.attributes(b.chain.Block(4))
		attrs.Parent = other.Block(4).Ref
		_, err = b.c.StartBuild(context.Background(), attrs)
		require.NoError(t, err)
	})
}

// The engine has the source's head already. Only a head that leaves own blocks behind is a reset.
func TestDivergenceAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fork   bool
		number uint64
		events []string
		reorgs map[string]int
	}{
		"another block": {true, 4, []string{"diverged", "forkchoice-update", "forkchoice-update", "engine-reset-confirmed"},
			map[string]int{"force_reset": 1}},
		"another chain, and ahead": {true, 8, []string{"diverged", "forkchoice-update", "forkchoice-update", "engine-reset-confirmed"},
			map[string]int{"force_reset": 1}},
		"the own chain, ahead": {false, 8, []string{"forkchoice-update"}, map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, 30*time.Second, func(b *bench) {
				branch := b.chain.L2()
				if c.fork {
					branch = branch.Fork("b", 3)
				}
				for _, block := range branch.Blocks(4, c.number) {
					b.give(block)
				}
				b.settle()
				b.source(branch.Block(c.number))
				require.Equal(t, branch.Block(c.number).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
				require.Equal(t, c.events, b.heard.take())
				require.Equal(t, c.reorgs, b.reorgs)
				require.Equal(t, 1, b.log.Log().Count(modelel.FCU), "%s", b.log.Log())
			})
		})
	}
}

func (b *bench) give(block modelel.Block) {
	b.t.Helper()
	_, err := b.el.NewPayload(context.Background(), block.Envelope.ExecutionPayload, block.Envelope.ParentBeaconBlockRoot)
	require.NoError(b.t, err)
}

// A target that passes by without being reached leaves the sequencer where it was, at once.
func TestBuildingGoesOnWhenATargetIsRefused(t *testing.T) {
	onBench(t, 30*time.Second, func(b *bench) {
		other := b.chain.L2().Fork("b", 3)
		b.source(other.Block(4))
		_, err := b.build(b.chain.Block(5))
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		b.heard.take()
		b.odd.next(modelel.FCU, eth.ExecutionInvalid)
		time.Sleep(time.Second) // a probe
		synctest.Wait()
		require.Equal(t, []string{"forkchoice-update", "engine-reset-confirmed"}, b.heard.take())
		require.Equal(t, follow.EngineInvalid, b.c.Snapshot().Outcome.Reason)
		_, err = b.build(b.chain.Block(5))
		require.NoError(t, err)
	})
}

// A source whose head the engine refuses every time does not disturb the making of blocks at all.
func TestInvalidTargetsDoNotDisturb(t *testing.T) {
	onBench(t, 30*time.Second, func(b *bench) {
		other := b.chain.L2().Fork("b", 3)
		b.el.MarkInvalid(other.Block(4).Hash())
		b.give(other.Block(4))
		job, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
		b.settle()
		b.source(other.Block(4))
		require.Equal(t, follow.EngineInvalid, b.c.Snapshot().Outcome.Reason)
		require.Empty(t, b.heard.take())
		block, err := b.seal(job)
		require.NoError(t, err)
		require.NoError(t, b.process(block))
	})
}

// The sequencer asks for a reset; there may be nothing to walk back, but it has to hear that it may go on.
func TestRecoverIsAlwaysConfirmed(t *testing.T) {
	onBench(t, 0, func(b *bench) {
		b.c.Recover()
		synctest.Wait()
		require.Equal(t, []string{"forkchoice-update", "engine-reset-confirmed"}, b.heard.take())
		require.Zero(t, b.log.Log().Count())

		b.l1[b.chain.Block(5).Ref.L1Origin] = follow.L1Mismatch
		b.c.Recover()
		synctest.Wait()
		require.Equal(t, []string{"diverged", "forkchoice-update", "forkchoice-update", "engine-reset-confirmed"}, b.heard.take())
		require.Equal(t, b.chain.Block(3).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	onBench(t, 0, func(b *bench) {
		gate := modelel.NewGate()
		b.engine.Next(1, gate.Hold(), modelel.FCU)
		go func() { _, _ = b.build(b.chain.Block(5)) }()
		synctest.Wait()
		b.log.Log().Take()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() {
			_, err := b.c.StartBuild(ctx, b.attributes(b.chain.Block(5)))
			done <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		gate.Release()
		synctest.Wait()
		require.Equal(t, 1, b.log.Log().Count(modelel.FCU), "work that nobody waits for is not begun: %s", b.log.Log())
	})
	onBench(t, 0, func(b *bench) {
		b.c.stop()
		_, err := b.build(b.chain.Block(5))
		if !errors.Is(err, ErrStopped) {
			require.NoError(t, err, "the outcome, or that there is none")
		}
	})
}

// A verifier makes no blocks, whoever asks.
func TestVerifierRefusesToBuild(t *testing.T) {
	require.Error(t, Verifier{}.refuses())
	require.Empty(t, Verifier{}.reorged(follow.CaseAhead, nil))
	require.Equal(t, "soft_update", Verifier{}.reorged(follow.CaseReorg, nil))
}

func TestQueueOfCalls(t *testing.T) {
	now := time.Unix(1000, 0)
	q := newQueue(4 * time.Second)
	callOf := func(kind Kind) task {
		return task{kind: kind, queued: now, call: &call{ctx: context.Background(), work: func(context.Context) error { return nil }}}
	}
	q.post(task{kind: KindFollow, queued: now.Add(-time.Minute)})
	q.post(task{kind: KindInsert, queued: now})
	q.post(callOf(KindSeal))
	q.post(callOf(KindBuild))
	q.post(callOf(KindBuild))
	q.post(task{kind: KindReset, queued: now})
	var order []Kind
	for {
		next, ok := q.next(now)
		if !ok {
			break
		}
		order = append(order, next.kind)
	}
	require.Equal(t, []Kind{KindReset, KindSeal, KindBuild, KindBuild, KindFollow, KindInsert}, order,
		"recovery, then calls as they came, then what waited too long, then the rest")
}

func TestPause(t *testing.T) {
	const patience = 30 * time.Second
	type at struct {
		second   int
		obstacle obstacle
		want     pauseChange
	}
	for name, story := range map[string]struct {
		patience time.Duration
		steps    []at
	}{
		"nothing happens": {patience, []at{{0, obstacleNone, pauseSame}, {50, obstacleNone, pauseSame}}},
		"resolved":        {patience, []at{{0, obstacleTarget, pauseBegan}, {29, obstacleTarget, pauseSame}, {29, obstacleNone, pauseEnded}}},
		"lapsed": {patience, []at{{0, obstacleTarget, pauseBegan}, {30, obstacleTarget, pauseLapsed}, {31, obstacleTarget, pauseSame},
			{90, obstacleTarget, pauseSame}, {91, obstacleNone, pauseSame}, {92, obstacleTarget, pauseBegan}}},
		"for ever":     {0, []at{{0, obstacleTarget, pauseBegan}, {3600, obstacleTarget, pauseSame}, {3601, obstacleNone, pauseEnded}}},
		"initial sync": {patience, []at{{0, obstacleSync, pauseBegan}, {3600, obstacleSync, pauseSame}, {3601, obstacleNone, pauseEnded}}},
	} {
		p := pause{patience: story.patience}
		for _, step := range story.steps {
			now := time.Unix(int64(step.second), 0)
			require.Equal(t, step.want, p.update(now, step.obstacle), "%s, second %d", name, step.second)
			if deadline := p.deadline(); !deadline.IsZero() {
				require.True(t, deadline.After(now), "%s: a deadline that is over would be a hot loop", name)
			}
		}
	}
}
