// Package model measures drivers inside this process, each on a model execution engine, with a scripted source and a small
// L1 behind real RPC on loopback. Time is real, because upstream's driver knows no other, so many worlds run beside each
// other, each with chances of its own, and a contestant of each kind lives in each of them.
package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/lag"
	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/devnet/closer"
)

// Options shape the measurements.
type Options struct {
	// Worlds is how many worlds run at once for Warmup and then Window, over which lags and calls are measured.
	Worlds         int
	Warmup, Window time.Duration
	// Payloads is the length of a backlog, Rounds how often it is inserted at full speed, FloodWorlds in how many worlds it
	// is inserted slowly.
	Payloads, Rounds, FloodWorlds int
	// Fleets are numbers of followers of one source, watched for FleetWindow after half of it to settle. It and Window are
	// multiples of l1Time, as the calls of a poller that minds L1 come in bursts after each block.
	Fleets      []int
	FleetWindow time.Duration
	// Patients is how many worlds there are for each kind of divergence, and Divergences how many there are in each world,
	// watched for Watch each; at most 12 s, before the next one comes.
	Patients, Divergences int
	Watch                 time.Duration
	// Log hears what the drivers say, Say how the run goes.
	Log log.Logger
	Say func(format string, args ...any)
}

// The script of a world, the devnet's: L1 every 4 s and up to 2 s late, L2 every second.
const (
	l1Time   = 4 * time.Second
	l2Time   = time.Second
	l1Jitter = 2 * time.Second
	perL1    = uint64(l1Time / l2Time)
	// Blocks of L2 become known l2Delay after their time, so that none is ahead of its L1 origin.
	l2Delay = l1Jitter + l2Time/2
	// The source begins to digest an L1 block digestMin to digestMax after it became known, and takes stepMin to stepMax
	// from the first block of the batch to the last. It shows what L1 finalized with it within finalMax, since it asks for
	// that every second.
	digestMin = 100 * time.Millisecond
	digestMax = 400 * time.Millisecond
	stepMin   = 5 * time.Millisecond
	stepMax   = 80 * time.Millisecond
	finalMax  = time.Second
	// A batch is one L1 block old when its blocks are safe; L1 finalizes after four.
	safeDistance, finalDistance = 1, l1FinalDistance
	// pastL1 is how many L1 blocks there are at the beginning, and pastL2 which L2 block is the newest.
	pastL1 = 20
	pastL2 = pastL1*perL1 - 1
)

// world is one L1, one L2 and one source.
type world struct {
	o       Options
	chain   *modelel.Chain
	l1      *l1
	source  *source
	genesis time.Time
	server  *server
	cleanup closer.Closer
	failed  chan error
	rigs    []*rig

	// safe and finalized are what the source showed.
	safe, finalized lag.History
}

// rig is one contestant in a world.
type rig struct {
	contestant string
	engine     *engine
	source     *source
	driver     rollupDriver
	toL1       meter.Counter
	toSource   meter.Counter
	resets     resetCounter
	// started is when the driver was started, and target the safe head that the source showed then.
	started time.Time
	target  uint64
}

// start starts the driver.
func (r *rig) start() error {
	r.started, r.target = time.Now(), r.source.status.Load().status.SafeL2.Number
	return r.driver.Start()
}

// firstApplied is how long after the start the engine had the label that the source showed at the start.
func (r *rig) firstApplied() (time.Duration, bool) {
	at, ok := r.engine.safe.Reached(r.target)
	return at.Sub(r.started), ok
}

// newWorld makes a world on a chain; its genesis has to be as old as the script wants.
func newWorld(o Options, chain *modelel.Chain, l1Head uint64) (*world, error) {
	server, err := newServer()
	if err != nil {
		return nil, err
	}
	w := &world{
		o: o, chain: chain, l1: newL1(chain, l1Head), server: server, failed: make(chan error, 1),
		source:  &source{rollup: chain.RollupConfig()},
		genesis: time.Unix(int64(chain.RollupConfig().Genesis.L2Time), 0),
	}
	w.cleanup.AddErr("servers", server.close)
	return w, nil
}

// scriptChain is a chain of which as many blocks have passed as the script wants.
func scriptChain() *modelel.Chain {
	genesis := time.Now().Add(-pastL1 * l1Time)
	return modelel.NewChain(modelel.BlockTimes(uint64(l1Time/time.Second), uint64(l2Time/time.Second)), modelel.GenesisTime(uint64(genesis.Unix())))
}

// join puts a contestant into the world, on an engine of the given latency that has the chain up to a block.
func (w *world) join(ctx context.Context, contestant string, latency time.Duration, latest, safe, finalized uint64) (*rig, error) {
	r := &rig{contestant: contestant, engine: newEngine(w.chain, latency), source: w.source}
	r.engine.load(w.chain, latest, safe, finalized)
	return r, w.connect(ctx, r, nil)
}

