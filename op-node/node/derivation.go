package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"

	"github.com/lightcl/op-node/op-node/node/api"
	"github.com/lightcl/op-node/op-node/rollup/feed"
)

// derivationDriver is upstream's driver. Its inputs from L1 go through its event loop: the status tracker takes no lock for them that it
// takes for everything else.
type derivationDriver struct {
	*driver.Driver
	signals event.Emitter
	// head is the last head, which is signalled once.
	head *common.Hash
	// endEvents makes the event loop leave what is still queued.
	endEvents context.CancelFunc
}

var _ rollupDriver = derivationDriver{}

// l1Signal says that an L1 block has a label now.
type l1Signal struct {
	label eth.BlockLabel
	ref   eth.L1BlockRef
}

// String implements event.Event.
func (l1Signal) String() string { return "l1-signal" }

// newDerivationDriver connects the driver with L1.
func newDerivationDriver(events *eventSystem, upstream *driver.Driver) derivationDriver {
	events.Register("l1-signals", event.DeriverFunc(func(ctx context.Context, ev event.Event) bool {
		signal, ok := ev.(l1Signal)
		if ok {
			onL1Signal(ctx, upstream, signal)
		}
		return ok
	}))
	// The emitter is another one: one that also handles events may only emit from the event loop.
	return derivationDriver{upstream, events.Register("l1", nil), new(common.Hash), events.end}
}

// Close ends the event loop. Upstream's part first cancels the context of everything and then waits for the loop, in which failing
// events may beget events for ever; so the loop is told in between not to go on.
func (d derivationDriver) Close() error {
	closed := make(chan error, 1)
	go func() { closed <- d.Driver.Close() }()
	<-d.SyncDeriver.Ctx.Done()
	d.endEvents()
	return <-closed
}

// onL1Signal runs in the event loop. What asks for a step comes last, for the step to see the rest.
func onL1Signal(ctx context.Context, d *driver.Driver, signal l1Signal) {
	switch signal.label {
	case eth.Unsafe:
		d.SyncDeriver.L1Tracker.OnL1Unsafe(signal.ref)
		d.StatusTracker.OnL1Unsafe(signal.ref)
		d.SyncDeriver.OnL1Unsafe(ctx)
	case eth.Safe:
		d.StatusTracker.OnL1Safe(signal.ref)
	case eth.Finalized:
		d.StatusTracker.OnL1Finalized(signal.ref)
		d.Finalizer.OnL1Finalized(signal.ref)
		d.SyncDeriver.OnL1Finalized(ctx)
	}
}

// OnL1Head takes the head of L1.
func (d derivationDriver) OnL1Head(_ context.Context, ref eth.L1BlockRef) {
	if ref.Hash != *d.head {
		*d.head = ref.Hash
		d.signal(eth.Unsafe, ref)
	}
}

// OnL1Safe takes the safe block of L1.
func (d derivationDriver) OnL1Safe(_ context.Context, ref eth.L1BlockRef) { d.signal(eth.Safe, ref) }

// OnL1Finalized takes the finalized block of L1.
func (d derivationDriver) OnL1Finalized(_ context.Context, ref eth.L1BlockRef) {
	d.signal(eth.Finalized, ref)
}

// signal outlives its caller, so it does not carry the caller's context.
func (d derivationDriver) signal(label eth.BlockLabel, ref eth.L1BlockRef) {
	d.signals.Emit(context.Background(), l1Signal{label, ref})
}

// newDerivation builds upstream's driver with everything that deriving and sequencing need.
func (n *Node) newDerivation(ctx context.Context) (*rollupStack, error) {
	beacon, err := n.connectBeacon(ctx)
	if err != nil {
		return nil, err
	}
	var blobs derive.L1BlobsFetcher
	if beacon != nil { // a nil client in the interface would not be nil
		blobs = beacon
	}
	altDA, err := n.newAltDA()
	if err != nil {
		return nil, err
	}
	safeHeads, err := n.openSafeDB()
	if err != nil {
		return nil, err
	}
	state := &adminState{path: n.cfg.RPC.AdminStatePath}
	driverCfg, err := n.driverConfig(state)
	if err != nil {
		return nil, err
	}
	events := n.newEventSystem()
	chain := n.cfg.Chain
	upstream := driver.NewDriver(events, events.drain, driverCfg, chain.Rollup, chain.L1, chain.DependencySet, n.engine, n.l1, nil,
		blobs, n.gossip, n.log, n.metrics, state, safeHeads, n.syncConfig(), n.newConductor(), altDA, nil)
	d := newDerivationDriver(events, upstream)
	stack := &rollupStack{
		driver: d, wants: noWants{}, safeHeads: safeHeads,
		feed:   n.newFeed(events, upstream.StatusTracker),
		routes: map[string]http.Handler{"/readyz": api.ServeReady(api.Deriving{Status: d.SyncStatus, MaxLag: n.cfg.Follow.MaxLag})},
	}
	if n.cfg.RPC.SequencerAPI {
		stack.control = append(stack.control, rpc.API{Namespace: "opstack", Service: api.NewOpstack(upstream.SyncDeriver.Engine, n.gossip)})
		n.log.Info("Experimental OP stack API enabled")
	}
	return stack, nil
}

