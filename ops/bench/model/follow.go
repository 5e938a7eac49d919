package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/report"
)

// Follow measures lags and calls in many worlds at once.
func Follow(ctx context.Context, o Options) (g report.Group, err error) {
	o.Say("model: %d worlds, %s and %s", o.Worlds, o.Warmup, o.Window)
	g = report.Group{
		ID: report.ModelFollow, Title: "Model engine: lag and calls", Columns: contestants,
		Text: "Many worlds beside each other, a contestant of each kind in each, on the same blocks and the same source. L1 every 4 s, " +
			"each block late by up to 2 s; the source begins to show what is in it 100 to 400 ms later, is through with it within another 80 ms, and " +
			"shows what L1 finalized within a second. Upstream polls every 2 s.",
	}
	chain := scriptChain()
	var worlds []*world
	defer func() {
		err = errors.Join(err, together(worlds, (*world).close))
	}()
	for range o.Worlds {
		w, err := o.populated(ctx, chain, contestants)
		if w != nil {
			worlds = append(worlds, w)
		}
		if err != nil {
			return g, err
		}
	}
	began := time.Now()
	from, to := began.Add(o.Warmup), began.Add(o.Warmup+o.Window)
	// What the last blocks bring comes after the window; calls are counted in it alone.
	var before, after [][]calls
	err = play(ctx, worlds, to.Add(3*time.Second), func() error {
		if !wait(ctx, time.Until(from)) {
			return ctx.Err()
		}
		before = tally(worlds)
		if !wait(ctx, time.Until(to)) {
			return ctx.Err()
		}
		after = tally(worlds)
		return nil
	})
	if err != nil {
		return g, err
	}
	for i, name := range contestants {
		var s summary
		for j, w := range worlds {
			s.add(w, w.rigs[i], after[j][i].since(before[j][i]), from, to)
		}
		s.fill(&g, name, to.Sub(from))
	}
	return g, nil
}

// tally is what all contestants have called so far.
func tally(worlds []*world) [][]calls {
	all := make([][]calls, len(worlds))
	for i, w := range worlds {
		for _, r := range w.rigs {
			all[i] = append(all[i], r.calls())
		}
	}
	return all
}

// populated is a world with contestants of these kinds, at the beginning of the script. With an error it is to be closed as
// well, if there is one.
func (o Options) populated(ctx context.Context, chain *modelel.Chain, names []string) (*world, error) {
	w, err := newWorld(o, chain, pastL1)
	if err != nil {
		return nil, err
	}
	w.show(pastL1, 0, pastL1, time.Now())
	for _, name := range names {
		if err := w.joinScript(ctx, name); err != nil {
			return w, err
		}
	}
	return w, nil
}

// play starts the contestants of all worlds, at moments of their own, and lets the worlds go on until a time; during does
// something meanwhile.
func play(ctx context.Context, worlds []*world, until time.Time, during func() error) error {
	life, end := context.WithDeadline(ctx, until)
	defer end()
	length := time.Until(until)
	scripts := make(map[*world][]happening)
	var starts []*rig
	for i, w := range worlds {
		scripts[w] = w.script(length, rand.New(rand.NewPCG(uint64(i), 1)))
		starts = append(starts, w.rigs...)
	}
	done := make(chan error, 2)
	go func() {
		done <- together(starts, func(r *rig) error {
			if !wait(life, rand.N(2*time.Second)) {
				return ctx.Err()
			}
			return r.start()
		})
	}()
	go func() { done <- during() }()
	_ = together(worlds, func(w *world) error {
		w.play(life, scripts[w])
		return nil
	})
	err := errors.Join(<-done, <-done, ctx.Err())
	for _, w := range worlds {
		select {
		case failure := <-w.failed:
			err = errors.Join(err, failure)
		default:
		}
	}
	return err
}

// summary adds up the contestants of one kind.
type summary struct {
	safe, finalized, starts  []time.Duration
	missing, blocks, updates int
	calls                    calls
	worlds                   int
}

func (s *summary) add(w *world, r *rig, made calls, from, to time.Time) {
	safe, missing := r.engine.safe.Behind(&w.safe, from, to)
	finalized, more := r.engine.finalized.Behind(&w.finalized, from, to)
	s.safe, s.finalized = append(s.safe, safe...), append(s.finalized, finalized...)
	s.missing += missing + more
	s.calls = s.calls.plus(made)
	s.blocks += int(made.engine["newPayload"])
	s.updates += len(safe) + len(finalized)
	s.worlds++
	if took, ok := r.firstApplied(); ok {
		s.starts = append(s.starts, took)
	}
}

func (s *summary) fill(g *report.Group, name string, window time.Duration) {
	minutes := window.Minutes() * float64(s.worlds)
	g.Set(report.LagSafe, "ms", name, report.Of(report.Millis(s.safe)))
	g.Set(report.LagFinalized, "ms", name, report.Of(report.Millis(s.finalized)))
	g.Set("start to first applied status", "ms", name, report.Of(report.Millis(s.starts)))
	g.Set(report.SourceRequests, "", name, report.Single(float64(s.calls.source.Total())/minutes))
	g.Set(report.L1Calls, "", name, report.Single(float64(s.calls.l1.Total())/minutes))
	g.Set(report.L1Lookups, "", name, report.Single(float64(s.calls.l1["getBlockByNumber"])/minutes))
	g.Set(report.EnginePerBlock, "", name, report.Single(float64(s.calls.engine.Total())/float64(s.blocks)))
	extra := max(float64(s.calls.engine.Total())-2*float64(s.blocks), 0)
	g.Set(report.EnginePerPoll, "", name, report.Single(extra/float64(s.updates)))
	g.Note("updates of the source", "", name, float64(s.updates))
	g.Note("updates missed", "", name, float64(s.missing))
	for method, n := range s.calls.engine {
		g.Note("engine, "+method+" per minute", "", name, float64(n)/minutes)
	}
	for method, n := range s.calls.source {
		g.Note("source, "+method+" per minute", "", name, float64(n)/minutes)
	}
	for method, n := range s.calls.l1 {
		g.Note("L1, "+method+" per minute", "", name, float64(n)/minutes)
	}
}
