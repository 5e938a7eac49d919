package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// firstBackoff is the first wait after a SYNCING answer or a temporary error; it doubles, up to maxBackoff (spec F5).
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// Config are the settings of a Controller.
type Config struct {
	// Rollup is the configuration of the chain.
	Rollup *rollup.Config
	// ELSync makes the engine fetch the chain from its own peers before anything is followed.
	ELSync bool
	// PollPeriod is the time between two polls of a source. A target that the engine does not get is given up for another
	// one that it would have to get as well after two of them.
	PollPeriod time.Duration
	// CallTimeout bounds each call of the engine.
	CallTimeout time.Duration
	// ColdStart is how long an engine in need of a sync target waits for an unsafe payload before it takes the
	// local-safe head of a follow target.
	ColdStart time.Duration
}

// Check tells which setting cannot work.
func (c Config) Check() error {
	switch {
	case c.Rollup == nil:
		return errors.New("engine controller: no rollup config")
	case c.PollPeriod <= 0:
		return fmt.Errorf("engine controller: poll period %s is not positive", c.PollPeriod)
	case c.CallTimeout <= 0:
		return fmt.Errorf("engine controller: call timeout %s is not positive", c.CallTimeout)
	case c.ColdStart < 0:
		return fmt.Errorf("engine controller: cold start delay %s is negative", c.ColdStart)
	}
	return nil
}

// originJudge is the view of L1, from memory. It must not block: unsafe progress waits for it.
type originJudge interface {
	// Canonical tells whether an L1 block is canonical.
	Canonical(id eth.BlockID) follow.L1Answer
	// Ref is an L1 block, with no more than the id if no more is known.
	Ref(id eth.BlockID) eth.L1BlockRef
	// Ask has L1 asked for a block that Canonical does not know. Rewind is to be called once it does.
	Ask(id eth.BlockID)
}

// observer hears of every new snapshot, in order, in the controller's goroutine. It must not block and must not call
// back into the controller but for Snapshot and the posting methods.
type observer interface {
	OnSnapshot(*Snapshot)
}

// Metrics is what the controller counts.
type Metrics interface {
	// RecordTask counts a finished task by kind with the time it waited and ran.
	RecordTask(kind string, waited, ran time.Duration, failed bool)
	// RecordUnsafePayloadsBuffer tells what waits in the inbox.
	RecordUnsafePayloadsBuffer(length uint64, memSize uint64, next eth.BlockID)
	// RecordFollowSourceReorg counts heads moved off the own chain.
	RecordFollowSourceReorg(action string)
}

// Deps are what a Controller works with. All of them but Role are required.
type Deps struct {
	Engine   upstream.ExecEngine
	L1       originJudge
	Observer observer
	Metrics  Metrics
	Clock    clock.Clock
	Log      log.Logger
	// Role is what the node does with its head: Verifier, which is what nil means, or a Sequencer.
	Role Role
}

// Controller drives the execution engine. Run owns its state; the other methods may be called from any goroutine.
type Controller struct {
	cfg      Config
	engine   upstream.ExecEngine
	l1       originJudge
	observer observer
	metrics  Metrics
	clock    clock.Clock
	log      log.Logger
	role     Role

	queue    *queue
	inbox    *inbox
	snapshot atomic.Pointer[Snapshot]
	// stopped is closed when Run is over; stop closes it.
	stopped chan struct{}
	stop    func()

	// All below belongs to the goroutine of Run.
	state  state
	recent recent
	handed handed
	timers [numKinds]timer
}

