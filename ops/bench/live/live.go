// Package live measures nodes on a real devnet: one L1, one sequencer, one deriving source, and each contestant a process
// of its own on an op-geth of its own, all of them on the same blocks at the same time.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	"github.com/lightcl/op-node/ops/bench/meter"
	"github.com/lightcl/op-node/ops/devnet/closer"
	"github.com/lightcl/op-node/ops/devnet/opnode"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// Options shape a run.
type Options struct {
	// OpNode and Upstream are the programs, both of them op-nodes.
	OpNode, Upstream string
	// Patched is upstream's program with the series of ops/patches, another contestant; empty is none.
	Patched string
	// Dir receives logs and files of the nodes. It must exist.
	Dir string
	// Warmup passes before Window, over which is measured; ScaleWindow is the one for the numbers of sources, zero for none.
	Warmup, Window, ScaleWindow time.Duration
	// Restarts is how often each contestant is restarted.
	Restarts int
	// Log is what the devnet logs to, Say hears how the run goes.
	Log log.Logger
	Say func(format string, args ...any)
}

const (
	l1BlockTime = 4 * time.Second
	// l1Jitter is how late an L1 block is at most. Without it the polls of a node with a fixed interval would meet all
	// L1 blocks of a run at the same distance.
	l1Jitter = 2 * time.Second
	stopTime = 10 * time.Second
)

// arena is the devnet with the contestants in it.
type arena struct {
	o       Options
	net     *stack.Stack
	cleanup closer.Closer
	watch   *sampler
	all     []*contestant
}

// contestant is a node process and what stands between it and the rest of the world.
type contestant struct {
	name   string
	node   *opnode.Node
	el     *stack.EL
	l1     *meter.Proxy
	engine *meter.Proxy
	// sources are empty for a node that derives.
	sources []*meter.Proxy
	heads   *histories
}

