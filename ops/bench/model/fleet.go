package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lightcl/op-node/ops/bench/lag"
	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/bench/report"
)

// peakSpan is the time over which the load of a source is at its peak.
const peakSpan = 100 * time.Millisecond

// loners is in how many worlds a single follower is watched: alone it makes too few requests for a figure.
const loners = 10

// fleet is the worlds with followers of one kind, so many in each.
type fleet struct {
	name   string
	size   int
	worlds []*world
	before meter.Counts
}

// Fleet measures what many followers of one kind ask of one source, all fleets beside each other.
func Fleet(ctx context.Context, o Options) (g report.Group, err error) {
	g = report.Group{
		ID: "model-fleet", Title: "Model engine: many followers of one source", Columns: contestants,
		Text: fmt.Sprintf("Every follower with an engine and L1 connections of its own; the load is what one source sees of it. The followers start "+
			"within two seconds. A single follower is watched in %d worlds.", loners),
	}
	o.Say("model: fleets of %v for %s", o.Fleets, o.FleetWindow)
	var fleets []*fleet
	var worlds []*world
	defer func() { err = errors.Join(err, together(worlds, (*world).close)) }()
	chain := scriptChain()
	for _, size := range o.Fleets {
		for _, name := range contestants {
			f := &fleet{name: name, size: size}
			fleets = append(fleets, f)
			count := 1
			if size == 1 {
				count = loners
			}
			for range count {
				w, err := o.populated(ctx, chain, slices.Repeat([]string{name}, size))
				if w != nil {
					worlds, f.worlds = append(worlds, w), append(f.worlds, w)
				}
				if err != nil {
					return g, err
				}
			}
		}
	}
	from := time.Now().Add(o.FleetWindow / 2)
	to := from.Add(o.FleetWindow)
	err = play(ctx, worlds, to, func() error {
		if !wait(ctx, time.Until(from)) {
			return ctx.Err()
		}
		for _, f := range fleets {
			f.before = f.toSource()
		}
		return nil
	})
	if err != nil {
		return g, err
	}
	for _, f := range fleets {
		f.report(&g, from, to)
	}
	return g, nil
}

func (f *fleet) report(g *report.Group, from, to time.Time) {
	label := fmt.Sprintf("%d followers: ", f.size)
	if f.size == 1 {
		label = "1 follower: "
	}
	total := float64(f.toSource().Since(f.before).Total()) / to.Sub(from).Minutes() / float64(len(f.worlds))
	g.Set(label+"requests per minute to the source", "", f.name, report.Single(total))
	g.Set(label+"requests per minute of one follower", "", f.name, report.Single(total/float64(f.size)))
	var lags []time.Duration
	peak := 0
	for _, w := range f.worlds {
		peak = max(peak, lag.Peak(w.source.requestsBetween(from, to), peakSpan))
		for _, r := range w.rigs {
			more, _ := r.engine.safe.Behind(&w.safe, from, to.Add(-3*time.Second))
			lags = append(lags, more...)
		}
	}
	g.Set(label+"status requests at the peak", "in 100 ms", f.name, report.Single(float64(peak)))
	g.Set(label+"safe lag", "ms", f.name, report.Of(report.Millis(lags)))
	// A peak is an extreme, and all followers of a source share its few updates.
	g.Roughly(label+"status requests at the peak", label+"safe lag")
}

func (f *fleet) toSource() (sum meter.Counts) {
	for _, w := range f.worlds {
		for _, r := range w.rigs {
			sum = sum.Plus(r.toSource.Counts())
		}
	}
	return sum
}