// state is what the controller knows; it becomes visible by publish.
type state struct {
	heads     follow.Heads
	currentL1 eth.L1BlockRef
	// revoked is the L1 block of the last revocation, and pairs what was applied. Both last as long as the process: what
	// the engine loses was applied all the same.
	revoked uint64
	pairs   follow.Pairs
	// goneSince is when an L1 block that the labels rest on was first found gone. gone is such a block once the labels went
	// back to blocks that nobody is known to have derived of the L1 that is left, until a target is applied: what a status
	// is compared with is then void (spec G3).
	goneSince time.Time
	gone      eth.BlockID

	// aside are heads that were shown not to contain the applied local-safe head.
	aside      []eth.L2BlockRef
	phase      Phase
	phaseSince time.Time
	// aim is the sync target of PhaseSyncing, aimSince when it became that, and aimOfSource that it is a source's head
	// and not an unsafe payload.
	aim         eth.L2BlockRef
	aimSince    time.Time
	aimOfSource bool
	// pending is what the engine answered SYNCING to, outside the initial sync.
	pending *pending
	// unresolvedSince is when the engine was first asked for a target that it does not have, since one was applied.
	unresolvedSince time.Time
	// staged is a target whose labels wait for the next VALID head (case 2a).
	staged *follow.Target
	// newest is the newest target that was handed in. It is planned again when a pending one is resolved.
	newest *follow.Target
	// conflict is the newest target if it was refused for not containing the own finalized block.
	conflict  *follow.Target
	outcome   Outcome
	appliedAt time.Time
	// job is what the engine makes for the sequencer, if anything.
	job *job
	// unexecuted is the payload on top of the unsafe head that the engine last answered SYNCING to.
	unexecuted common.Hash
	// told is the reason that the log told last.
	told follow.Reason
	// final is the newest block that was final while the process lives. It is above the finalized head only while an
	// engine that lost it has not got it back (spec I3).
	final follow.Finalized
	// lost is set while the engine does not have its own head, below once it lost a local-safe block and until the head is
	// as high again.
	lost  *lostTip
	below eth.L2BlockRef
	// gapSince is when the lowest waiting payload was first found to leave a gap above the unsafe head.
	gapSince time.Time
}

// timer is a task to be posted later, and the backoff that leads there.
type timer struct {
	at      time.Time
	backoff time.Duration
	// failing tells that the task failed when it last ran.
	failing bool
}

// clear forgets a task to come and its pace.
func (t *timer) clear() { t.at, t.backoff = time.Time{}, 0 }

// New makes a controller that has yet to Run. It starts with reading the heads from the engine.
func New(cfg Config, deps Deps) (*Controller, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Controller{
		cfg: cfg, engine: deps.Engine, l1: deps.L1, observer: deps.Observer,
		metrics: deps.Metrics, clock: deps.Clock, log: deps.Log,
		role: deps.Role, stopped: make(chan struct{}),
		queue: newQueue(2 * time.Duration(cfg.Rollup.BlockTime) * time.Second),
		inbox: newInbox(deps.Log),
	}
	c.stop = sync.OnceFunc(func() { close(c.stopped) })
	if c.role == nil {
		c.role = Verifier{}
	}
	now := c.clock.Now()
	c.state.phaseSince = now
	c.snapshot.Store(&Snapshot{PhaseSince: now})
	c.post(KindLoad)
	return c, nil
}

// Snapshot is the present state. It is never nil.
func (c *Controller) Snapshot() *Snapshot { return c.snapshot.Load() }

// Insert hands in an unsafe payload. It returns at once; the error tells why the payload was not even queued.
func (c *Controller) Insert(envelope *eth.ExecutionPayloadEnvelope) error {
	if envelope == nil || envelope.ExecutionPayload == nil {
		return errors.New("no payload")
	}
	if err := c.inbox.add(envelope); err != nil {
		return err
	}
	c.metrics.RecordUnsafePayloadsBuffer(c.inbox.load())
	c.post(KindInsert)
	return nil
}

// Follow hands in a target. A target that still waits is replaced.
func (c *Controller) Follow(target follow.Target) {
	c.queue.post(task{kind: KindFollow, queued: c.clock.Now(), target: &target})
}

// Rewind asks for what rests on L1 blocks that are gone to be given up: unsafe blocks at once, labels after a block time. Call
// it when L1 moved, and when it answered for a block.
func (c *Controller) Rewind() { c.post(KindRewind) }

// Run works until the context ends, or until an error that the node cannot go on with. Call it once.
func (c *Controller) Run(ctx context.Context) error {
	defer c.stop()
	for ctx.Err() == nil {
		worked, err := c.step(ctx)
		if err != nil {
			return err
		}
		if worked {
			continue
		}
		idle := c.clock.NewTimer(c.untilDue())
		select {
		case <-ctx.Done():
		case <-c.queue.wake:
		case <-idle.Ch():
		}
		idle.Stop()
	}
	return nil
}

// step runs the one task that is up, if any.
func (c *Controller) step(ctx context.Context) (worked bool, err error) {
	start := c.clock.Now()
	c.postDue(start)
	t, ok := c.queue.next(start)
	if !ok {
		return false, nil
	}
	err = c.run(ctx, t)
	c.metrics.RecordTask(t.kind.String(), start.Sub(t.queued), c.clock.Since(start), err != nil)
	if ctx.Err() != nil {
		return true, nil
	}
	c.settleBuild(ctx)
	return true, c.settle(t, err)
}

