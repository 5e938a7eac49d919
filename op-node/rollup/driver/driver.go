// Package driver runs follow mode: it asks the sources, judges what they say with package follow, and hands what passed
// to the engine controller, while unsafe payloads and L1 heads go their own ways past it.
//
//	sources ──pollers──▶ judge (Screen, L1 view, Validate, Agree) ──▶ Controller.Follow
//	gossip, admin RPC ─────────────────────────────────────▶ Controller.Insert
//	L1 heads ──▶ L1 view, Controller.Rewind
//
// A source or an L1 endpoint that stalls holds up the labels and nothing else.
package driver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/feed"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/l1chain"
)

// ErrNoDerivation answers requests for the derivation pipeline, which follow mode does not have.
var ErrNoDerivation = errors.New("this node follows an external consensus node (--l2.follow.source) and has no derivation pipeline to reset")

// Config are the settings of a Driver.
type Config struct {
	// Rollup is the configuration of the chain.
	Rollup *rollup.Config
	// PollInterval is how often a source is asked at least; zero means every two block times.
	PollInterval time.Duration
	// FixedInterval polls at PollInterval exactly, instead of following L1.
	FixedInterval bool
	// RequestTimeout is how long a request to a source may take at most; zero means ten seconds.
	RequestTimeout time.Duration
	// Quorum is how many sources have to agree; zero means one.
	Quorum int
	// MaxLag is how much L1, in time, the followed source may be behind another one, and the labels behind the own L1 head
	// before they are not fresh any more; zero means two minutes.
	MaxLag time.Duration
	// ELSync makes the engine sync from its own peers before labels are followed.
	ELSync bool
	// EngineTimeout bounds each call of the engine.
	EngineTimeout time.Duration
	// MaxWaiters is how many clients may wait for a change of the status.
	MaxWaiters int
}

// coldStart is how long an engine that waits for a sync target is left to gossip.
const coldStart = 10 * time.Second

// l1View is what the driver needs of the view of canonical L1.
type l1View interface {
	OnHead(ctx context.Context, ref eth.L1BlockRef) l1chain.Change
	OnSafe(ctx context.Context, ref eth.L1BlockRef)
	OnFinalized(ctx context.Context, ref eth.L1BlockRef) (moved bool)
	Refs() l1chain.Refs
	Window() l1chain.Window
	Known(id eth.BlockID) follow.L1Answer
	Judge(ctx context.Context, ids ...eth.BlockID) follow.L1Facts
	LookUp(ctx context.Context, ids ...eth.BlockID) follow.L1Facts
	WantHead(source string, number uint64)
	WantFinality(number uint64)
}

// Metrics is what the driver and its engine controller count.
type Metrics interface {
	engine.Metrics
	feed.Metrics
	RecordL1Ref(name string, ref eth.L1BlockRef)
	RecordL2Ref(name string, ref eth.L2BlockRef)
	SetDerivationIdle(idle bool)
	// RecordFollowSourceRequest counts polls by upstream's result values.
	RecordFollowSourceRequest(result string)
	// RecordPoll tells how long a source took and whether it answered. A negative time is not known.
	RecordPoll(source string, took time.Duration, ok bool)
	// RecordVerdict counts judged statuses by reason code.
	RecordVerdict(source, reason string)
	// RecordSourceHeads shows what a source says.
	RecordSourceHeads(source string, status follow.Status)
	// RecordSources shows the names of the sources, once, and how many have to agree.
	RecordSources(names []string, quorum int)
	// RecordFollowed tells which source is followed, and which was before, if any.
	RecordFollowed(source, before string)
	// RecordUnresolved tells whether blocks are built beside the chain of the source.
	RecordUnresolved(unresolved bool)
	// RecordDisagreement counts pairs of sources that began to contradict each other.
	RecordDisagreement()
	// RecordFollowState shows whether the labels are fresh, how far they are behind the best accepted source, in blocks and
	// in time of the chain, and for how many milliseconds the engine has been asked for a head it does not have, -1 if it
	// has not.
	RecordFollowState(fresh bool, lagBlocks uint64, lag time.Duration, pendingMs int64)
	// RecordL1Gap tells how many blocks the current L1 of what is applied is behind the own L1 head.
	RecordL1Gap(blocks uint64)
}

