package modelel_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// bench is an engine behind a script of faults, behind a log.
type bench struct {
	chain  *modelel.Chain
	el     *modelel.EL
	faults *modelel.Faulty
	seen   *modelel.Recorder
}

func newBench() *bench {
	chain := world()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 4)...)
	faults := modelel.NewFaulty(el)
	return &bench{chain, el, faults, modelel.NewRecorder(faults, chain.Name)}
}

// calls makes the calls, given as in a log, and returns the log of the caller.
func (b *bench) calls(t *testing.T, commands ...string) string {
	t.Helper()
	b.seen.Log().Take()
	b.el.Log().Take()
	for _, command := range commands {
		call(t, b.chain, b.seen, command)
	}
	return b.seen.Log().String()
}

func TestFaults(t *testing.T) {
	one := "FCU head=4 safe=1 fin=0"
	for _, test := range []struct {
		name    string
		fault   modelel.Fault
		want    string
		reached int
	}{
		{"drop", modelel.Drop(), one + " → error: dial engine: connection refused", 0},
		{"re-aiming", modelel.Reaiming(), one + " → error -32000", 0},
		{"rpc error", modelel.RPCError(-38002, "no"), one + " → error -38002", 0},
		{"nil", modelel.NilAnswer(), one + " → nil", 0},
		{"empty", modelel.EmptyAnswer(), one + " → empty", 0},
		{"forget", modelel.Forget(), one + " → SYNCING", 0},
		{"late", modelel.Late(modelel.Drop()), one + " → error: dial engine: connection refused", 1},
		{"both", modelel.Both(modelel.Late(modelel.EmptyAnswer()), modelel.RPCError(-1, "")), one + " → empty", 0},
		{"flap", modelel.Flap(0, 1, modelel.Drop()), one + " → error: dial engine: connection refused", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			b.faults.Next(1, test.fault)
			require.Equal(t, test.want+"\n"+one+" → VALID\n", b.calls(t, one, one))
			require.Equal(t, test.reached+1, b.el.Log().Count(modelel.FCU))
		})
	}
}

func TestFaultsOfEveryMethod(t *testing.T) {
	ctx := context.Background()
	all := []string{"newPayload 5", "FCU head=4 safe=- fin=-", "byNumber 1", "byHash 1", "byLabel latest"}
	for _, test := range []struct {
		name    string
		fault   modelel.Fault
		answers string
	}{
		{"nil", modelel.NilAnswer(), "nil nil - - -"},
		{"empty", modelel.EmptyAnswer(), "empty empty - - -"},
		{"forget", modelel.Forget(), "SYNCING SYNCING not_found not_found not_found"},
		{"error", modelel.RPCError(-7, ""), "error_-7 error_-7 error_-7 error_-7 error_-7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			b.faults.Always(test.fault)
			var answers []string
			for line := range strings.Lines(b.calls(t, all...)) {
				_, answer, _ := strings.Cut(strings.TrimSpace(line), " → ")
				answers = append(answers, strings.ReplaceAll(answer, " ", "_"))
			}
			require.Equal(t, test.answers, strings.Join(answers, " "))
			require.Zero(t, b.el.Log().Count(), "the engine got nothing")
		})
	}
	b := newBench()
	b.faults.Next(1, modelel.Forget())
	b.faults.Next(1, modelel.EmptyAnswer())
	_, err := b.seen.GetPayload(ctx, eth.PayloadInfo{})
	requireCode(t, -38001, err)
	res, err := b.seen.GetPayload(ctx, eth.PayloadInfo{})
	require.NoError(t, err)
	require.Nil(t, res.ExecutionPayload)
	b.faults.Always(modelel.Forget())
	_, err = b.seen.L2BlockRefByLabel(ctx, eth.Unsafe)
	require.ErrorIs(t, err, ethereum.NotFound)
}

