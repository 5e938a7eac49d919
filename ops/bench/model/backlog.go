package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/process"
	"github.com/lightcl/op-node/ops/bench/report"
)

const (
	// EngineAlone is no contestant: the same calls made in a loop, so that one sees what of a figure is the model's.
	EngineAlone = "engine alone"
	// backlogBase is the head on which a backlog builds.
	backlogBase = 8
	// floodLatency is how long each engine call takes in a flood, so that it lasts.
	floodLatency = time.Millisecond
	// floodUpdates is how often the source shows something new in a flood, on average; floodMargin how many blocks below
	// the follower's own head that is.
	floodUpdates = time.Second
	floodMargin  = 20
	// backlogLimit bounds how long a backlog takes.
	backlogLimit = 3 * time.Minute
)

// Backlog measures the insertion of many unsafe payloads that arrive at once, and following meanwhile.
func Backlog(ctx context.Context, o Options) (report.Group, error) {
	o.Say("model: backlog of %d payloads, %d rounds", o.Payloads, o.Rounds)
	g := report.Group{
		ID: report.ModelBacklog, Title: "Model engine: backlog of unsafe payloads", Columns: append(contestants[:len(contestants):len(contestants)], EngineAlone),
		Yardstick: EngineAlone,
		Text: fmt.Sprintf("%d payloads handed in at once. At full speed, in turn, on an engine that answers at once; %q is the same calls "+
			"without a node. Then on an engine that takes 1 ms for a call, while the source goes on about every second: from the moment the "+
			"source shows a new safe head, and from the moment it was asked for it, to the moment the engine has the label.", o.Payloads, EngineAlone),
	}
	chain := backlogChain(o.Payloads)
	if err := fullSpeed(ctx, o, chain, &g); err != nil {
		return g, err
	}
	o.Say("model: backlog on a slow engine, %d times", o.FloodWorlds)
	return g, flood(ctx, o, chain, &g)
}

// backlogChain is a chain whose newest block is the last of the backlog.
func backlogChain(payloads int) *modelel.Chain {
	genesis := time.Now().Add(-time.Duration(backlogBase+payloads)*l2Time - pastL1*l1Time)
	chain := modelel.NewChain(modelel.BlockTimes(uint64(l1Time/time.Second), uint64(l2Time/time.Second)), modelel.GenesisTime(uint64(genesis.Unix())))
	chain.Block(uint64(backlogBase + payloads)) // made before anything is measured
	return chain
}

// backlogWorld is a world with one contestant that is up and has applied a first status.
func (o Options) backlogWorld(ctx context.Context, chain *modelel.Chain, name string, latency time.Duration) (*world, *rig, error) {
	w, err := newWorld(o, chain, uint64(backlogBase+o.Payloads)/perL1+pastL1)
	if err != nil {
		return nil, nil, err
	}
	w.showSafe(backlogBase)
	r, err := w.join(ctx, name, latency, backlogBase, backlogBase-perL1, 1)
	if err == nil {
		err = r.start()
	}
	if err != nil {
		return w, nil, err
	}
	return w, r, awaitUp(ctx, "first status of "+name, func() bool { _, ok := r.firstApplied(); return ok })
}

// showSafe lets the source show a safe head, with all of L1 digested.
func (w *world) showSafe(number uint64) *shown {
	safe, head := w.chain.Block(number).Ref, w.chain.L1().Block(w.l1.current()).Ref
	return w.source.show(eth.SyncStatus{
		CurrentL1: head, HeadL1: head, UnsafeL2: safe, SafeL2: safe, LocalSafeL2: safe, FinalizedL2: w.chain.Block(1).Ref,
	})
}