// Deps are what a Driver works with. All are required but Production; Sources has at least one.
type Deps struct {
	Engine  upstream.ExecEngine
	L1      l1View
	Sources []Source
	Metrics Metrics
	Clock   clock.Clock
	Log     log.Logger
	// Fatal is told of an error that the node cannot go on with.
	Fatal func(error)
	// Production makes blocks; nil for a node that only follows.
	Production *Production
}

// Driver is the rollup driver of follow mode. Its methods may be called from any goroutine unless they say otherwise.
type Driver struct {
	cfg     Config
	id      string
	chain   follow.Chain
	policy  follow.Policy
	engine  upstream.ExecEngine
	own     *ownChain
	feed    *feed.Feed
	l1      l1View
	metrics Metrics
	clock   clock.Clock
	log     log.Logger
	fatal   func(error)

	controller *engine.Controller
	producer   producer
	pollers    []*poller
	reports    chan report
	// court belongs to the judge's goroutine, which shows it in shown.
	court *court
	shown atomic.Pointer[verdicts]
	// l1Start is the number of the first L1 head that was seen, zero before that.
	l1Start atomic.Uint64
	// startedAt is when the sources were asked first.
	startedAt time.Time
	// again asks for another look at statuses that could not be judged.
	again chan struct{}
	// questions are the L1 blocks that the engine controller wants to know about.
	questions chan eth.BlockID

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	start  sync.Once
	close  sync.Once
}

// New makes a driver that has yet to Start. It calls nobody.
func New(cfg Config, deps Deps) (*Driver, error) {
	if len(deps.Sources) == 0 {
		return nil, errors.New("follow mode needs at least one source")
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = 2 * time.Duration(cfg.Rollup.BlockTime) * time.Second
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = defaultRequestTimeout
	}
	if cfg.Quorum == 0 {
		cfg.Quorum = 1
	}
	if cfg.MaxLag == 0 {
		cfg.MaxLag = defaultMaxLag
	}
	g := cfg.Rollup.Genesis
	d := &Driver{
		cfg:   cfg,
		id:    rand.Text(),
		chain: follow.Chain{Genesis: g.L2, GenesisTime: g.L2Time, BlockTime: cfg.Rollup.BlockTime},
		policy: follow.Policy{Quorum: cfg.Quorum, Fresh: freshPeriods * cfg.PollInterval, MaxLag: cfg.MaxLag,
			Patience: pendingPeriods * cfg.PollInterval},
		engine: deps.Engine, l1: deps.L1, metrics: deps.Metrics, clock: deps.Clock, log: deps.Log, fatal: deps.Fatal,
		own:     &ownChain{engine: deps.Engine},
		reports: make(chan report),
		again:   make(chan struct{}, 1),

		questions: make(chan eth.BlockID, maxQuestions),
	}
	d.feed = feed.New(d.id, cfg.MaxWaiters, deps.Clock, deps.Metrics)
	role, produce := d.production(deps.Production)
	controller, err := engine.New(engine.Config{
		Rollup: cfg.Rollup, ELSync: cfg.ELSync, PollPeriod: cfg.PollInterval,
		CallTimeout: cfg.EngineTimeout, ColdStart: coldStart,
	}, engine.Deps{
		Engine: deps.Engine, L1: origins{deps.L1, d.questions},
		Observer: observers{&gauges{metrics: deps.Metrics, own: d.own, again: d.lookAgain, gone: d.hintSources}, publisher{d}},
		Metrics:  deps.Metrics, Clock: deps.Clock, Log: deps.Log, Role: role,
	})
	if err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.controller, d.producer = controller, produce(d.ctx, controller)
	names := uniqueNames(deps.Sources)
	d.court = newCourt(names)
	d.metrics.RecordSources(names, cfg.Quorum)
	d.showState()
	for rank, source := range deps.Sources {
		d.pollers = append(d.pollers, d.newPoller(rank, source))
	}
	return d, nil
}

