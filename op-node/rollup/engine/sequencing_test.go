package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

func TestBuildSealProcess(t *testing.T) {
	onBench(t, func(b *bench) {
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

// spec T8, S3: what does not extend the head is turned away at the door.
func TestStaleBuildsAreNeverSent(t *testing.T) {
	onBench(t, func(b *bench) {
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
			onBench(t, func(b *bench) {
				c.fault(b, modelel.FCU)
				_, err := b.build(b.chain.Block(5))
				require.Error(t, err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				require.NotErrorIs(t, err, upstream.ErrStaleBuild)
				require.Equal(t, c.events, b.heard.take())
				synctest.Wait()
				require.Equal(t, c.resets, b.log.Log().Count(modelel.FCU) > 1, "the engine is told the heads again: %s", b.log.Log())
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
			onBench(t, func(b *bench) {
				job, err := b.build(b.chain.Block(5))
				require.NoError(t, err)
				b.heard.take()
				b.el.Line.Next(1, c.fault, modelel.GetPayload)
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
			onBench(t, func(b *bench) {
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

// spec S1: while the engine fetches a target, blocks go on on the own head. Once it has it, the build in flight is cancelled
// and the head moves once.
func TestBuildingGoesOnWhileATargetIsFetched(t *testing.T) {
	onBench(t, func(b *bench) {
		other := b.chain.L2().Fork("b", 3)
		sealed := b.sealed()
		job, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
		b.settle()
		b.source(other.Block(4))
		require.Zero(t, b.log.Log().Count(modelel.GetPayload), "the build in flight is left alone: %s", b.log.Log())
		require.Equal(t, other.Block(4).Ref, b.c.Snapshot().Pending)
		_, err = b.seal(job)
		require.NoError(t, err)
		require.NoError(t, b.process(sealed))
		job, err = b.buildOn(sealed.Ref)
		require.NoError(t, err)
		require.Equal(t, other.Block(4).Ref, b.c.Snapshot().Pending, "it is still asked for")
		b.heard.take()
		b.log.Log().Take()

		// The engine gets it.
		b.give(other.Block(4))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, other.Block(4).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		require.Equal(t, []string{"diverged", "forkchoice-update"}, b.heard.take())
		require.Equal(t, map[string]int{"force_reset": 1}, b.reorgs)
		require.Equal(t, 1, b.log.Log().Count(modelel.GetPayload), "the build in flight is cancelled: %s", b.log.Log())
		_, err = b.seal(job)
		require.ErrorIs(t, err, upstream.ErrStaleBuild)
		_, err = b.buildOn(other.Block(4).Ref)
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
		"another block": {true, 4, []string{"diverged", "forkchoice-update"},
			map[string]int{"force_reset": 1}},
		"another chain, and ahead": {true, 8, []string{"diverged", "forkchoice-update"},
			map[string]int{"force_reset": 1}},
		"the own chain, ahead": {false, 8, []string{"forkchoice-update"}, map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(b *bench) {
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

// spec G2: L1 was reorged away from under the local-safe block, which is the head. Nothing is built on it, however often the
// sequencer asks, until the source says how far it goes back, L1 comes back, or half a block time is over.
func TestNothingIsBuiltOnAnOrphan(t *testing.T) {
	orphan := func(b *bench) eth.BlockID {
		for _, block := range b.chain.L2().Blocks(6, 8) { // the first ones with another L1 origin than genesis
			require.NoError(t, b.c.Insert(block.Envelope))
			synctest.Wait()
		}
		b.source(b.chain.Block(7))
		safe := b.c.Snapshot().Heads.LocalSafe
		require.Equal(t, b.chain.Block(7).Ref, safe.L2BlockRef)
		require.NotEqual(t, b.chain.Block(5).Ref.L1Origin, safe.L1Origin)
		b.l1[safe.L1Origin] = follow.L1Mismatch
		b.c.Rewind()
		synctest.Wait()
		require.Equal(t, safe.L2BlockRef, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		require.False(t, b.c.Snapshot().GoneSince.IsZero(), "the sources are to be asked")
		require.NotContains(t, b.heard.take(), "engine-reset-confirmed")
		for range 3 {
			_, err := b.build(b.chain.Block(7))
			require.ErrorIs(t, err, upstream.ErrStaleBuild)
			b.c.Recover()
			synctest.Wait()
			require.Equal(t, []string{"forkchoice-update", "forkchoice-update"}, b.heard.take(), "refused, and not confirmed")
		}
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, safe, b.c.Snapshot().Heads.LocalSafe)
		b.settle()
		return safe.L1Origin
	}
	goesOn := func(b *bench) {
		t.Helper()
		require.Equal(t, b.chain.Block(5).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef, "the newest block with an origin")
		require.True(t, b.c.Snapshot().GoneSince.IsZero())
		names := b.heard.take()
		require.Contains(t, names, "diverged")
		require.Contains(t, names, "forkchoice-update")
		_, err := b.build(b.chain.Block(5))
		require.NoError(t, err)
	}
	t.Run("the source goes back", func(t *testing.T) {
		onBench(t, func(b *bench) {
			orphan(b)
			b.sourceOn(b.chain.L1().Fork("r", 0), b.chain.Block(4))
			require.Equal(t, b.chain.Block(4).Ref, b.c.Snapshot().Heads.LocalSafe.L2BlockRef)
			goesOn(b)
		})
	})
	t.Run("L1 comes back", func(t *testing.T) {
		onBench(t, func(b *bench) {
			delete(b.l1, orphan(b))
			b.c.Rewind() // as with every L1 head
			synctest.Wait()
			require.Equal(t, b.chain.Block(7).Ref, b.c.Snapshot().Heads.LocalSafe.L2BlockRef)
			names := b.heard.take()
			require.Equal(t, "engine-reset-confirmed", names[len(names)-1])
			_, err := b.build(b.chain.Block(7))
			require.NoError(t, err)
		})
	})
	t.Run("nobody says anything", func(t *testing.T) {
		onBench(t, func(b *bench) {
			gone := orphan(b)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			snap := b.c.Snapshot()
			require.Equal(t, b.chain.Block(5).Ref, snap.Heads.LocalSafe.L2BlockRef)
			require.Equal(t, b.chain.Block(5).Ref.L1Origin, snap.CurrentL1.ID(), "published with its origin")
			require.NotEqual(t, snap.CurrentL1.ID(), snap.Applied().CurrentL1.ID(), "no status is held to that")
			goesOn(b)
			require.Equal(t, follow.L1Mismatch, b.Canonical(gone))
			b.sourceOn(b.chain.L1(), b.chain.Block(4))
			require.Equal(t, b.chain.Block(4).Ref, b.c.Snapshot().Heads.LocalSafe.L2BlockRef, "any status is applied")
			require.Equal(t, b.c.Snapshot().CurrentL1, b.c.Snapshot().Applied().CurrentL1)
		})
	})
}

// A source whose head the engine refuses every time does not disturb the making of blocks at all.
func TestInvalidTargetsDoNotDisturb(t *testing.T) {
	onBench(t, func(b *bench) {
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
func TestRecoverIsConfirmed(t *testing.T) {
	onBench(t, func(b *bench) {
		b.c.Recover()
		synctest.Wait()
		require.Equal(t, []string{"forkchoice-update", "engine-reset-confirmed"}, b.heard.take())
		require.Zero(t, b.log.Log().Count())

		require.NoError(t, b.c.Insert(b.chain.Block(6).Envelope))
		b.settle()
		require.Equal(t, b.chain.Block(6).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
		b.l1[b.chain.Block(6).Ref.L1Origin] = follow.L1Mismatch
		b.c.Recover()
		synctest.Wait()
		require.Equal(t, []string{"diverged", "forkchoice-update", "forkchoice-update", "engine-reset-confirmed"}, b.heard.take())
		require.Equal(t, b.chain.Block(5).Ref, b.c.Snapshot().Heads.Unsafe.L2BlockRef)
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	onBench(t, func(b *bench) {
		gate := modelel.NewGate()
		b.el.Line.Next(1, gate.Hold(), modelel.FCU)
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
	onBench(t, func(b *bench) {
		b.c.stop()
		_, err := b.build(b.chain.Block(5))
		if !errors.Is(err, ErrStopped) {
			require.NoError(t, err, "the outcome, or that there is none")
		}
	})
}

// A verifier makes no blocks, whoever asks.
func TestVerifierRefusesToBuild(t *testing.T) {
	require.Error(t, Verifier{}.refuses(eth.L2BlockRef{}))
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
