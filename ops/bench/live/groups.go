package live

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/bench/report"
)

// bytesPerBlock hangs on a few large buffers.
const bytesPerBlock = "bytes allocated per L2 block"

// sideBySide makes the groups of figures of the main window.
func (a *arena) sideBySide(ms []measurement) []report.Group {
	speed := report.Group{
		ID: report.LiveLag, Title: "Devnet: lag",
		Text: "From the moment the source shows a new head to the moment the contestant's own op-geth has it as its label. L1 every 4 s, " +
			"each block late by up to 2 s at random; L2 every second; upstream polls every 2 s. Restarts of the process on a live op-geth.",
	}
	load := report.Group{
		ID: report.LiveCalls, Title: "Devnet: calls",
		Text: "Counted by proxies between the node and L1, its engine and its source. Calls for a follow update are those that are not the " +
			"newPayload and the forkchoice update of an unsafe block.",
	}
	cost := report.Group{
		ID: report.LiveCost, Title: "Devnet: processor and memory",
		Text: "Of the process of op-node, ours and upstream's, with the same flags: gossip, RPC and metrics are on. From /proc and the Go " +
			"runtime's own counters.",
	}
	for _, m := range ms {
		name := m.of.name
		speed.Columns, load.Columns, cost.Columns = append(speed.Columns, name), append(load.Columns, name), append(cost.Columns, name)
		safe, finalized, missing := a.lags(m)
		speed.Set(report.LagSafe, "ms", name, report.Of(report.Millis(safe)))
		speed.Set(report.LagFinalized, "ms", name, report.Of(report.Millis(finalized)))
		speed.Note("updates of the source missed", "", name, float64(missing))
		m.load(&load)
		m.cost(&cost)
	}
	cost.Roughly(bytesPerBlock, report.Anonymous)
	methods(&load, ms)
	return []report.Group{speed, load, cost}
}

func (m *measurement) load(g *report.Group) {
	name, minutes := m.of.name, m.to.Sub(m.from).Minutes()
	if len(m.of.sources) > 0 {
		g.Set(report.SourceRequests, "", name, report.Single(float64(m.calls.sources.Total())/minutes))
	}
	g.Set(report.L1Calls, "", name, report.Single(float64(m.calls.l1.Total())/minutes))
	g.Set(report.L1Lookups, "", name, report.Single(float64(m.calls.l1["eth_getBlockByNumber"])/minutes))
	g.Set(report.EnginePerBlock, "", name, report.Single(float64(m.calls.engine.Total())/float64(m.blocks)))
	extra := float64(m.calls.engine.Total()) - 2*float64(m.blocks)
	g.Set(report.EnginePerPoll, "", name, report.Single(max(extra, 0)/float64(max(m.updates+m.finals, 1))))
	g.Note("L2 blocks", "", name, float64(m.blocks))
	g.Note("updates of the source, safe and finalized", "", name, float64(m.updates+m.finals))
}

func (m *measurement) cost(g *report.Group) {
	name, blocks := m.of.name, float64(m.blocks)
	g.Set(report.CPUPerBlock, "ms", name, report.Single(m.usage.CPU.Seconds()*1000/blocks))
	g.Set(report.AllocsPerBlock, "objects", name, report.Single(float64(m.usage.Objects)/blocks))
	g.Set(bytesPerBlock, "kB", name, report.Single(float64(m.usage.Bytes)/1000/blocks))
	g.Set(report.Resident, "MB", name, report.Of(m.resident))
	g.Set(report.Anonymous, "MB", name, report.Of(m.anonymous))
}

// methods adds the calls per minute by method.
func methods(g *report.Group, ms []measurement) {
	for _, to := range []struct {
		name   string
		counts func(measurement) meter.Counts
	}{
		{"source", func(m measurement) meter.Counts { return m.calls.sources }},
		{"L1", func(m measurement) meter.Counts { return m.calls.l1 }},
		{"engine", func(m measurement) meter.Counts { return m.calls.engine }},
	} {
		var names []string
		for _, m := range ms {
			for name := range to.counts(m) {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		slices.Sort(names)
		for _, method := range names {
			for _, m := range ms {
				g.Note(fmt.Sprintf("%s, %s per minute", to.name, strings.TrimPrefix(method, "engine_")), "", m.of.name,
					float64(to.counts(m)[method])/m.to.Sub(m.from).Minutes())
			}
		}
	}
}

// scale measures our node with more and more sources.
func (a *arena) scale(ctx context.Context) ([]report.Group, error) {
	if a.o.ScaleWindow == 0 {
		return nil, nil
	}
	a.o.Say("measuring with 1, 3 and 10 sources for %s", a.o.ScaleWindow)
	for _, c := range a.all {
		if err := a.stop(c); err != nil {
			return nil, err
		}
	}
	a.all = nil
	g := report.Group{
		ID: "live-sources", Title: "Devnet: number of sources",
		Text: "Our node with 1, 3 and 10 sources, all of them the same node behind a proxy each, side by side. Upstream knows one.",
	}
	for _, n := range []int{1, 3, 10} {
		name := fmt.Sprintf("%d sources", n)
		if n == 1 {
			name = "1 source"
		}
		if _, err := a.add(ctx, spec{name, fmt.Sprintf("sources-%d", n), a.o.OpNode, n, false}); err != nil {
			return nil, err
		}
		g.Columns = append(g.Columns, name)
	}
	if err := a.settle(ctx, a.o.ScaleWindow/6); err != nil {
		return nil, err
	}
	ms, err := a.measure(ctx, a.all, a.o.ScaleWindow)
	if err != nil {
		return nil, err
	}
	for i, n := range []int{1, 3, 10} {
		m := ms[i]
		safe, _, _ := a.lags(m)
		g.Set(report.LagSafe, "ms", m.of.name, report.Of(report.Millis(safe)))
		g.Set("requests per minute to each source", "", m.of.name,
			report.Single(float64(m.calls.sources.Total())/m.to.Sub(m.from).Minutes()/float64(n)))
		m.load(&g)
		m.cost(&g)
	}
	g.Roughly(bytesPerBlock, report.Anonymous)
	return []report.Group{g}, nil
}