func TestScript(t *testing.T) {
	b := newBench()
	b.faults.Always(modelel.RPCError(-2, ""), modelel.FCU)
	b.faults.Next(1, modelel.Drop(), modelel.NewPayload)
	b.faults.Next(2, modelel.RPCError(-1, ""))
	fcu, insert, look := "FCU head=4 safe=- fin=-", "newPayload 5", "byNumber 1"
	require.Equal(t, strings.Join([]string{
		fcu + " → error -1", // the first Next is not for it
		insert + " → error: dial engine: connection refused",
		look + " → error -1",
		look + " → 1",
		fcu + " → error -2",
		insert + " → VALID",
		fcu + " → error -2",
	}, "\n")+"\n", b.calls(t, fcu, insert, look, look, fcu, insert, fcu))

	b.faults.Next(5, modelel.Drop())
	b.faults.Heal()
	require.Equal(t, fcu+" → VALID\n", b.calls(t, fcu))
}

func TestFlap(t *testing.T) {
	b := newBench()
	b.faults.Always(modelel.Flap(2, 1, modelel.RPCError(-1, "")))
	look := "byNumber 1"
	require.Equal(t, strings.Repeat(look+" → 1\n"+look+" → 1\n"+look+" → error -1\n", 2),
		b.calls(t, look, look, look, look, look, look))
}

func TestFaultsThatChangeTheWorld(t *testing.T) {
	b := newBench()
	fcu := "FCU head=4 safe=3 fin=1"
	b.faults.Next(1, modelel.After(b.el.Restart))
	require.Equal(t, fcu+" → VALID\n", b.calls(t, fcu))
	require.Equal(t, "latest=4 safe=1 finalized=1", b.el.String())

	b.calls(t, fcu)
	b.faults.Next(1, modelel.Before(b.el.Restart))
	require.Equal(t, "byLabel safe → 1\n", b.calls(t, "byLabel safe"))
}

func TestSlowFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		look := func(patience time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			start := time.Now()
			_, err := b.seen.L2BlockRefByNumber(ctx, 1)
			return time.Since(start), err
		}
		b.faults.Next(2, modelel.Delay(clock.SystemClock, 3*time.Second))
		took, err := look(time.Minute)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, took)
		took, err = look(2 * time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, took)

		b.faults.Next(1, modelel.Hang())
		took, err = look(time.Hour)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Hour, took)
		require.Equal(t, 1, b.el.Log().Count(), "the engine got the call that waited")
		require.Equal(t, "byNumber 1 → 1\nbyNumber 1 → timeout\nbyNumber 1 → timeout\n", b.seen.Log().String())
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		gate := modelel.NewGate()
		b.faults.Always(gate.Hold())
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() {
			_, err := b.seen.L2BlockRefByNumber(ctx, 1)
			results <- err
		}()
		<-gate.Arrived()
		cancel()
		require.ErrorIs(t, <-results, context.Canceled)

		go func() {
			_, err := b.seen.L2BlockRefByNumber(t.Context(), 1)
			results <- err
		}()
		<-gate.Arrived()
		synctest.Wait()
		require.Empty(t, results, "the call waits")
		gate.Release()
		gate.Release()
		require.NoError(t, <-results)
	})
}

func TestSyncTakesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := world()
		el := chain.NewEL(modelel.WithNetwork(modelel.NewNetwork(chain.L2().Blocks(1, 3)...)),
			modelel.SyncAfterTime(5*time.Second, time.Now))
		tell(t, chain, el, nil, "FCU head=3 safe=- fin=- → SYNCING")
		target, syncing := el.Syncing()
		require.True(t, syncing)
		require.Equal(t, chain.Block(3).Hash(), target)
		time.Sleep(5*time.Second - time.Nanosecond)
		tell(t, chain, el, nil, "FCU head=3 safe=- fin=- → SYNCING")
		time.Sleep(time.Nanosecond)
		tell(t, chain, el, nil, `
			byLabel latest → 3
			FCU head=3 safe=- fin=- → VALID
		`)
		_, syncing = el.Syncing()
		require.False(t, syncing)
	})
}