func awaitUp(ctx context.Context, what string, ok func() bool) error {
	for end := time.Now().Add(backlogLimit); !ok(); {
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %s", what, backlogLimit)
		}
		if !wait(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// fullSpeed lets everybody insert the backlog in turn.
func fullSpeed(ctx context.Context, o Options, chain *modelel.Chain, g *report.Group) error {
	rates, cpu := make(map[string][]float64), make(map[string][]float64)
	objects := make(map[string][]float64)
	count := float64(o.Payloads)
	for range o.Rounds {
		for _, name := range g.Columns {
			took, used, err := insert(ctx, o, chain, name)
			if err != nil {
				return err
			}
			rates[name] = append(rates[name], count/took.Seconds())
			cpu[name] = append(cpu[name], used.CPU.Seconds()*1e6/count)
			objects[name] = append(objects[name], float64(used.Objects)/count)
		}
	}
	for _, name := range g.Columns {
		g.Set("insertion (more is better)", "payloads/s", name, median(rates[name]))
		g.Set("processor time per payload", "µs", name, median(cpu[name]))
		g.Set("allocations per payload", "objects", name, median(objects[name]))
	}
	return nil
}

// median leaves a few rounds without a p99.
func median(samples []float64) report.Value { return report.Single(report.Of(samples).Median) }

// insert hands a backlog in and waits until the engine has it.
func insert(ctx context.Context, o Options, chain *modelel.Chain, name string) (took time.Duration, used process.Usage, err error) {
	blocks := chain.L2().Blocks(backlogBase+1, uint64(backlogBase+o.Payloads))
	if name == EngineAlone {
		return insertAlone(ctx, chain, blocks)
	}
	w, r, err := o.backlogWorld(ctx, chain, name, 0)
	if w != nil {
		defer func() { err = errors.Join(err, w.close()) }()
	}
	if err != nil {
		return 0, used, err
	}
	runtime.GC()
	before, start := process.Own(), time.Now()
	for _, block := range blocks {
		r.driver.OnUnsafeL2Payload(ctx, block.Envelope)
	}
	last := blocks[len(blocks)-1].Ref.Number
	if err := awaitUp(ctx, "backlog of "+name, func() bool { _, ok := r.engine.unsafe.Reached(last); return ok }); err != nil {
		return 0, used, err
	}
	used = process.Own().Minus(before)
	end, _ := r.engine.unsafe.Reached(last)
	return end.Sub(start), used, nil
}

func insertAlone(ctx context.Context, chain *modelel.Chain, blocks []modelel.Block) (time.Duration, process.Usage, error) {
	e := newEngine(chain, 0)
	e.load(chain, backlogBase, backlogBase-perL1, 1)
	runtime.GC()
	before, start := process.Own(), time.Now()
	for _, block := range blocks {
		if _, err := e.NewPayload(ctx, block.Envelope.ExecutionPayload, block.Envelope.ParentBeaconBlockRoot); err != nil {
			return 0, process.Usage{}, err
		}
		state := &eth.ForkchoiceState{HeadBlockHash: block.Hash()}
		if _, err := e.ForkchoiceUpdate(ctx, state, nil); err != nil {
			return 0, process.Usage{}, err
		}
	}
	return time.Since(start), process.Own().Minus(before), nil
}

// flood inserts the backlog slowly, in many worlds at once, while the source goes on.
func flood(ctx context.Context, o Options, chain *modelel.Chain, g *report.Group) error {
	var runs []*flooded
	for range o.FloodWorlds {
		for _, name := range contestants {
			runs = append(runs, &flooded{name: name})
		}
	}
	if err := together(runs, func(f *flooded) error { return f.run(ctx, o, chain) }); err != nil {
		return err
	}
	for _, name := range contestants {
		all := flooded{name: name}
		for _, f := range runs {
			if f.name == name {
				all.fromChange, all.fromAnswer = append(all.fromChange, f.fromChange...), append(all.fromAnswer, f.fromAnswer...)
				all.missing += f.missing
			}
		}
		g.Set("slow backlog: change of the source to label", "ms", name, report.Of(report.Millis(all.fromChange)))
		g.Set(report.FollowInFlood, "ms", name, report.Of(report.Millis(all.fromAnswer)))
		g.Note("slow backlog: changes of the source", "", name, float64(len(all.fromChange)+all.missing))
		g.Note("slow backlog: answers while it lasted", "", name, float64(len(all.fromAnswer)))
		g.Note("slow backlog: never applied", "", name, float64(all.missing))
	}
	return nil
}

// flooded is how following went in one slow backlog.
type flooded struct {
	name                   string
	fromChange, fromAnswer []time.Duration
	missing                int
}

// run hands in the backlog and lets the source go on until it is inserted.
func (f *flooded) run(ctx context.Context, o Options, chain *modelel.Chain) (err error) {
	w, r, err := o.backlogWorld(ctx, chain, f.name, floodLatency)
	if w != nil {
		defer func() { err = errors.Join(err, w.close()) }()
	}
	if err != nil {
		return err
	}
	blocks := chain.L2().Blocks(backlogBase+1, uint64(backlogBase+o.Payloads))
	last := blocks[len(blocks)-1].Ref.Number
	for _, block := range blocks {
		r.driver.OnUnsafeL2Payload(ctx, block.Envelope)
	}
	over := func() bool { _, ok := r.engine.unsafe.Reached(last); return ok }
	updates, err := w.goOn(ctx, r, over)
	if err != nil {
		return err
	}
	finished, ok := r.engine.unsafe.Reached(last)
	if !ok {
		return fmt.Errorf("%s has not inserted the backlog within %s", f.name, backlogLimit)
	}
	wait(ctx, 3*time.Second)
	for _, update := range updates {
		at, ok := r.engine.safe.Reached(update.status.SafeL2.Number)
		if !ok {
			f.missing++
			continue
		}
		f.fromChange = append(f.fromChange, at.Sub(update.since))
		if asked := update.served.Load(); asked != nil && asked.Before(finished) {
			f.fromAnswer = append(f.fromAnswer, at.Sub(*asked))
		}
	}
	return nil
}

// goOn lets L1 and source go on until it is over; the source shows a safe head a little below the follower's own head.
func (w *world) goOn(ctx context.Context, r *rig, over func() bool) (updates []*shown, err error) {
	begin := time.Now()
	nextHead := begin.Add(l1Time)
	for !over() && time.Since(begin) < backlogLimit {
		if !wait(ctx, floodUpdates/2+rand.N(floodUpdates)) {
			return nil, ctx.Err()
		}
		if time.Now().After(nextHead) {
			w.l1.advance(w.l1.current() + 1)
			nextHead = nextHead.Add(l1Time)
		}
		if latest := r.engine.Heads().Latest.Number; latest > backlogBase+floodMargin && !over() {
			updates = append(updates, w.showSafe(latest-floodMargin))
		}
	}
	return updates, nil
}
