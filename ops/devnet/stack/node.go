package stack

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/node/runcfg"
	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-node/rollup/finality"
	rollupsync "github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
	"github.com/ethereum-optimism/optimism/op-service/sources"
	"github.com/ethereum/go-ethereum/log"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/lightcl/op-node/ops/devnet/closer"
)

// Node is a rollup node inside this process: upstream's driver on its own op-geth, in derivation mode, perhaps
// sequencing. Its methods may be called from any goroutine.
type Node struct {
	name      string
	el        *EL
	driver    *driver.Driver
	rpc       string
	multiaddr string
}

// nodeSpec says which node to build.
type nodeSpec struct {
	name string
	el   *EL
	// signer makes the node a sequencer that signs its blocks with this key; nil is a verifier.
	signer *ecdsa.PrivateKey
	// gossip joins the block gossip and dials the peers.
	gossip bool
	peers  []*Node
}

// Name is what the node is called in logs and tables.
func (n *Node) Name() string { return n.name }

// EL is the node's execution engine.
func (n *Node) EL() *EL { return n.el }

// RPC is the URL of the node's RPC server, which serves the optimism namespace.
func (n *Node) RPC() string { return n.rpc }

// Multiaddr is where other nodes dial this one for gossip; empty when it does not take part.
func (n *Node) Multiaddr() string { return n.multiaddr }

// SyncStatus is what optimism_syncStatus answers.
func (n *Node) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	return n.driver.SyncStatus(ctx)
}

// builder carries what the steps of startNode share.
type builder struct {
	spec    nodeSpec
	chain   *chain
	l1      *L1
	log     log.Logger
	metrics *metrics.Metrics
	cleanup *closer.Closer
	// failed receives the error that ends the node; it never blocks the node.
	failed chan<- error
}

