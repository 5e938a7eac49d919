package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/async"
	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-node/rollup/confdepth"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/lightcl/op-node/op-node/rollup/engine"
)

// Production is what it takes to make blocks while following: upstream's sequencer with all its parts but the engine
// controller, which is ours. All of it is required, but DependencySet.
type Production struct {
	// Stopped waits for StartSequencer instead of making blocks from the beginning.
	Stopped bool
	// Recover makes empty blocks that take up L1 origins as fast as possible.
	Recover bool
	// MaxSafeLag is how many blocks the safe head may be behind before no more are made; zero is any number.
	MaxSafeLag uint64
	// L1Confs is how many L1 blocks an L1 origin has to have above it.
	L1Confs uint64
	// SealingDuration is how long before its time a block is fetched from the engine.
	SealingDuration time.Duration
	// L1Chain and DependencySet complete the configuration of the chain.
	L1Chain       *params.ChainConfig
	DependencySet derive.DependencySet

	// L1 serves headers and receipts of L1 blocks.
	L1 derive.L1Fetcher
	// L2 serves the system configuration of own blocks.
	L2 derive.SystemConfigL2Fetcher
	// Network publishes the blocks.
	Network async.Network
	// Conductor says whether this sequencer leads, and takes each block before it is published.
	Conductor conductor.SequencerConductor
	// State is told when production starts and stops.
	State sequencing.SequencerStateListener
	// Metrics counts the blocks.
	Metrics ProductionMetrics
	// Events carries what the parts tell each other, and Drain runs it. Nobody else may call Drain. Somebody else has to
	// listen for rollup.CriticalErrorEvent, after which the node cannot go on.
	Events event.Registry
	Drain  Drain
}

// Drain runs the events of an event system.
type Drain interface {
	// Await returns a channel that is closed when there are events.
	Await() <-chan struct{}
	// Drain handles all events.
	Drain() error
}

// ProductionMetrics is what is counted of the making of blocks.
type ProductionMetrics interface {
	engine.BuildMetrics
	sequencing.Metrics
	async.Metrics
}

// producer makes blocks, or not: one is chosen when the driver is made.
type producer struct {
	sequencing.SequencerIface
	// start does what has to be done before run, and run works until the context ends; the error is one that the node
	// cannot go on with.
	start func(ctx context.Context) error
	run   func(ctx context.Context) error
}

// noProducer is that of a verifier.
func noProducer() producer {
	return producer{
		SequencerIface: sequencing.DisabledSequencer{},
		start:          func(context.Context) error { return nil },
		run:            func(context.Context) error { return nil },
	}
}

// factory makes a producer in two steps, for the engine controller to be made in between: it has to be told its role, and
// the sequencer has to be told the controller.
type factory struct {
	setup Production
	cfg   *rollup.Config
	l1    l1View
	clock clock.Clock
	log   log.Logger
}

// role is that of the engine controller.
func (f *factory) role() *engine.Sequencer {
	return engine.NewSequencer(engine.SequencerDeps{
		Events: f.setup.Events.Register("engine", nil), Metrics: f.setup.Metrics, Log: f.log,
	})
}

// producer puts the parts together. Parts that handle events and emit some of their own accord are registered twice:
// an emitter that also handles events may be used while it does that alone.
func (f *factory) producer(ctx context.Context, controller *engine.Controller) producer {
	s := f.setup
	blocks := newOriginBlocks(ctx, s.L1, f.l1, f.clock)
	selector := &originSelector{blocks: blocks, L1OriginSelector: sequencing.NewL1OriginSelector(ctx, f.log, f.cfg,
		confdepth.NewConfDepth(s.L1Confs, func() eth.L1BlockRef { return f.l1.Refs().Head }, blocks))}
	attributes := derive.NewFetchingAttributesBuilder(f.cfg, s.L1Chain, s.DependencySet, s.L1, s.L2)
	sequencer := sequencing.NewSequencer(ctx, f.log, f.cfg, s.SealingDuration, attributes, selector, s.State, s.Conductor,
		async.NewAsyncGossiper(ctx, s.Network, f.log, s.Metrics), s.Metrics, controller)
	sequencer.AttachEmitter(s.Events.Register("sequencer-requests", nil))
	// The L1 origin of a new head is fetched first, if it is not known. The sequencer comes before the origin selector:
	// that may ask L1 for the next one.
	s.Events.Register("origins", blocks)
	s.Events.Register("sequencer", event.DeriverFunc(sequencerEvents{sequencer}.OnEvent))
	s.Events.Register("origin-selector", selector)
	s.Events.Register("resets", resets{controller: controller, selector: selector})
	return producer{
		SequencerIface: stopping{sequencerEvents{sequencer}, time.Duration(f.cfg.BlockTime) * time.Second},
		start: func(ctx context.Context) error {
			f.log.Info("Blocks are made while following", "stopped", s.Stopped, "max_safe_lag", s.MaxSafeLag,
				"recover", s.Recover, "conductor", s.Conductor.Enabled(ctx))
			sequencer.SetRecoverMode(s.Recover)
			if err := sequencer.SetMaxSafeLag(ctx, s.MaxSafeLag); err != nil {
				return fmt.Errorf("failed to set sequencer max safe lag: %w", err)
			}
			if err := sequencer.Init(ctx, !s.Stopped); err != nil {
				return fmt.Errorf("persist initial sequencer state: %w", err)
			}
			return nil
		},
		run: func(ctx context.Context) error { return work(ctx, sequencer, s.Drain, blocks) },
	}
}

