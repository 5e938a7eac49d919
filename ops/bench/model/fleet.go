package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lightcl/op-node/ops/bench/lag"
	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/bench/report"
)

// peakSpan is the time over which the load of a source is at its peak.
const peakSpan = 100 * time.Millisecond

// Fleet measures what many followers of one kind ask of one source, one kind after the other.
func Fleet(ctx context.Context, o Options) (report.Group, error) {
	g := report.Group{
		ID: "model-fleet", Title: "Model engine: many followers of one source", Columns: contestants,
		Text: "Every follower with an engine and L1 connections of its own; the load is what one source sees of it. The followers start " +
			"within two seconds.",
	}
	for _, name := range contestants {
		o.Say("model: fleets of %v, %s, for %s", o.Fleets, name, o.FleetWindow)
		if err := fleets(ctx, o, name, &g); err != nil {
			return g, err
		}
	}
	return g, nil
}

// fleets measures fleets of all sizes of one kind of followers at once, each in a world of its own.
func fleets(ctx context.Context, o Options, name string, g *report.Group) (err error) {
	var worlds []*world
	defer func() { err = errors.Join(err, together(worlds, (*world).close)) }()
	chain := scriptChain()
	for _, size := range o.Fleets {
		w, err := newWorld(o, chain, pastL1)
		if err != nil {
			return err
		}
		worlds = append(worlds, w)
		w.show(pastL1, 0, pastL1, time.Now())
		for range size {
			if err := w.joinScript(ctx, name); err != nil {
				return err
			}
		}
	}
	from := time.Now().Add(o.FleetWindow)
	to := from.Add(o.FleetWindow)
	before := make([]meter.Counts, len(worlds))
	err = play(ctx, worlds, to, func() error {
		if !wait(ctx, time.Until(from)) {
			return ctx.Err()
		}
		for i, w := range worlds {
			before[i] = w.toSource()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, w := range worlds {
		label := fmt.Sprintf("%d followers: ", len(w.rigs))
		if len(w.rigs) == 1 {
			label = "1 follower: "
		}
		total := float64(w.toSource().Since(before[i]).Total()) / o.FleetWindow.Minutes()
		g.Set(label+"requests per minute to the source", "", name, report.Single(total))
		g.Set(label+"requests per minute of one follower", "", name, report.Single(total/float64(len(w.rigs))))
		g.Set(label+"status requests at the peak", "in 100 ms", name, report.Single(float64(lag.Peak(w.source.requestsBetween(from, to), peakSpan))))
		var lags []time.Duration
		for _, r := range w.rigs {
			more, _ := r.engine.safe.Behind(&w.safe, from, to.Add(-3*time.Second))
			lags = append(lags, more...)
		}
		g.Set(label+"safe lag", "ms", name, report.Of(report.Millis(lags)))
		// A peak is an extreme, and all followers of a source share its few updates.
		g.Roughly(label+"status requests at the peak", label+"safe lag")
	}
	return nil
}

func (w *world) toSource() (sum meter.Counts) {
	for _, r := range w.rigs {
		sum = sum.Plus(r.toSource.Counts())
	}
	return sum
}
