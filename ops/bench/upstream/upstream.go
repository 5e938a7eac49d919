// Package upstream runs upstream's own rollup driver, imported as a library: the opponent of the benchmark.
package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-node/rollup/finality"
	rollupsync "github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/ethereum-optimism/optimism/op-service/sources"
)

// SealingDuration is how long before its time a sequencer fetches a block: the flag's default, for all sequencers.
const SealingDuration = 50 * time.Millisecond

// Metrics is what the driver and its event system count.
type Metrics interface {
	driver.Metrics
	event.Metrics
}

// Deps are what a Node works with. All are required, except that exactly one of Source and Blobs makes sense.
type Deps struct {
	Rollup  *rollup.Config
	L1Chain *params.ChainConfig
	Engine  driver.L2Chain
	L1      driver.L1Chain
	// Source is the client of the node to follow; nil for a node that derives.
	Source *sources.FollowClient
	// Blobs are where a deriving node finds batches.
	Blobs derive.L1BlobsFetcher
	// Network publishes the blocks of a sequencer; nil for a verifier.
	Network driver.Network
	Metrics Metrics
	Log     log.Logger
	// Fatal hears of errors that the driver does not go on with.
	Fatal func(error)
}

// Node is upstream's driver. Its methods may be called from any goroutine.
type Node struct {
	*driver.Driver
	system  event.System
	signals event.Emitter
	end     context.CancelFunc
}

// New connects a driver that has yet to Start.
func New(deps Deps) *Node {
	life, end := context.WithCancel(context.Background())
	executor := event.NewGlobalSynchronous(life).WithMetrics(deps.Metrics)
	system := event.NewSystem(deps.Log, executor)
	system.AddTracer(event.NewMetricsTracer(deps.Metrics))
	system.Register("bench", event.DeriverFunc(func(_ context.Context, ev event.Event) bool {
		critical, ok := ev.(rollup.CriticalErrorEvent)
		if ok && life.Err() == nil {
			deps.Fatal(critical.Err)
		}
		return ok
	}))
	var source driver.UpstreamFollowSource
	syncCfg := &rollupsync.Config{SyncMode: rollupsync.CLSync}
	if deps.Source != nil {
		source = driver.NewL2FollowSource(deps.Source, deps.L1)
		syncCfg.L2FollowSourceEndpoint = "set" // asked for emptiness only
	}
	cfg := &driver.Config{Finalizer: &finality.Config{}}
	network := driver.Network(verifier{})
	if deps.Network != nil {
		network, cfg.SequencerEnabled, cfg.SequencerSealingDuration = deps.Network, true, SealingDuration
		syncCfg.NeedInitialResetEngine = deps.Source != nil // as upstream's op-node has it
	}
	n := &Node{system: system, end: end}
	n.Driver = driver.NewDriver(system, executor, cfg, deps.Rollup, deps.L1Chain, nil,
		deps.Engine, deps.L1, source, deps.Blobs, network, deps.Log, deps.Metrics, verifier{}, safedb.Disabled, syncCfg,
		&conductor.NoOpConductor{}, altda.Disabled, nil)
	system.Register("l1-signals", event.DeriverFunc(n.onSignal))
	n.signals = system.Register("l1", nil) // whoever handles events may emit from within the event loop only
	return n
}

// Close stops the driver and waits for it.
func (n *Node) Close() error {
	n.end() // first, or a driver in the middle of a reset goes on with it
	err := n.Driver.Close()
	n.system.Stop()
	return err
}

// signal is an L1 block that has a label now.
type signal struct {
	label eth.BlockLabel
	block eth.L1BlockRef
}

// String implements event.Event.
func (signal) String() string { return "l1-block" }

// OnL1Head takes a new head of L1.
func (n *Node) OnL1Head(_ context.Context, ref eth.L1BlockRef) { n.emit(eth.Unsafe, ref) }

// OnL1Safe takes the safe block of L1.
func (n *Node) OnL1Safe(_ context.Context, ref eth.L1BlockRef) { n.emit(eth.Safe, ref) }

// OnL1Finalized takes the finalized block of L1.
func (n *Node) OnL1Finalized(_ context.Context, ref eth.L1BlockRef) { n.emit(eth.Finalized, ref) }

// emit goes through the event loop, because the status tracker does not lock when it is told of L1 blocks.
func (n *Node) emit(label eth.BlockLabel, ref eth.L1BlockRef) {
	n.signals.Emit(context.Background(), signal{label, ref})
}

func (n *Node) onSignal(ctx context.Context, ev event.Event) bool {
	s, ok := ev.(signal)
	if !ok {
		return false
	}
	switch s.label {
	case eth.Finalized:
		n.StatusTracker.OnL1Finalized(s.block)
		n.Finalizer.OnL1Finalized(s.block)
		n.SyncDeriver.OnL1Finalized(ctx)
	case eth.Safe:
		n.StatusTracker.OnL1Safe(s.block)
	case eth.Unsafe:
		n.SyncDeriver.L1Tracker.OnL1Unsafe(s.block)
		n.StatusTracker.OnL1Unsafe(s.block)
		n.SyncDeriver.OnL1Unsafe(ctx)
	}
	return true
}

// verifier is what a node has instead of a network and a memory of sequencing.
type verifier struct{}

func (verifier) SignAndPublishL2Payload(context.Context, *eth.ExecutionPayloadEnvelope) error {
	return errors.New("a verifier publishes nothing")
}

func (verifier) SequencerStarted() error { return nil }
func (verifier) SequencerStopped() error { return nil }