// production makes the choice between making blocks and only following: the role of the engine controller, and the
// producer on top of it.
func (d *Driver) production(setup *Production) (engine.Role, func(context.Context, *engine.Controller) producer) {
	if setup == nil {
		return engine.Verifier{}, func(context.Context, *engine.Controller) producer { return noProducer() }
	}
	f := &factory{setup: *setup, cfg: d.cfg.Rollup, l1: d.l1, clock: d.clock, log: d.log}
	return f.role(), f.producer
}

// pendingPeriods is for how many poll intervals the engine is asked for a target of the followed source while another one's
// is to be had.
const pendingPeriods = 3

// freshPeriods is after how many poll intervals an answer does not count any more.
const freshPeriods = 3

const defaultRequestTimeout = 10 * time.Second

// defaultMaxLag is ten L1 blocks of mainnet, the distance at which proxyd gives a consensus node up.
const defaultMaxLag = 2 * time.Minute

// uniqueNames are the names of the sources; those that only differ in what is secret are told apart by their place.
func uniqueNames(list []Source) []string {
	var names []string
	for rank, source := range list {
		name := source.Name()
		if slices.Contains(names, name) {
			name = fmt.Sprintf("%s#%d", name, rank+1)
		}
		names = append(names, name)
	}
	return names
}

// gateOpen tells whether a status could be used: in an execution-layer sync only once the engine has waited in vain for
// an unsafe payload to start with.
func (d *Driver) gateOpen() bool {
	snap := d.controller.Snapshot()
	return snap.Phase != engine.PhaseAwaiting || d.clock.Since(snap.PhaseSince) >= coldStart
}

// lookAgain has the statuses judged again that could not be judged, or not well, for want of L1 blocks or own heads.
func (d *Driver) lookAgain() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// maxQuestions bounds how many L1 blocks wait to be asked about.
const maxQuestions = 64

// origins answers for the engine controller from the L1 view's memory.
type origins struct {
	l1        l1View
	questions chan<- eth.BlockID
}

func (o origins) Canonical(id eth.BlockID) follow.L1Answer { return o.l1.Known(id) }

func (o origins) Ref(id eth.BlockID) eth.L1BlockRef {
	if ref, ok := o.l1.Window().Ref(id); ok {
		return ref
	}
	return eth.L1BlockRef{Hash: id.Hash, Number: id.Number}
}

// Ask passes a question on, or not if there are many already: it will be asked again.
func (o origins) Ask(id eth.BlockID) {
	select {
	case o.questions <- id:
	default:
	}
}

// answerQuestions asks L1 for the blocks that the engine controller wants to know about, and has it look again.
func (d *Driver) answerQuestions() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case id := <-d.questions:
			ctx, cancel := context.WithTimeout(d.ctx, judgeTimeout)
			d.l1.Judge(ctx, id)
			cancel()
			if d.l1.Known(id) != follow.L1Unavailable { // else the next L1 head asks again
				d.controller.Rewind()
			}
		}
	}
}

// hintSources has all sources asked at once.
func (d *Driver) hintSources() {
	for _, p := range d.pollers {
		p.demand()
	}
}

// Start begins to drive. It returns at once; a second call does nothing.
func (d *Driver) Start() (err error) {
	d.start.Do(func() {
		d.startedAt = d.clock.Now()
		d.l1Start.Store(d.l1.Refs().Head.Number)
		if err = d.producer.start(d.ctx); err != nil {
			return
		}
		d.log.Info("Starting driver", "mode", "follow", "sources", len(d.pollers), "poll_interval", d.cfg.PollInterval)
		d.wg.Go(func() {
			if err := d.controller.Run(d.ctx); err != nil {
				d.fatal(fmt.Errorf("engine controller: %w", err))
			}
		})
		d.wg.Go(d.judgeReports)
		d.wg.Go(d.answerQuestions)
		d.wg.Go(func() {
			if err := d.producer.run(d.ctx); err != nil {
				d.fatal(err)
			}
		})
		for _, p := range d.pollers {
			d.wg.Go(func() { p.run(d.ctx) })
		}
	})
	return err
}

