package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lightcl/op-node/ops/bench/process"
	"github.com/lightcl/op-node/ops/bench/report"
)

// Run starts a devnet, measures, and takes it down.
func Run(ctx context.Context, o Options) (groups []report.Group, err error) {
	a, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	contestants := []spec{
		{report.Ours, "ours", a.o.OpNode, 1, false},
		{report.UpstreamFollow, "upstream-follow", a.o.Upstream, 1, true},
		{report.UpstreamDerive, "upstream-derive", a.o.Upstream, 0, true},
	}
	if a.o.Patched != "" {
		contestants = slices.Insert(contestants, 2, spec{report.PatchedFollow, "patched-follow", a.o.Patched, 1, true})
	}
	for _, s := range contestants {
		if _, err := a.add(ctx, s); err != nil {
			return nil, err
		}
	}
	o.Say("devnet up, warming up for %s", o.Warmup)
	if err := a.settle(ctx, o.Warmup); err != nil {
		return nil, err
	}
	o.Say("measuring for %s", o.Window)
	m, err := a.measure(ctx, a.all, o.Window)
	if err != nil {
		return nil, err
	}
	groups = append(groups, a.sideBySide(m)...)
	if o.Restarts > 0 {
		o.Say("restarting each %d times", o.Restarts)
		if err := a.restarts(ctx, &groups[0]); err != nil {
			return nil, err
		}
	}
	scale, err := a.scale(ctx)
	return append(groups, scale...), err
}

// settle waits for a while, and then for every contestant to have a safe label.
func (a *arena) settle(ctx context.Context, d time.Duration) error {
	begin := time.Now()
	limit := 2*d + time.Minute
	for {
		if err := a.broken(); err != nil {
			return err
		}
		ready := time.Since(begin) >= d
		for _, c := range a.all {
			ready = ready && c.el.Heads().Safe.Number > 0
		}
		switch {
		case ready:
			return nil
		case time.Since(begin) > limit:
			return fmt.Errorf("not all contestants have a safe block after %s", limit)
		case !wait(ctx, 100*time.Millisecond):
			return ctx.Err()
		}
	}
}

// measurement is what one contestant did in a window.
type measurement struct {
	of       *contestant
	from, to time.Time
	// blocks and updates are how often the unsafe head and the source's safe head moved, finals its finalized head.
	blocks, updates, finals int
	calls                   calls
	usage                   process.Usage
	resident, anonymous     []float64 // MB
}

// memoryInterval is how often resident memory is looked at.
const memoryInterval = 500 * time.Millisecond

// measure watches contestants for a while.
func (a *arena) measure(ctx context.Context, all []*contestant, window time.Duration) ([]measurement, error) {
	ms := make([]measurement, len(all))
	begin := make([]process.Usage, len(all))
	unsafe := make([]uint64, len(all))
	for i, c := range all {
		var err error
		if begin[i], err = c.usage(ctx); err != nil {
			return nil, err
		}
		ms[i] = measurement{of: c, from: time.Now(), calls: c.calls()}
		unsafe[i] = c.el.Heads().Unsafe.Number
	}
	for end := time.Now().Add(window); time.Now().Before(end); {
		if !wait(ctx, min(memoryInterval, time.Until(end))) {
			return nil, ctx.Err()
		}
		if err := a.broken(); err != nil {
			return nil, err
		}
		for i, c := range all {
			resident, anonymous, err := process.Memory(c.node.PID())
			if err != nil {
				return nil, err
			}
			ms[i].resident = append(ms[i].resident, float64(resident)/(1<<20))
			ms[i].anonymous = append(ms[i].anonymous, float64(anonymous)/(1<<20))
		}
	}
	for i, c := range all {
		m := &ms[i]
		m.to, m.blocks, m.calls = time.Now(), int(c.el.Heads().Unsafe.Number-unsafe[i]), c.calls().since(m.calls)
		usage, err := c.usage(ctx)
		if err != nil {
			return nil, err
		}
		m.usage = usage.Minus(begin[i])
		m.updates = a.watch.leader.safe.Updates(m.from, m.to)
		m.finals = a.watch.leader.finalized.Updates(m.from, m.to)
	}
	// The last updates have a little time to arrive.
	if !wait(ctx, 3*time.Second) {
		return nil, ctx.Err()
	}
	return ms, nil
}

func (c *contestant) usage(ctx context.Context) (process.Usage, error) {
	url, err := c.metricsURL()
	if err != nil {
		return process.Usage{}, err
	}
	return process.Other(ctx, c.node.PID(), url)
}

// lags are how far the contestant was behind the source.
func (a *arena) lags(m measurement) (safe, finalized []time.Duration, missing int) {
	safe, missing = m.of.heads.safe.Behind(&a.watch.leader.safe, m.from, m.to)
	finalized, more := m.of.heads.finalized.Behind(&a.watch.leader.finalized, m.from, m.to)
	return safe, finalized, missing + more
}

// restarts stops and starts every contestant while the chain goes on, and measures from the start of the process until
// its engine has the safe label that the source had at that moment.
func (a *arena) restarts(ctx context.Context, g *report.Group) error {
	took := make(map[string][]time.Duration)
	for round := range a.o.Restarts {
		for _, c := range a.all {
			if err := a.stop(c); err != nil {
				return err
			}
		}
		for i := range a.all {
			c := a.all[(round+i)%len(a.all)] // each is first in turn
			d, err := a.restart(ctx, c)
			if err != nil {
				return err
			}
			took[c.name] = append(took[c.name], d)
		}
	}
	for _, c := range a.all {
		g.Set(report.FirstApplied, "ms", c.name, report.Of(report.Millis(took[c.name])))
	}
	return nil
}

const restartLimit = time.Minute

func (a *arena) restart(ctx context.Context, c *contestant) (time.Duration, error) {
	had := c.el.Heads().Safe.Number
	if !waitFor(ctx, restartLimit, func() bool { _, ok := a.watch.leader.safe.Reached(had + 1); return ok }) {
		return 0, fmt.Errorf("the source's safe head stays at %d", had)
	}
	if !wait(ctx, rand.N(time.Second)) { // at any distance from the polls and heads that follow
		return 0, ctx.Err()
	}
	status, err := a.net.Source().SyncStatus(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.node.Restart(ctx); err != nil {
		return 0, err
	}
	target := status.SafeL2.Number
	if !waitFor(ctx, restartLimit, func() bool { _, ok := c.heads.safe.Reached(target); return ok }) {
		return 0, fmt.Errorf("%s has not applied safe head %d within %s of its start", c.name, target, restartLimit)
	}
	at, _ := c.heads.safe.Reached(target)
	return at.Sub(start), nil
}

func waitFor(ctx context.Context, limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) || !wait(ctx, 5*time.Millisecond) {
			return false
		}
	}
	return true
}
