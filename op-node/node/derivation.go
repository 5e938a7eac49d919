package node

import (
	"context"
	"fmt"

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
)

// derivationDriver is upstream's driver, with its L1 inputs in one place.
type derivationDriver struct {
	*driver.Driver
}

var _ rollupDriver = derivationDriver{}

// OnL1Head tells every part of the driver that follows the L1 head; the last one asks for a step, so it comes last.
func (d derivationDriver) OnL1Head(ctx context.Context, ref eth.L1BlockRef) {
	sync := d.SyncDeriver
	sync.L1Tracker.OnL1Unsafe(ref)
	d.StatusTracker.OnL1Unsafe(ref)
	sync.OnL1Unsafe(ctx)
}

// OnL1Safe tells the status; derivation does not use it.
func (d derivationDriver) OnL1Safe(_ context.Context, ref eth.L1BlockRef) {
	d.StatusTracker.OnL1Safe(ref)
}

// OnL1Finalized tells the finalizer, and asks for a step in which it can finalize.
func (d derivationDriver) OnL1Finalized(ctx context.Context, ref eth.L1BlockRef) {
	d.StatusTracker.OnL1Finalized(ref)
	d.Finalizer.OnL1Finalized(ref)
	d.SyncDeriver.OnL1Finalized(ctx)
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
	system, drain := n.newEventSystem()
	chain := n.cfg.Chain
	upstream := driver.NewDriver(system, drain, driverCfg, chain.Rollup, chain.L1, chain.DependencySet, n.engine, n.l1, nil,
		blobs, n.gossip, n.log, n.metrics, state, safeHeads, n.syncConfig(), n.newConductor(), altDA, nil)
	stack := &rollupStack{driver: derivationDriver{upstream}, safeHeads: safeHeads}
	if n.cfg.RPC.SequencerAPI {
		stack.apis = append(stack.apis, rpc.API{Namespace: "opstack", Service: api.NewOpstack(upstream.SyncDeriver.Engine, n.gossip)})
		n.log.Info("Experimental OP stack API enabled")
	}
	return stack, nil
}

// newEventSystem returns the event system of the driver, with the node listening for errors that it cannot survive.
func (n *Node) newEventSystem() (event.System, driver.Drain) {
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
		system.Stop()
		cancel()
	})
	return system, executor
}

func (n *Node) newAltDA() (*altda.DA, error) {
	chainCfg, err := n.cfg.Chain.Rollup.GetOPAltDAConfig()
	if err != nil && n.cfg.AltDA.Enabled {
		return nil, fmt.Errorf("failed to get altDA config: %w", err)
	}
	if n.cfg.AltDA.Enabled {
		n.log.Warn("Alt-DA mode is a beta feature: it may have bugs")
	}
	return altda.NewAltDA(n.log, n.cfg.AltDA, chainCfg, n.metrics.AltDAMetrics), nil
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
	started, err := state.sequencerStarted()
	if err != nil {
		return nil, err
	}
	if started == nil {
		n.log.Info("No persisted sequencer state loaded")
		return out, nil
	}
	if stopped := !*started; stopped != out.SequencerStopped {
		n.log.Warn("Overriding sequencer.stopped with persisted state", "stopped", stopped)
		out.SequencerStopped = stopped
	}
	return out, nil
}

func (n *Node) syncConfig() *sync.Config {
	return &sync.Config{
		SyncMode:                       n.cfg.Sync.Mode,
		SkipSyncStartCheck:             n.cfg.Sync.SkipStartCheck,
		SupportsPostFinalizationELSync: n.cfg.L2.Kind.SupportsPostFinalizationELSync(),
		OffsetELSafe:                   n.cfg.Sync.OffsetELSafe,
	}
}