// work runs the sequencer, and the events beside it: making blocks waits for nobody's events.
func work(ctx context.Context, sequencer *sequencing.Sequencer, events Drain, blocks *originBlocks) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sequencer.RunLoop(ctx)
	}()
	defer func() {
		cancel()
		<-done
		blocks.wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events.Await():
		}
		if err := events.Drain(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("events of the sequencer: %w", err)
		}
	}
}

// sequencerEvents takes events to upstream's sequencer.
type sequencerEvents struct{ *sequencing.Sequencer }

// errDiverged is what the sequencer hears when the head leaves its chain.
var errDiverged = errors.New("the unsafe head leaves its chain")

// OnEvent implements event.Deriver. A head that leaves its chain is a reset to the sequencer, which forgets by it what it
// sealed: else it would wait for that block to become the head before it stops. The reset is done as soon as the new head is
// known, and blocks go on there at once.
func (s sequencerEvents) OnEvent(ctx context.Context, ev event.Event) bool {
	if _, ok := ev.(engine.DivergedEvent); ok {
		s.forget(ctx, errDiverged)
		return true
	}
	return s.Sequencer.OnEvent(ctx, ev)
}

// forget resets the sequencer.
func (s sequencerEvents) forget(ctx context.Context, why error) {
	s.Sequencer.OnEvent(ctx, rollup.ResetEvent{Err: why})
	s.Sequencer.OnEvent(ctx, upstream.EngineResetConfirmedEvent{})
}

// stopping is a sequencer that stops within two block times, whatever it waits for (spec S6).
type stopping struct {
	sequencerEvents
	blockTime time.Duration
}

// errUnfinished is what the sequencer hears when it has to stop without its last block.
var errUnfinished = errors.New("stopping without the block that was sealed last")

// Stop waits for the block that was sealed last to become the head, for a block time at most, and returns the head.
func (s stopping) Stop(ctx context.Context) (common.Hash, error) {
	hash, err := s.stopWithin(ctx, s.blockTime)
	if !expired(ctx, err) {
		return hash, err
	}
	s.forget(ctx, errUnfinished)
	const tries = 8 // the sequencer hears of it between two of its actions
	for range tries {
		if hash, err = s.stopWithin(ctx, s.blockTime/(tries+1)); !expired(ctx, err) {
			return hash, err
		}
	}
	return common.Hash{}, fmt.Errorf("the sequencer is busy, it did not stop within two block times: %w", err)
}

func (s stopping) stopWithin(ctx context.Context, limit time.Duration) (common.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.Sequencer.Stop(ctx)
}

// expired tells that a limit of our own ended the call, and not the caller.
func expired(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// resets does what the sequencer and the engine controller ask for by events.
type resets struct {
	controller *engine.Controller
	selector   *originSelector
}

// OnEvent implements event.Deriver.
func (r resets) OnEvent(_ context.Context, ev event.Event) bool {
	switch x := ev.(type) {
	case rollup.ResetEvent:
		r.controller.Recover()
	case upstream.BuildCancelEvent:
		r.controller.CancelBuild(x.Info)
	case engine.DivergedEvent:
		r.selector.ResetOrigins()
	default:
		return false
	}
	return true
}