func TestPeersShareTheirCanonicalChains(t *testing.T) {
	chain := world()
	net := modelel.NewNetwork()
	one, two, three := chain.NewEL(modelel.WithNetwork(net)), chain.NewEL(modelel.WithNetwork(net)), chain.NewEL(modelel.WithNetwork(net))
	tell(t, chain, one, net, `
		newPayload 1 → VALID
		newPayload 2 → VALID
		newPayload 3 → VALID
		newPayload 4 → VALID
		newPayload 4b → VALID
		newPayload 5b → VALID
		FCU head=4 safe=- fin=- → VALID
	`)
	tell(t, chain, two, net, `
		FCU head=4b safe=- fin=- → SYNCING
		complete sync → false
		FCU head=4 safe=- fin=- → SYNCING
		complete sync → true
	`)
	tell(t, chain, one, net, "FCU head=5b safe=- fin=- → VALID")
	tell(t, chain, three, net, `
		FCU head=4 safe=- fin=- → SYNCING
		complete sync → true
	`)
	two.Rewind(3)
	three.Rewind(3)
	tell(t, chain, three, net, `
		FCU head=4 safe=- fin=- → SYNCING
		complete sync → false
		FCU head=5b safe=- fin=- → SYNCING
		complete sync → true
	`)
	net.Withdraw(chain.Block(1))
	tell(t, chain, chain.NewEL(modelel.WithNetwork(net)), net, `
		FCU head=5b safe=- fin=- → SYNCING
		complete sync → false
	`)
}

func TestCancelledCallsReachNothing(t *testing.T) {
	chain := world()
	el := chain.NewEL()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := chain.Block(1)
	_, err := el.NewPayload(ctx, b.Envelope.ExecutionPayload, b.Envelope.ParentBeaconBlockRoot)
	require.ErrorIs(t, err, context.Canceled)
	_, err = el.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: b.Hash()}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = el.L2BlockRefByNumber(ctx, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = el.GetPayload(ctx, eth.PayloadInfo{})
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, el.Has(b.Hash()))
	require.Equal(t, 4, el.Log().Count())
	require.Equal(t, 1, el.Log().Count(modelel.NewPayload))
}

func TestConcurrentUse(t *testing.T) {
	chain := modelel.NewChain()
	net := modelel.NewNetwork()
	one, two := chain.NewEL(modelel.WithNetwork(net)), chain.NewEL(modelel.WithNetwork(net), modelel.SyncAfterCalls(1))
	faults := modelel.NewFaulty(two)
	faults.Always(modelel.Flap(3, 1, modelel.Drop()))
	var wg sync.WaitGroup
	for worker := range 4 {
		branch := chain.L2().Fork(string(rune('a'+worker)), uint64(worker))
		wg.Go(func() {
			for _, b := range branch.Blocks(1, 20) {
				for _, el := range []modelel.Engine{one, faults} {
					_, _ = el.NewPayload(t.Context(), b.Envelope.ExecutionPayload, b.Envelope.ParentBeaconBlockRoot)
					_, _ = el.ForkchoiceUpdate(t.Context(), &eth.ForkchoiceState{HeadBlockHash: b.Hash()}, nil)
				}
				_ = one.String()
				_ = chain.Name(b.Hash())
				_, _ = two.Syncing()
			}
		})
	}
	wg.Wait()
	require.Equal(t, 4*2*20, one.Log().Count())
	for n, ref := one.Heads().Latest.Number, one.Heads().Latest; n > 0; n-- {
		parent, err := one.L2BlockRefByNumber(t.Context(), n-1)
		require.NoError(t, err)
		require.Equal(t, parent.Hash, ref.ParentHash, "the canonical chain hangs together")
		ref = parent
	}
}

func TestPerformRefusesNonsense(t *testing.T) {
	chain := world()
	el := chain.NewEL()
	for _, command := range []string{
		"", "restart", "FCU", "FCU head=5q", "FCU 5", "FCU latest=5", "newPayload", "newPayload 5q", "byHash q", "byNumber x",
	} {
		err := modelel.Perform(context.Background(), el, chain.Find, command)
		if command == "FCU" { // a forkchoice update without arguments is one with zero hashes
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, command)
	}
	require.Equal(t, "FCU head=- safe=- fin=- → INVALID\n", el.Log().String())
}
