package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-service/secret"
)

const (
	// dialAttempts is how often a connection is tried at start, with growing pauses; about a minute in all.
	dialAttempts = 10
	// l1PollTimeout bounds a request for a labelled L1 block.
	l1PollTimeout = 10 * time.Second
)

// l1Link is the connection to L1: the caching client, and the plain connection beneath it for batches of the caller's own making.
type l1Link struct {
	*sources.L1Client
	rpc client.RPC
}

// connectL1 dials L1 and checks that it is the chain's.
func (n *Node) connectL1(ctx context.Context) (*l1Link, error) {
	c := n.cfg.L1
	opts := []client.RPCOption{
		client.WithDialAttempts(dialAttempts),
		client.WithHttpPollInterval(0), // l1HeadWatch does it
		client.WithRPCRecorder(n.metrics.NewRecorder("l1")),
	}
	if c.RateLimit != 0 {
		opts = append(opts, client.WithRateLimit(c.RateLimit, c.MaxBatchSize))
	}
	conn, err := client.NewRPC(ctx, n.log, c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("failed to dial L1 address (--l1=%s): %w", secret.Shown(c.URL), err)
	}
	conn = hidingRPC{conn, n.hide}
	n.cleanups.addFunc("L1 connection", conn.Close)

	cacheSize := int(c.CacheSize)
	if cacheSize == 0 {
		cacheSize = int(n.cfg.Chain.Rollup.SeqWindowSize) * 3 / 2
	}
	clientCfg := sources.L1ClientSimpleConfig(c.TrustRPC, c.Kind, cacheSize)
	clientCfg.MaxConcurrentRequests, clientCfg.MaxRequestsPerBatch = c.MaxConcurrency, c.MaxBatchSize
	l1, err := sources.NewL1Client(conn, n.log, n.metrics.L1SourceCache, clientCfg)
	if err != nil {
		return nil, fmt.Errorf("failed to create L1 source: %w", err)
	}
	if err := n.cfg.Chain.Rollup.ValidateL1Config(ctx, n.log, l1); err != nil {
		return nil, fmt.Errorf("failed to validate the L1 config: --l1=%s is not the L1 of the rollup config: %w", secret.Shown(c.URL), err)
	}
	return &l1Link{L1Client: l1, rpc: conn}, nil
}

// watchL1 keeps the driver informed of the L1's head, safe and finalized block.
func (n *Node) watchL1() {
	head := &l1HeadWatch{
		ask: n.askL1Head, tell: n.stack.driver.OnL1Head, wants: n.stack.wants,
		interval: n.cfg.L1.HTTPPollInterval, clock: n.clock, log: n.log,
	}
	if pushes(n.cfg.L1.URL) {
		head.subscribe = func(ctx context.Context, push eth.HeadSignalFn) (ethereum.Subscription, error) {
			return eth.WatchHeadChanges(ctx, n.l1, push)
		}
	}
	n.cleanups.addFunc("watching the L1 head", background(head.run))
	for _, watch := range []struct {
		label  eth.BlockLabel
		tell   eth.HeadSignalFn
		wanted <-chan struct{}
	}{
		{eth.Safe, n.stack.driver.OnL1Safe, nil},
		{eth.Finalized, n.stack.driver.OnL1Finalized, n.stack.wants.FinalityWanted()},
	} {
		poll := &l1Poll{
			source: n.l1, label: watch.label, tell: watch.tell, wanted: watch.wanted,
			interval: n.cfg.L1.EpochPollInterval, clock: n.clock, log: n.log,
		}
		n.cleanups.addFunc("polling of the "+string(watch.label)+" L1 block", background(poll.run))
	}
}

// askL1Head asks for the head, within l1PollTimeout.
func (n *Node) askL1Head(ctx context.Context) (eth.L1BlockRef, error) {
	ctx, cancel := context.WithTimeout(ctx, l1PollTimeout)
	defer cancel()
	return n.l1.L1BlockRefByLabel(ctx, eth.Unsafe)
}

// l1Poll asks for a labelled L1 block at an interval, beginning at once, and whenever it is wanted besides.
type l1Poll struct {
	source interface {
		L1BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L1BlockRef, error)
	}
	label eth.BlockLabel
	tell  eth.HeadSignalFn
	// wanted delivers when the block is wanted out of turn; nil if it never is.
	wanted   <-chan struct{}
	interval time.Duration
	clock    clock.Clock
	log      log.Logger
}

func (p *l1Poll) run(ctx context.Context) {
	var regular <-chan time.Time
	if p.interval > 0 {
		ticker := p.clock.NewTicker(p.interval)
		defer ticker.Stop()
		regular = ticker.Ch()
		p.poll(ctx)
	} else {
		p.log.Warn("polling of block is disabled", "interval", p.interval, "label", p.label)
	}
	for {
		select {
		case <-regular:
		case <-p.wanted:
		case <-ctx.Done():
			return
		}
		p.poll(ctx)
	}
}

func (p *l1Poll) poll(ctx context.Context) {
	if ref, err := p.ask(ctx); err == nil {
		p.tell(ctx, ref)
	} else if ctx.Err() == nil {
		p.log.Warn("failed to poll L1 block", "label", p.label, "err", err)
	}
}

func (p *l1Poll) ask(ctx context.Context) (eth.L1BlockRef, error) {
	ctx, cancel := context.WithTimeout(ctx, l1PollTimeout)
	defer cancel()
	return p.source.L1BlockRefByLabel(ctx, p.label)
}

// background runs a function until the returned function is called, which waits for its end.
func background(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}
