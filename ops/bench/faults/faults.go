// Package faults shows followers what goes wrong in the field and counts what they do about it: all contestants on one devnet,
// each behind a proxy of its own in front of the same source, at the same time.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	"github.com/lightcl/op-node/ops/bench/report"
	"github.com/lightcl/op-node/ops/devnet/closer"
	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// Contestant is a program that follows.
type Contestant struct {
	// Name is its column, File is what its files are called.
	Name, File, Program string
	// Upstream is set for programs that want a beacon API and boot nodes.
	Upstream bool
}

// Options shape a run.
type Options struct {
	Contestants []Contestant
	// Dir receives logs and files. It must exist.
	Dir string
	// Phase is how long each fault lasts.
	Phase time.Duration
	Log   log.Logger
	Say   func(format string, args ...any)
}

// GroupID is the name of the group of figures.
const GroupID = "faults"

// Run runs all faults.
func Run(ctx context.Context, o Options) (report.Group, error) {
	g := report.Group{
		ID: GroupID, Title: "Devnet: faults",
		Text: "What a follower does while its only source, or the world around it, goes wrong, for " + o.Phase.String() + " each; L1 every " +
			"2 s, L2 every second. Blocks that a label went back are those of the contestant's own op-geth, at the worst. One run.",
	}
	for _, c := range o.Contestants {
		g.Columns = append(g.Columns, c.Name)
	}
	if err := withGossip(ctx, o, &g); err != nil {
		return g, err
	}
	return g, withoutGossip(ctx, o, &g)
}

// contestant is one that runs.
type contestant struct {
	Contestant
	*stack.Follower
	proxy *faultproxy.Proxy
	old   recorder
	seen  *sightings
}

// world is a devnet with all contestants.
type world struct {
	o       Options
	net     *stack.Stack
	all     []*contestant
	cleanup closer.Closer
}