// newFeed tells clients that wait of each status that the tracker comes to. The tracker hears of heads by events, so behind it the feed
// looks at each event whether the status has become another one, which takes some sixty nanoseconds.
func (n *Node) newFeed(events event.Registry, tracker interface{ SyncStatus() *eth.SyncStatus }) *feed.Feed {
	f := feed.New(rand.Text(), n.cfg.RPC.FollowMaxWaiters, n.clock, n.metrics)
	events.Register("status-feed", event.DeriverFunc(func(context.Context, event.Event) bool {
		f.Publish(tracker.SyncStatus())
		return false
	}), event.WithExecPriority(event.Low))
	return f
}

// eventSystem is how the parts of upstream's driver talk to each other.
type eventSystem struct {
	event.System
	drain driver.Drain
	end   context.CancelFunc
}

// newEventSystem returns an event system in which the node listens for errors that it cannot survive.
func (n *Node) newEventSystem() *eventSystem {
	ctx, cancel := context.WithCancel(context.Background())
	executor := event.NewGlobalSynchronous(ctx).WithMetrics(n.metrics)
	system := event.NewSystem(n.log, executor)
	system.AddTracer(event.NewMetricsTracer(n.metrics))
	system.Register("node", event.DeriverFunc(func(_ context.Context, ev event.Event) bool {
		critical, ok := ev.(rollup.CriticalErrorEvent)
		if ok {
			n.fail(critical.Err)
		}
		return ok
	}))
	n.cleanups.addFunc("event system", func() {
		cancel()
		system.Stop()
	})
	return &eventSystem{system, executor, cancel}
}

func (n *Node) newAltDA() (*altda.DA, error) {
	chainCfg, err := n.cfg.Chain.Rollup.GetOPAltDAConfig()
	if err != nil && n.cfg.AltDA.Enabled {
		return nil, fmt.Errorf("failed to get altDA config: %w", err)
	}
	if n.cfg.AltDA.Enabled {
		n.log.Warn("Alt-DA mode is a beta feature: it may have bugs")
	}
	storage := hidingStorage{n.cfg.AltDA.NewDAClient(), n.hide}
	return altda.NewAltDAWithStorage(n.log, chainCfg, storage, n.metrics.AltDAMetrics), nil
}

// safeHeadStore is the record of safe heads: the driver writes it, the RPC reads it.
type safeHeadStore interface {
	rollup.SafeHeadListener
	api.SafeHeads
}

func (n *Node) openSafeDB() (safeHeadStore, error) {
	path := n.cfg.SafeDBPath
	if path == "" {
		return safedb.Disabled, nil
	}
	db, err := safedb.NewSafeDB(n.log, path)
	if err != nil {
		return nil, fmt.Errorf("failed to create safe head database at --safedb.path=%s: %w", path, err)
	}
	n.cleanups.add("safe head db", func(context.Context) error { return db.Close() })
	n.log.Info("Safe head database enabled", "path", path)
	return db, nil
}

// driverConfig maps the options to upstream's. What the admin API last did to the sequencer wins over the flag.
func (n *Node) driverConfig(state *adminState) (*driver.Config, error) {
	c := n.cfg.Sequencer
	out := &driver.Config{
		VerifierConfDepth:        n.cfg.L1.VerifierConfs,
		SequencerConfDepth:       c.L1Confs,
		SequencerEnabled:         c.Enabled,
		SequencerStopped:         c.Stopped,
		SequencerMaxSafeLag:      c.MaxSafeLag,
		SequencerSealingDuration: c.SealingDuration,
		RecoverMode:              c.Recover,
		Finalizer:                &n.cfg.Finality,
	}
	if !c.Enabled {
		return out, nil
	}
	var err error
	out.SequencerStopped, err = n.sequencerStopped(state)
	return out, err
}

// sequencerStopped tells whether the sequencer has to wait for the admin API: as that left it, or else as the flag says.
func (n *Node) sequencerStopped(state *adminState) (bool, error) {
	stopped := n.cfg.Sequencer.Stopped
	started, err := state.sequencerStarted()
	if err != nil {
		return false, err
	}
	if started == nil {
		n.log.Info("No persisted sequencer state loaded")
		return stopped, nil
	}
	if persisted := !*started; persisted != stopped {
		n.log.Warn("Overriding sequencer.stopped with persisted state", "stopped", persisted)
		stopped = persisted
	}
	return stopped, nil
}

func (n *Node) syncConfig() *sync.Config {
	return &sync.Config{
		SyncMode:                       n.cfg.Sync.Mode,
		SkipSyncStartCheck:             n.cfg.Sync.SkipStartCheck,
		SupportsPostFinalizationELSync: n.cfg.L2.Kind.SupportsPostFinalizationELSync(),
		OffsetELSafe:                   n.cfg.Sync.OffsetELSafe,
	}
}
