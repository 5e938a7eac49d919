// Package node assembles the rollup node from a configuration and runs it.
//
// The node has two modes, chosen here and nowhere deeper: without a follow source it runs upstream's driver, which derives safe and
// finalized blocks from L1; with one it runs the driver of follow mode, which takes them from another node. See derivation.go and
// follow.go for what each mode needs; everything else is shared.
package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	gethlog "github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/node/runcfg"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/ethereum-optimism/optimism/op-service/cliapp"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
	"github.com/lightcl/op-node/op-service/secret"
)

// Node is a rollup node: made by [New], run by Start, ended by Stop. All methods are safe for concurrent use.
type Node struct {
	cfg     *config.Config
	log     gethlog.Logger
	version string
	metrics *metrics.Metrics
	clock   clock.Clock
	hide    *secret.Hider

	l1     *l1Link
	engine *sources.EngineClient
	runCfg *runcfg.RuntimeConfig
	gossip *publisher
	stack  *rollupStack
	peers  *peerNetwork
	rpc    *rpcListener
	// adminRPC serves what changes the node; nil: rpc does.
	adminRPC *rpcListener

	// critical gets the first error that makes the node useless.
	critical chan error

	cleanups cleanups
	mu       sync.Mutex // one of Start and Stop at a time
	started  bool
	stopping atomic.Bool
	stopped  atomic.Bool
}

var _ cliapp.Lifecycle = (*Node)(nil)

// New connects to L1 and to the execution layer, checks that both are on the configured chain, binds the ports of the servers and
// builds everything up to the driver, which does not run yet. If anything fails or ctx ends, all of it is released before New returns.
func New(ctx context.Context, cfg *config.Config, log gethlog.Logger, version string, m *metrics.Metrics, clk clock.Clock) (*Node, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	hide := secret.New(cfg.Secrets()...)
	log = gethlog.NewLogger(hide.Handler(log.Handler()))
	log.Info("Initializing rollup node", "version", version)
	n := &Node{cfg: cfg, log: log, version: version, metrics: m, clock: clk, hide: hide, critical: make(chan error, 1)}
	if err := n.assemble(ctx); err != nil {
		return nil, hide.Error(errors.Join(err, n.Stop(context.WithoutCancel(ctx))))
	}
	return n, nil
}

// assemble builds the parts in the order of their needs. Each is registered for release as soon as it exists.
func (n *Node) assemble(ctx context.Context) error {
	var err error
	if err = n.bindServers(); err != nil {
		return err
	}
	if n.l1, err = n.connectL1(ctx); err != nil {
		return fmt.Errorf("failed to init L1 Source: %w", err)
	}
	if n.engine, err = n.connectEngine(ctx); err != nil {
		return fmt.Errorf("failed to init L2: %w", err)
	}
	if n.gossip, err = n.newPublisher(); err != nil {
		return fmt.Errorf("failed to init the P2P signer: %w", err)
	}
	if n.stack, err = n.newStack(ctx); err != nil {
		return fmt.Errorf("failed to init L2: %w", err)
	}
	n.cleanups.add("L2 engine driver", func(context.Context) error { return n.stack.driver.Close() })
	if n.runCfg, err = n.loadRuntimeConfig(ctx); err != nil {
		return fmt.Errorf("failed to init the runtime config: %w", err)
	}
	if n.peers, err = n.openPeerStores(); err != nil {
		return fmt.Errorf("failed to init the P2P stack: %w", err)
	}
	return nil
}

// newStack makes the choice between the modes.
func (n *Node) newStack(ctx context.Context) (*rollupStack, error) {
	if !n.cfg.Follow.Enabled() {
		n.log.Info("Safety levels", "unsafe", "enabled", "safe", "enabled")
		return n.newDerivation(ctx)
	}
	n.log.Info("Safety levels", "unsafe", "enabled", "safe", n.cfg.Follow.String())
	return n.newFollow(ctx)
}

// Start connects to peers, runs the driver and opens the RPC. If anything fails, the node is stopped before Start returns. A node
// starts once.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	if n.started || n.stopping.Load() {
		n.mu.Unlock()
		return errors.New("node was started or stopped before")
	}
	n.started = true
	err := n.start(ctx)
	n.mu.Unlock()
	if err != nil {
		return n.hide.Error(errors.Join(err, n.Stop(context.WithoutCancel(ctx))))
	}
	n.metrics.RecordUp()
	n.log.Info("Rollup node started")
	return nil
}

func (n *Node) start(ctx context.Context) error {
	if err := n.startPeers(); err != nil {
		return fmt.Errorf("failed to init the P2P stack: %w", err)
	}
	n.cleanups.add("sequencer", n.stopSequencer)
	n.watchL1()
	n.reloadRuntimeConfig()
	n.log.Info("Starting execution engine driver")
	if err := n.stack.driver.Start(); err != nil {
		return fmt.Errorf("could not start a rollup node: %w", err)
	}
	if err := n.openRPC(); err != nil {
		return fmt.Errorf("failed to init the RPC server: %w", err)
	}
	n.cleanups.addFunc("waiting clients", n.stack.feed.Stop) // who are answered before the RPC ends
	return ctx.Err()
}

// stopSequencer ends block production, if there is any, before peers and engine go away.
func (n *Node) stopSequencer(ctx context.Context) error {
	head, err := n.stack.driver.StopSequencer(ctx)
	switch {
	case errors.Is(err, sequencing.ErrSequencerNotEnabled):
		return nil
	case errors.Is(err, sequencing.ErrSequencerAlreadyStopped):
		n.log.Info("stopping node: sequencer already stopped", "latestHead", head)
		return nil
	case err != nil:
		return err
	}
	n.log.Info("stopped sequencer", "latestHead", head)
	return nil
}

// Stop releases everything, last made first: the RPC, the sequencer, the peers, the driver, the connections. The end of ctx makes it
// hurry, not give up. Calling it again is harmless.
func (n *Node) Stop(ctx context.Context) error {
	n.stopping.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.cleanups.run(ctx)
	n.stopped.Store(true)
	return err
}

// Stopped tells whether Stop is done.
func (n *Node) Stopped() bool { return n.stopped.Load() }

// Critical delivers the error after which the node cannot go on, if there ever is one. The owner then stops the node.
func (n *Node) Critical() <-chan error { return n.critical }

// fail reports a critical error; the first one counts.
func (n *Node) fail(err error) {
	err = n.hide.Error(err)
	n.log.Error("Critical error", "err", err)
	select {
	case n.critical <- fmt.Errorf("critical error: %w", err):
	default:
	}
}

// HTTPEndpoint returns the URL of the RPC, with the port that was really bound.
func (n *Node) HTTPEndpoint() string { return "http://" + n.rpc.address() }