func open(ctx context.Context, o Options, dir string, gossip bool) (*world, error) {
	w := &world{o: o}
	so := stack.DefaultOptions()
	so.Dir, so.Log, so.P2P = filepath.Join(o.Dir, dir), o.Log, gossip
	if err := os.Mkdir(so.Dir, 0o755); err != nil {
		return nil, err
	}
	net, err := stack.Start(ctx, so)
	if err != nil {
		return nil, err
	}
	w.net = net
	w.cleanup.AddWithin("devnet", 2*time.Minute, func(context.Context) error { return net.Close() })
	if !wait(ctx, 2*time.Minute, func() bool { return net.Source().EL().Heads().Finalized.Number > 0 }) {
		return nil, errors.Join(errors.New("nothing becomes final"), w.close())
	}
	for _, c := range o.Contestants {
		if err := w.add(ctx, c); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

func (w *world) close() error { return w.cleanup.Close() }

func (w *world) add(ctx context.Context, c Contestant) error {
	proxy, err := faultproxy.Start(w.net.Source().RPC())
	if err != nil {
		return err
	}
	w.cleanup.AddErr("source proxy", proxy.Close)
	follower, err := w.net.AddFollower(ctx, w.spec(c, c.File, proxy.URL()))
	if err != nil {
		return err
	}
	one := &contestant{Contestant: c, Follower: follower, proxy: proxy, seen: newSightings(follower)}
	w.cleanup.AddFunc("sightings", background(one.seen.run))
	w.all = append(w.all, one)
	return nil
}

func (w *world) spec(c Contestant, name, source string) stack.FollowerSpec {
	spec := stack.FollowerSpec{Name: name, Binary: c.Program, Sources: []string{source}}
	if c.Upstream {
		spec.Extra = []string{"--l1.beacon=" + w.net.L1().Beacon(), "--p2p.bootnodes=" + params.MainnetBootnodes[0]}
	}
	return spec
}

// level waits until all contestants have the source's safe label, or for as long as the limit.
func (w *world) level(ctx context.Context, limit time.Duration) {
	goal := w.net.Source().EL().Heads().Safe.Number
	wait(ctx, limit, func() bool {
		for _, c := range w.all {
			if c.EL().Heads().Safe.Number < goal {
				return false
			}
		}
		return true
	})
}

// phase is one fault: what a contestant's proxy does.
type phase struct {
	name  string
	fault func(c *contestant) faultproxy.Behaviour
}

const (
	replayed      = "a replayed status"
	earlyFinality = "finality ahead of L1"
)

func withGossip(ctx context.Context, o Options, g *report.Group) (err error) {
	w, err := open(ctx, o, "gossip", true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	o.Say("faults: devnet up")
	for _, c := range w.all {
		c.proxy.Set(c.old.record())
	}
	w.level(ctx, time.Minute)
	for _, p := range []phase{
		{replayed, func(c *contestant) faultproxy.Behaviour { return c.old.replay() }},
		{"a wrong safe hash", func(*contestant) faultproxy.Behaviour { return wrongHash("safe_l2") }},
		{"a wrong finalized hash", func(*contestant) faultproxy.Behaviour { return wrongHash("finalized_l2") }},
		{"a local-safe head that nobody has", func(*contestant) faultproxy.Behaviour { return nobodyHasIt() }},
		{earlyFinality, func(*contestant) faultproxy.Behaviour { return finalizedIsSafe() }},
	} {
		o.Say("faults: %s", p.name)
		for _, c := range w.all {
			c.proxy.Set(p.fault(c))
			c.seen.reset()
		}
		if !sleep(ctx, o.Phase) {
			return ctx.Err()
		}
		for _, c := range w.all {
			s := c.seen.read()
			wentBack(p.name, c, s, g)
			switch p.name {
			case replayed:
				g.Set(p.name+": current_l1 went back", "L1 blocks", c.Name, report.Single(float64(s.l1Back)))
			case earlyFinality:
				ahead := int(c.EL().Heads().Finalized.Number) - int(w.net.Source().EL().Heads().Finalized.Number)
				g.Set(p.name+": finalized above the source's own", "L2 blocks", c.Name, report.Single(float64(max(ahead, 0))))
			}
			c.proxy.Set(faultproxy.Pass())
		}
		w.level(ctx, o.Phase+30*time.Second)
	}
	return w.kill(ctx, g)
}

// wentBack reads how far labels went back.
func wentBack(name string, c *contestant, s sighting, g *report.Group) {
	g.Set(name+": safe went back", "L2 blocks", c.Name, report.Single(float64(s.safeBack)))
	g.Set(name+": zero labels served", "% of answers", c.Name, report.Single(s.zeros()))
}

// kills is how often each process is ended.
const kills = 5

// kill ends every process as the kernel does, and starts it again, a few times.
func (w *world) kill(ctx context.Context, g *report.Group) error {
	w.o.Say("faults: kill -9, %d times each", kills)
	for _, c := range w.all {
		times, worst := 0, uint64(0)
		for range kills {
			c.seen.reset()
			c.Kill9()
			goal := w.net.Source().EL().Heads().Safe.Number + 1
			if err := c.Restart(ctx); err != nil {
				return err
			}
			if !wait(ctx, time.Minute, func() bool { return c.EL().Heads().Safe.Number >= goal }) {
				return fmt.Errorf("%s does not come back", c.Name)
			}
			if s := c.seen.read(); s.safeBack > 0 {
				times, worst = times+1, max(worst, s.safeBack)
			}
		}
		g.Set(fmt.Sprintf("kill -9, %d times: safe went back", kills), "times", c.Name, report.Single(float64(times)))
		g.Set("kill -9: safe went back at the worst", "L2 blocks", c.Name, report.Single(float64(worst)))
	}
	return nil
}

func withoutGossip(ctx context.Context, o Options, g *report.Group) (err error) {
	w, err := open(ctx, o, "no-gossip", false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	o.Say("faults: no gossip")
	w.level(ctx, time.Minute)
	for _, c := range w.all {
		c.seen.reset()
	}
	if !sleep(ctx, 3*o.Phase) {
		return ctx.Err()
	}
	for _, c := range w.all {
		s := c.seen.read()
		wentBack("no gossip", c, s, g)
		g.Set("no gossip: times that safe went back", "per minute", c.Name, report.Single(float64(s.backs)/(3*o.Phase).Minutes()))
	}
	o.Say("faults: starts")
	return w.starts(ctx, g)
}

// starts tries to start each program without a beacon API, and while its source is down.
func (w *world) starts(ctx context.Context, g *report.Group) error {
	for _, c := range w.all {
		plain := c.Contestant
		spec := w.spec(plain, c.File+"-no-beacon", c.proxy.URL())
		if plain.Upstream {
			spec.Extra = spec.Extra[1:]
		}
		_, err := w.net.AddFollower(ctx, spec)
		g.Set("no beacon API: starts", "1 is yes", c.Name, report.Single(yes(err == nil)))
	}
	for _, c := range w.all {
		// A port of this machine on which nothing listens.
		_, err := w.net.AddFollower(ctx, w.spec(c.Contestant, c.File+"-source-down", "http://127.0.0.1:1"))
		g.Set("source down: starts within a minute", "1 is yes", c.Name, report.Single(yes(err == nil)))
	}
	return nil
}

func yes(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

func wait(ctx context.Context, limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) || !sleep(ctx, 20*time.Millisecond) {
			return false
		}
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// background runs a function until the returned one is called, which waits for it.
func background(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