// open starts the devnet and begins to watch it.
func open(ctx context.Context, o Options) (*arena, error) {
	so := stack.DefaultOptions()
	so.L1BlockTime, so.L2BlockTime, so.Dir, so.Log = l1BlockTime, time.Second, o.Dir, o.Log
	a := &arena{o: o}
	// Before anything else: a program may not be open for writing in a child of this process when it is started.
	programs := map[string]*string{"ours": &a.o.OpNode, "upstream": &a.o.Upstream}
	if a.o.Patched != "" {
		programs["patched"] = &a.o.Patched
	}
	for name, program := range programs {
		if err := a.copyProgram(program, name); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	net, err := stack.Start(ctx, so)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.net = net
	a.cleanup.AddWithin("devnet", 2*time.Minute, func(context.Context) error { return net.Close() })
	a.cleanup.AddFunc("jitter", background(a.jitterL1))
	a.watch = newSampler(net.Source())
	a.cleanup.AddFunc("sampler", background(a.watch.run))
	return a, nil
}

// copyProgram puts a copy in the place of a program, for the time of the run. How much of a program's file counts as
// resident memory depends on how the file came into the system's cache: one and the same program has a quarter more just
// after the linker wrote it. Copies made in the same way, at the same time, are alike.
func (a *arena) copyProgram(program *string, name string) error {
	in, err := os.Open(*program)
	if err != nil {
		return err
	}
	defer in.Close()
	path, err := filepath.Abs(filepath.Join(a.o.Dir, name+".program"))
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	a.cleanup.AddErr("copied program", func() error { return os.Remove(path) })
	*program = path
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (a *arena) close() error { return a.cleanup.Close() }

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

// jitterL1 holds each L1 block up by a random time.
func (a *arena) jitterL1(ctx context.Context) {
	l1, genesis := a.net.L1(), time.Unix(int64(a.net.Rollup().Genesis.L2Time), 0) // L1's is the same
	for last := l1.Head().Number; wait(ctx, 10*time.Millisecond); {
		head := l1.Head().Number
		if head == last {
			continue
		}
		last = head
		if l1.Pause() != nil {
			return // L1 is gone
		}
		due := genesis.Add(time.Duration(head+1) * l1BlockTime)
		ok := wait(ctx, time.Until(due)+rand.N(l1Jitter))
		if l1.Resume() != nil || !ok {
			return
		}
	}
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

// spec says how a contestant is run.
type spec struct {
	name, file, program string
	// sources is the number of sources, zero for a node that derives.
	sources int
	// upstream is set for upstream's op-node, which does not start without some flags that it then makes no use of: a
	// follower wants a beacon API, and a node that discovers nobody wants boot nodes, or it looks up its own by their names.
	upstream bool
}

// add starts a contestant, each of its connections through a counting proxy.
func (a *arena) add(ctx context.Context, s spec) (*contestant, error) {
	c := &contestant{name: s.name}
	var err error
	if c.el, err = a.net.AddEL(ctx, s.file); err != nil {
		return nil, err
	}
	if c.l1, err = a.proxy(a.net.L1().WS()); err != nil {
		return nil, err
	}
	if c.engine, err = a.proxy(c.el.AuthHTTP()); err != nil {
		return nil, err
	}
	dir := filepath.Join(a.o.Dir, s.file)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	files := a.net.Files()
	flags := opnode.Flags{
		L1: c.l1.WS(), L2: c.engine.HTTP(), JWT: files.JWT, Rollup: files.Rollup, L1Chain: files.L1Chain, Metrics: true,
		Gossip: &opnode.Gossip{
			Static: []string{a.net.Sequencer().Multiaddr(), a.net.Source().Multiaddr()},
			Key:    filepath.Join(dir, "p2p.key"),
		},
	}
	if s.upstream {
		flags.Beacon, flags.Extra = a.net.L1().Beacon(), []string{"--p2p.bootnodes=" + params.MainnetBootnodes[0]}
	}
	for range s.sources {
		source, err := a.proxy(a.net.Source().RPC())
		if err != nil {
			return nil, err
		}
		c.sources = append(c.sources, source)
		flags.Follow = append(flags.Follow, source.HTTP())
	}
	if c.node, err = opnode.New(s.file, s.program, dir, flags); err != nil {
		return nil, err
	}
	a.cleanup.AddWithin(s.name, 2*stopTime, func(context.Context) error { return a.stop(c) })
	c.heads = a.watch.add(c.el)
	if err := c.node.Start(ctx); err != nil {
		return nil, err
	}
	a.all = append(a.all, c)
	return c, nil
}

func (a *arena) proxy(target string) (*meter.Proxy, error) {
	p, err := meter.NewProxy(target)
	if err == nil {
		a.cleanup.AddErr("counting proxy", p.Close)
	}
	return p, err
}

func (a *arena) stop(c *contestant) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	return c.node.Stop(ctx)
}

// broken is the error of a part that ended by itself.
func (a *arena) broken() error {
	select {
	case err := <-a.net.Failed():
		return err
	default:
	}
	for _, c := range a.all {
		select {
		case <-c.node.Exited():
			return fmt.Errorf("%s ended by itself: %w", c.name, errors.Join(c.node.Exit(), errors.New(c.node.LogFile())))
		default:
		}
	}
	return nil
}

var metricsLine = regexp.MustCompile(`started metrics server.*addr=(\S+:\d+)`)

// metricsURL is where the present process of a contestant serves its metrics.
func (c *contestant) metricsURL() (string, error) {
	text, err := os.ReadFile(c.node.LogFile())
	if err != nil {
		return "", err
	}
	all := metricsLine.FindAllStringSubmatch(string(text), -1)
	if len(all) == 0 {
		return "", fmt.Errorf("%s has not said where its metrics are", c.name)
	}
	return "http://" + all[len(all)-1][1] + "/metrics", nil
}

// calls are the calls of a contestant up to now.
type calls struct{ sources, l1, engine meter.Counts }

func (c *contestant) calls() calls {
	out := calls{l1: c.l1.Counts(), engine: c.engine.Counts()}
	for _, s := range c.sources {
		out.sources = out.sources.Plus(s.Counts())
	}
	return out
}

func (c calls) since(before calls) calls {
	return calls{c.sources.Since(before.sources), c.l1.Since(before.l1), c.engine.Since(before.engine)}
}
