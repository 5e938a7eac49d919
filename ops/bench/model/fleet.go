package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/bench/report"
)

// peakSpan is the time over which the load of a source is at its peak.
const peakSpan = 100 * time.Millisecond

// fleet measures what many followers of one kind ask of one source.
func fleet(ctx context.Context, o Options) (g report.Group, err error) {
	o.Say("model: fleets of %v for %s", o.Fleets, o.FleetWindow)
	g = report.Group{
		ID: "model-fleet", Title: "Model engine: many followers of one source", Columns: contestants,
		Text: "Every follower with an engine and L1 connections of its own; the load is what one source sees of it.",
	}
	chain := scriptChain()
	type key struct {
		contestant string
		size       int
	}
	var (
		worlds []*world
		fleets = make(map[*world]key)
	)
	defer func() { err = errors.Join(err, together(worlds, (*world).close)) }()
	for _, size := range o.Fleets {
		for _, name := range contestants {
			w, err := newWorld(o, chain, pastL1)
			if err != nil {
				return g, err
			}
			worlds, fleets[w] = append(worlds, w), key{name, size}
			w.show(pastL1, pastL1, time.Now())
			for range size {
				if err := w.joinScript(ctx, name); err != nil {
					return g, err
				}
			}
		}
	}
	from := time.Now().Add(o.FleetWindow / 3)
	to := from.Add(o.FleetWindow)
	before := make(map[*world]meter.Counts)
	err = play(ctx, worlds, to, func() error {
		if !wait(ctx, time.Until(from)) {
			return ctx.Err()
		}
		for _, w := range worlds {
			before[w] = w.toSource()
		}
		return nil
	})
	if err != nil {
		return g, err
	}
	for _, w := range worlds {
		k := fleets[w]
		label := fmt.Sprintf("%d followers: ", k.size)
		if k.size == 1 {
			label = "1 follower: "
		}
		total := float64(w.toSource().Since(before[w]).Total()) / o.FleetWindow.Minutes()
		g.Set(label+"requests per minute to the source", "", k.contestant, report.Single(total))
		g.Set(label+"requests per minute of one follower", "", k.contestant, report.Single(total/float64(k.size)))
		g.Set(label+"status requests at the peak", "in 100 ms", k.contestant, report.Single(float64(peak(w.source.requestsBetween(from, to)))))
		var lags []time.Duration
		for _, r := range w.rigs {
			more, _ := r.engine.safe.Behind(&w.safe, from, to.Add(-3*time.Second))
			lags = append(lags, more...)
		}
		g.Set(label+"safe lag", "ms", k.contestant, report.Of(report.Millis(lags)))
	}
	return g, nil
}

func (w *world) toSource() (sum meter.Counts) {
	for _, r := range w.rigs {
		sum = sum.Plus(r.toSource.Counts())
	}
	return sum
}

// peak is the largest number of requests within peakSpan.
func peak(at []time.Time) (most int) {
	slices.SortFunc(at, time.Time.Compare)
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) > peakSpan {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