func (c *Controller) run(ctx context.Context, t task) error {
	switch t.kind {
	case KindLoad:
		return c.runLoad(ctx)
	case KindReset:
		return c.runReset(ctx)
	case KindRewind:
		return c.runRewind(ctx)
	case KindInsert:
		return c.runInsert(ctx)
	case KindFollow:
		return c.runFollow(ctx, *t.target)
	case KindProbe:
		return c.runProbe(ctx)
	case KindGap:
		return c.runGap(ctx)
	case KindRecover:
		return c.runRecover(ctx)
	case KindBuild, KindSeal, KindProcess, KindAnnounce, KindCancel:
		if t.call.ctx.Err() != nil {
			return nil
		}
		return t.call.work(ctx)
	default:
		return critical(fmt.Errorf("unknown task %d", t.kind))
	}
}

// settle turns the error of a task into what happens next. Each failure is logged here and nowhere else, the first of a
// row as a warning.
func (c *Controller) settle(t task, err error) error {
	if t.call != nil {
		return nil // the caller has the error
	}
	timer := &c.timers[t.kind]
	if err == nil {
		if timer.failing {
			c.log.Info("Execution engine task succeeds again", "task", t.kind)
			timer.failing = false
		}
		if t.kind != KindProbe { // a probe that is answered SYNCING succeeds, and keeps its pace
			timer.backoff = 0
		}
		return nil
	}
	var failure *taskError
	if !errors.As(err, &failure) || failure.severity == severityCritical {
		return fmt.Errorf("%s task: %w", t.kind, err)
	}
	logf := c.log.Debug
	if !timer.failing {
		logf = c.log.Warn
	}
	timer.failing = true
	logf("Execution engine task failed, will retry", "task", t.kind, "err", err)
	c.retry(t.kind)
	if failure.severity == severityReset {
		c.post(KindReset)
	}
	return nil
}

// retry posts a task again after its backoff.
func (c *Controller) retry(kind Kind) {
	timer := &c.timers[kind]
	timer.backoff = min(max(2*timer.backoff, firstBackoff), maxBackoff)
	now := c.clock.Now()
	timer.at = now.Add(timer.backoff)
	if tip := c.state.lost; kind == KindReset && tip != nil && tip.until.After(now) && timer.at.After(tip.until) {
		timer.at = tip.until
	}
}

// resume posts a task unless it is going to be retried anyway: it failed, and must not be tried again without a pause.
func (c *Controller) resume(kind Kind) {
	if c.timers[kind].at.IsZero() {
		c.post(kind)
	}
}

func (c *Controller) post(kind Kind) { c.queue.post(task{kind: kind, queued: c.clock.Now()}) }

// postDue posts the tasks whose time has come.
func (c *Controller) postDue(now time.Time) {
	for kind := range c.timers {
		if at := c.timers[kind].at; !at.IsZero() && !at.After(now) {
			c.timers[kind].at = time.Time{}
			if Kind(kind) != KindFollow { // a target is not repeated: the next poll brings a newer one
				c.queue.post(task{kind: Kind(kind), queued: now})
			}
		}
	}
}

// untilDue is how long nothing has to be done.
func (c *Controller) untilDue() time.Duration {
	const idle = time.Minute
	now := c.clock.Now()
	wait := idle
	for _, t := range c.timers {
		if !t.at.IsZero() {
			wait = min(wait, t.at.Sub(now))
		}
	}
	return max(wait, 0)
}

// severity is what a failed task means for the controller.
type severity uint8

const (
	// severityTemporary: nothing changed; try again after a backoff, or with the next stimulus.
	severityTemporary severity = iota
	// severityReset: the engine is not where we think; read its labels again.
	severityReset
	// severityCritical: the node has to stop.
	severityCritical
)

type taskError struct {
	severity severity
	err      error
}

func (e *taskError) Error() string { return e.err.Error() }
func (e *taskError) Unwrap() error { return e.err }

// temporary leaves the severity of an error that has one.
func temporary(err error) error {
	var failure *taskError
	if errors.As(err, &failure) {
		return err
	}
	return &taskError{severityTemporary, err}
}

// needsReset tells that an error asks for the engine's labels to be read again.
func needsReset(err error) bool {
	var failure *taskError
	return errors.As(err, &failure) && failure.severity == severityReset
}

func reset(err error) error    { return &taskError{severityReset, err} }
func critical(err error) error { return &taskError{severityCritical, err} }