// connect gives a contestant a driver, one that makes blocks if there is a network for them.
func (w *world) connect(ctx context.Context, r *rig, blocks network) error {
	path := fmt.Sprintf("/%d", len(w.rigs))
	l1URL, err := w.server.serveWS(path+"/l1", "eth", &l1API{w.l1, &r.toL1})
	if err != nil {
		return err
	}
	sourceURL, err := w.server.serveHTTP(path+"/source", "optimism", sourceAPI{r.source}, &r.toSource)
	if err != nil {
		return err
	}
	r.driver, err = wiring{
		chain: w.chain, engine: r.engine, l1: l1URL, source: sourceURL, network: blocks, resets: &r.resets, log: w.o.Log,
		cleanup: &w.cleanup,
		fatal: func(err error) {
			select {
			case w.failed <- fmt.Errorf("%s: %w", r.contestant, err):
			default:
			}
		},
	}.newDriver(ctx, r.contestant)
	if err != nil {
		return err
	}
	w.rigs = append(w.rigs, r)
	return nil
}

// joinScript is join at the beginning of the script, with labels one L1 block behind.
func (w *world) joinScript(ctx context.Context, contestant string) error {
	_, err := w.join(ctx, contestant, 0, pastL2, perL1*(pastL1-safeDistance-1), perL1*(pastL1-finalDistance-1))
	return err
}

func (w *world) close() error { return w.cleanup.Close() }

// digested is what a source shows that has digested L1 up to a block but for some L2 blocks, and knows L1 to be final up
// to another.
func (w *world) digested(l1, missing, final uint64) eth.SyncStatus {
	safe := w.chain.Block(perL1*(l1-safeDistance) - missing).Ref
	finalized := w.chain.Block(perL1 * (final - min(final, finalDistance))).Ref
	head := w.chain.L1().Block(l1).Ref
	return eth.SyncStatus{
		CurrentL1: head, HeadL1: head, UnsafeL2: safe, SafeL2: safe, LocalSafeL2: safe, PendingSafeL2: safe, FinalizedL2: finalized,
	}
}

// happening is something that the script lets happen.
type happening struct {
	at  time.Time
	act func(ctx context.Context, now time.Time)
}

// script is what happens from now on for a while, in order.
func (w *world) script(length time.Duration, random *rand.Rand) []happening {
	var all []happening
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(random.Int64N(int64(to-from))) }
	final := uint64(pastL1)
	digested, missing := uint64(pastL1), uint64(0)
	last := pastL1 + uint64(length/l1Time) + 1
	for number := uint64(pastL1 + 1); number <= last; number++ {
		at := w.genesis.Add(time.Duration(number)*l1Time + between(0, l1Jitter))
		begin := at.Add(between(digestMin, digestMax))
		all = append(all,
			happening{at, func(context.Context, time.Time) { w.l1.advance(number) }},
			happening{begin, func(_ context.Context, now time.Time) {
				digested, missing = number, perL1-1
				w.show(digested, missing, final, now)
			}},
			happening{begin.Add(between(stepMin, stepMax)), func(_ context.Context, now time.Time) {
				missing = 0
				w.show(digested, missing, final, now)
			}},
			happening{at.Add(between(0, finalMax)), func(_ context.Context, now time.Time) {
				final = number
				w.show(digested, missing, final, now)
			}})
	}
	for number := pastL2 + 1; number <= perL1*last; number++ {
		envelope := w.chain.Block(number).Envelope
		all = append(all, happening{w.genesis.Add(time.Duration(number)*l2Time + l2Delay), func(ctx context.Context, _ time.Time) {
			for _, r := range w.rigs {
				r.driver.OnUnsafeL2Payload(ctx, envelope)
			}
		}})
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return all
}

func (w *world) show(digested, missing, final uint64, now time.Time) {
	status := w.digested(digested, missing, min(final, digested))
	w.source.show(status)
	w.safe.Show(status.SafeL2.Number, now)
	w.finalized.Show(status.FinalizedL2.Number, now)
}

// play lets the script happen, until the context ends.
func (w *world) play(ctx context.Context, script []happening) {
	for _, h := range script {
		if !wait(ctx, time.Until(h.at)) {
			return
		}
		h.act(ctx, time.Now())
	}
	<-ctx.Done()
}

// wait sleeps, and tells whether the context still lives.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// together runs a function for each of many, at once, and returns the first error.
func together[T any](all []T, run func(T) error) error {
	var (
		wg     sync.WaitGroup
		failed = make(chan error, len(all))
	)
	for _, one := range all {
		wg.Go(func() { failed <- run(one) })
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// calls are those of one rig.
type calls struct{ source, l1, engine meter.Counts }

func (r *rig) calls() calls {
	return calls{r.toSource.Counts(), r.toL1.Counts(), r.engine.Counts()}
}

func (c calls) since(before calls) calls {
	return calls{c.source.Since(before.source), c.l1.Since(before.l1), c.engine.Since(before.engine)}
}

func (c calls) plus(other calls) calls {
	return calls{c.source.Plus(other.source), c.l1.Plus(other.l1), c.engine.Plus(other.engine)}
}