// startNode assembles and starts a node. What it started is on the cleanup stack, also when it fails.
func startNode(ctx context.Context, b builder) (*Node, error) {
	b.log = b.log.New("node", b.spec.name)
	b.metrics = metrics.NewMetrics(b.spec.name, nil)
	l1, err := b.dialL1(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := b.dialEngine(ctx)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	b.cleanup.AddFunc("resources of "+b.spec.name, end)
	exec := event.NewGlobalSynchronous(life).WithMetrics(b.metrics)
	events := event.NewSystem(b.log, exec)
	b.cleanup.AddFunc("events of "+b.spec.name, events.Stop)
	events.Register("failure", failureWatch{name: b.spec.name, life: life, failed: b.failed})

	box := newOutbox()
	drv := b.newDriver(events, exec, engine, l1, box)
	b.cleanup.AddErr("driver of "+b.spec.name, func() error {
		// First the events: a driver closed in the middle of a reset goes on resetting for as long as they are run.
		end()
		return drv.Close()
	})
	n := &Node{name: b.spec.name, el: b.spec.el, driver: drv}

	b.watchL1(life, events, l1, drv)
	if b.spec.gossip {
		if n.multiaddr, err = b.joinGossip(ctx, life, engine, l1, drv, box); err != nil {
			return nil, err
		}
	} else {
		go box.discard(life)
	}
	if n.rpc, err = b.serve(drv, engine); err != nil {
		return nil, err
	}
	if err := drv.Start(); err != nil {
		return nil, fmt.Errorf("start driver of %s: %w", b.spec.name, err)
	}
	if b.spec.signer != nil {
		b.cleanup.Add("sequencing of "+b.spec.name, func(ctx context.Context) error {
			_, err := drv.StopSequencer(ctx)
			return err
		})
	}
	return n, nil
}

func (b *builder) dialL1(ctx context.Context) (*sources.L1Client, error) {
	conn, err := client.NewRPC(ctx, b.log, b.l1.WS())
	if err != nil {
		return nil, fmt.Errorf("dial L1: %w", err)
	}
	b.cleanup.AddFunc("L1 client of "+b.spec.name, conn.Close)
	l1, err := sources.NewL1Client(conn, b.log, b.metrics.L1SourceCache, sources.L1ClientSimpleConfig(false, sources.RPCKindStandard, 200))
	if err != nil {
		return nil, fmt.Errorf("create L1 client: %w", err)
	}
	if err := b.chain.rollup.ValidateL1Config(ctx, b.log, l1); err != nil {
		return nil, fmt.Errorf("L1 does not fit the rollup config: %w", err)
	}
	return l1, nil
}

func (b *builder) dialEngine(ctx context.Context) (*sources.EngineClient, error) {
	secret, err := readJWT(b.spec.el.jwtPath)
	if err != nil {
		return nil, err
	}
	auth := client.WithGethRPCOptions(rpc.WithHTTPAuth(gethnode.NewJWTAuth(secret)))
	conn, err := client.NewRPC(ctx, b.log, b.spec.el.AuthWS(), auth)
	if err != nil {
		return nil, fmt.Errorf("dial engine of %s: %w", b.spec.name, err)
	}
	b.cleanup.AddFunc("engine client of "+b.spec.name, conn.Close)
	engine, err := sources.NewEngineClient(conn, b.log, b.metrics.L2SourceCache, sources.EngineClientDefaultConfig(b.chain.rollup))
	if err != nil {
		return nil, fmt.Errorf("create engine client of %s: %w", b.spec.name, err)
	}
	if err := b.chain.rollup.ValidateL2Config(ctx, b.log, engine, false); err != nil {
		return nil, fmt.Errorf("engine of %s does not fit the rollup config: %w", b.spec.name, err)
	}
	return engine, nil
}

func (b *builder) newDriver(events event.Registry, drain driver.Drain, engine *sources.EngineClient, l1 *sources.L1Client, box outbox) *driver.Driver {
	beacon := sources.NewL1BeaconClient(
		sources.NewBeaconHTTPClient(client.NewBasicHTTPClient(b.l1.Beacon(), b.log)), sources.L1BeaconClientConfig{})
	cfg := &driver.Config{
		SequencerEnabled: b.spec.signer != nil,
		Finalizer:        &finality.Config{},
	}
	return driver.NewDriver(events, drain, cfg, b.chain.rollup, b.chain.l1.Config, nil, engine, l1, nil, beacon, box,
		b.log, b.metrics, sequencerState{}, safedb.Disabled, &rollupsync.Config{SyncMode: rollupsync.CLSync},
		&conductor.NoOpConductor{}, altda.Disabled, nil)
}

// joinGossip starts the P2P side of the node and returns the address it is dialled by.
func (b *builder) joinGossip(ctx, life context.Context, engine *sources.EngineClient, l1 *sources.L1Client, drv *driver.Driver, box outbox) (string, error) {
	head, err := l1.L1BlockRefByLabel(ctx, eth.Unsafe)
	if err != nil {
		return "", fmt.Errorf("L1 head: %w", err)
	}
	signers := runcfg.NewRuntimeConfig(b.log, l1, b.chain.rollup)
	if err := signers.Load(ctx, head); err != nil {
		return "", fmt.Errorf("unsafe block signer: %w", err)
	}
	peers := make([]string, len(b.spec.peers))
	for i, peer := range b.spec.peers {
		peers[i] = peer.multiaddr
	}
	p2pNode, addr, err := startGossip(life, gossipNode{
		rollup: b.chain.rollup, log: b.log, metrics: b.metrics,
		blocks: drv.SyncDeriver, signers: signers, outbox: box, key: b.spec.signer,
	}, engine, peers)
	if err != nil {
		return "", err
	}
	b.cleanup.AddErr("gossip of "+b.spec.name, p2pNode.Close)
	return addr, nil
}

func (b *builder) serve(drv *driver.Driver, engine *sources.EngineClient) (string, error) {
	server := oprpc.NewServer("127.0.0.1", 0, version, oprpc.WithLogger(b.log))
	server.AddAPI(rpc.API{
		Namespace: "optimism",
		Service:   &rollupAPI{cfg: b.chain.rollup, driver: drv, engine: engine, safe: safedb.Disabled},
	})
	if err := server.Start(); err != nil {
		return "", fmt.Errorf("start RPC server of %s: %w", b.spec.name, err)
	}
	b.cleanup.AddErr("RPC server of "+b.spec.name, server.Stop)
	return "http://" + server.Endpoint(), nil
}

// sequencerState forgets whether sequencing runs: the devnet's nodes do not survive a restart.
type sequencerState struct{}

func (sequencerState) SequencerStarted() error { return nil }
func (sequencerState) SequencerStopped() error { return nil }

// failureWatch turns the node's critical event into an error for the owner of the devnet.
type failureWatch struct {
	name   string
	life   context.Context // what fails after its end is only the stopping
	failed chan<- error
}

// OnEvent implements event.Deriver.
func (w failureWatch) OnEvent(_ context.Context, ev event.Event) bool {
	critical, ok := ev.(rollup.CriticalErrorEvent)
	if !ok {
		return false
	}
	if w.life.Err() == nil {
		select {
		case w.failed <- fmt.Errorf("node %s: %w", w.name, critical.Err):
		default: // one failure is enough
		}
	}
	return true
}