// Feed is where clients wait for a change of the status.
func (d *Driver) Feed() *feed.Feed { return d.feed }

// Blocks is for building blocks by hand, on the unsafe head.
func (d *Driver) Blocks() interface {
	apis.BuildAPI
	apis.CommitAPI
} {
	return d.controller
}

// Close stops everything that Start began and waits for it. It works without Start, and more than once.
func (d *Driver) Close() error {
	d.cancel()
	d.wg.Wait()
	d.close.Do(d.producer.Close)
	return nil
}

// OnUnsafeL2Payload takes an unsafe block from gossip or from the admin API. It does not wait for the engine.
func (d *Driver) OnUnsafeL2Payload(_ context.Context, envelope *eth.ExecutionPayloadEnvelope) {
	if err := d.controller.Insert(envelope); err != nil {
		d.log.Debug("Unsafe payload not queued", "id", envelope.ID(), "err", err)
	}
}

// OnL1Head takes a new head of L1. It must be called from one goroutine.
func (d *Driver) OnL1Head(ctx context.Context, ref eth.L1BlockRef) {
	change := d.l1.OnHead(ctx, ref)
	if !change.Moved {
		return
	}
	d.l1Start.CompareAndSwap(0, change.Head.Number)
	d.metrics.RecordL1Ref("l1_head", change.Head)
	if change.Reorged {
		d.log.Warn("L1 reorg", "head", change.Head, "ancestor", change.Ancestor, "depth", change.Depth)
	}
	// Not only after a reorg: the engine may have started on a fork that L1 left while the node was down.
	d.controller.Rewind()
	d.lookAgain()
	for _, p := range d.pollers {
		p.tell(change.Head.Number)
	}
}

// OnL1Safe takes the L1 block that is labelled safe.
func (d *Driver) OnL1Safe(ctx context.Context, ref eth.L1BlockRef) {
	d.l1.OnSafe(ctx, ref)
	d.metrics.RecordL1Ref("l1_safe", d.l1.Refs().Safe)
}

// OnL1Finalized takes the L1 block that is labelled finalized.
func (d *Driver) OnL1Finalized(ctx context.Context, ref eth.L1BlockRef) {
	moved := d.l1.OnFinalized(ctx, ref)
	d.metrics.RecordL1Ref("l1_finalized", d.l1.Refs().Finalized)
	if moved {
		d.lookAgain()
		for _, p := range d.pollers {
			p.hint() // which finalize at about the same time (spec C3)
		}
	}
}

// ResetDerivationPipeline always fails with ErrNoDerivation.
func (d *Driver) ResetDerivationPipeline(context.Context) error { return ErrNoDerivation }

// StartSequencer begins to make blocks on the given head, which has to be the own unsafe head.
func (d *Driver) StartSequencer(ctx context.Context, head common.Hash) error {
	return d.producer.Start(ctx, head)
}

// StopSequencer ends the making of blocks and returns the unsafe head.
func (d *Driver) StopSequencer(ctx context.Context) (common.Hash, error) { return d.producer.Stop(ctx) }

// SequencerActive tells whether blocks are made.
func (d *Driver) SequencerActive(context.Context) (bool, error) { return d.producer.Active(), nil }

// OverrideLeader makes this sequencer lead whatever the conductor says.
func (d *Driver) OverrideLeader(ctx context.Context) error { return d.producer.OverrideLeader(ctx) }

// ConductorEnabled tells whether there is a conductor.
func (d *Driver) ConductorEnabled(ctx context.Context) (bool, error) {
	return d.producer.ConductorEnabled(ctx), nil
}

// SetRecoverMode switches between blocks as usual and empty ones that catch up with L1. It has no effect without a
// sequencer.
func (d *Driver) SetRecoverMode(_ context.Context, mode bool) error {
	d.producer.SetRecoverMode(mode)
	return nil
}
