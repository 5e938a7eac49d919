package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/log"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Role is what the unsafe head is to this node: something to follow with, or something to build on as well. One is
// chosen at assembly: Verifier or Sequencer. The methods are called in the goroutine of Run alone.
type Role interface {
	// reorged names, as upstream's metric does, a move of the head onto a target; it is empty for a move that left
	// nothing behind. kept tells whether the former head is on the target's chain.
	reorged(move follow.Case, kept func() bool) string
	// emit hands an event to the sequencer and to what belongs to it.
	emit(ev event.Event)
	// shown hears of every snapshot.
	shown(snap *Snapshot)
	// refuses is nil if a block may be built on the head, else it says why not.
	refuses() error
	// sealed counts a block.
	sealed(block sealed)
	// waiting is the reason to report while a target waits for the engine to get it.
	waiting() follow.Reason
	// settle is called after every task.
	settle(ctx context.Context, c *Controller)
}

// sealed is what is counted of a block: how long it took to fetch it, how much longer than a block time it took from the
// beginning, and its transactions.
type sealed struct {
	sealing, excess time.Duration
	txs, deposits   int
}

// Verifier is the role of a node that makes no blocks.
type Verifier struct{}

func (Verifier) reorged(move follow.Case, _ func() bool) string {
	if move == follow.CaseReorg {
		return "soft_update"
	}
	return ""
}

func (Verifier) emit(event.Event) {}

func (Verifier) shown(*Snapshot) {}

func (Verifier) refuses() error { return errors.New("this node makes no blocks") }

func (Verifier) sealed(sealed) {}

func (Verifier) waiting() follow.Reason { return follow.EngineSyncing }

func (Verifier) settle(context.Context, *Controller) {}

// DivergedEvent tells that the unsafe head left its chain: what was kept of the L1 origins of its blocks is void.
type DivergedEvent struct{}

// String is the name of the event.
func (DivergedEvent) String() string { return "diverged" }

// SequencerConfig are the settings of a Sequencer.
type SequencerConfig struct {
	// Patience is how long building is held for a target that the engine does not get, before it goes on without. Zero
	// holds it for as long as it takes.
	Patience time.Duration
}

// SequencerDeps are what a Sequencer works with. All of them are required.
type SequencerDeps struct {
	// Events reaches upstream's sequencer and its L1 origin selector. It must not block.
	Events event.Emitter
	// Metrics counts the blocks.
	Metrics BuildMetrics
	Log     log.Logger
}

// BuildMetrics is what is counted of the blocks that the sequencer makes.
type BuildMetrics interface {
	RecordSequencerSealingTime(duration time.Duration)
	RecordSequencerBuildingDiffTime(duration time.Duration)
	CountSequencedTxsInBlock(txns int, deposits int)
}

// Sequencer is the role of a node that builds on the head that it follows with. Nothing is built while a target waits
// that would take the head off its chain, or while L1 does not have the origin of the head, which no block above it would
// survive; see pause. It belongs to one Controller.
type Sequencer struct {
	events  event.Emitter
	metrics BuildMetrics
	log     log.Logger

	pause pause
	heads follow.Heads
}

// NewSequencer makes the role of a node that makes blocks.
func NewSequencer(cfg SequencerConfig, deps SequencerDeps) *Sequencer {
	return &Sequencer{events: deps.Events, metrics: deps.Metrics, log: deps.Log, pause: pause{patience: cfg.Patience}}
}

// reorged takes every move that leaves blocks behind for a forced reset: the sequencer begins anew on the target.
func (s *Sequencer) reorged(move follow.Case, kept func() bool) string {
	if move == follow.CaseReorg || (move == follow.CaseAhead && !kept()) {
		return "force_reset"
	}
	return ""
}

func (s *Sequencer) emit(ev event.Event) { s.events.Emit(context.Background(), ev) }

// shown announces heads that changed. The target of an initial sync is no head yet.
func (s *Sequencer) shown(snap *Snapshot) {
	if (snap.Phase == PhaseFollowing || snap.Phase == PhaseAwaiting) && snap.Heads != s.heads {
		s.heads = snap.Heads
		s.emit(headsEvent(snap.Heads))
	}
}

func (s *Sequencer) refuses() error {
	if s.pause.state == pauseHeld {
		return errors.New("building is held")
	}
	return nil
}

func (s *Sequencer) sealed(block sealed) {
	s.metrics.RecordSequencerSealingTime(block.sealing)
	s.metrics.RecordSequencerBuildingDiffTime(block.excess)
	s.metrics.CountSequencedTxsInBlock(block.txs, block.deposits)
}

func (s *Sequencer) waiting() follow.Reason {
	if s.pause.state == pauseGivenUp {
		return follow.ReorgUnresolved
	}
	return follow.EngineSyncing
}

// settle holds building, or lets it go on, by what waits after a task.
func (s *Sequencer) settle(ctx context.Context, c *Controller) {
	p, heads := c.state.pending, c.state.heads
	orphan := c.state.phase == PhaseFollowing && c.l1.Canonical(heads.Unsafe.L1Origin) == follow.L1Mismatch
	obstacle := obstacleNone
	switch {
	case c.state.phase == PhaseSyncing:
		obstacle = obstacleSync
	case p != nil && p.target != nil:
		obstacle = obstacleTarget
	case orphan && heads.Unsafe.Number > heads.LocalSafe.Number:
		c.resume(KindRewind) // the block was begun before L1 left its origin
	case orphan:
		obstacle = obstacleOrphan
	}
	switch s.pause.update(c.clock.Now(), obstacle) {
	case pauseBegan:
		s.log.Warn("Building is held", "why", obstacle, "unsafe", heads.Unsafe, "local_safe", heads.LocalSafe)
		c.cancelJob(ctx)
	case pauseEnded:
		s.log.Info("Building goes on", "unsafe", heads.Unsafe)
		c.confirmReset()
	case pauseLapsed:
		s.log.Error("Building goes on without the chain of the source", "unsafe", heads.Unsafe,
			"target", p.heads.Unsafe, "held", s.pause.patience)
		c.report(Outcome{Case: c.state.outcome.Case, Reason: follow.ReorgUnresolved})
		c.confirmReset()
	}
	c.timers[KindRelease].at = s.pause.deadline()
}

// pause decides when building is held. It is held from the moment an obstacle turns up, at the longest for the patience
// if the obstacle is a target: a source that names a block which nobody has must not stop the chain. One that was given
// up does not hold building again before it is gone, whatever takes its place meanwhile.
type pause struct {
	patience time.Duration
	state    pauseState
	since    time.Time
	limited  bool
}

type pauseState uint8

const (
	pauseNone pauseState = iota
	pauseHeld
	pauseGivenUp
)

// obstacle is what keeps the head from being built on.
type obstacle uint8

const (
	obstacleNone obstacle = iota
	// obstacleSync: the engine has no head yet, it syncs.
	obstacleSync
	// obstacleTarget: the engine answers SYNCING to a target off its head.
	obstacleTarget
	// obstacleOrphan: L1 left the origin of the head, which is the local-safe head. How far that goes back is for the source
	// to say; from a head above it is walked back at once.
	obstacleOrphan
)

// String is the reason for the log.
func (o obstacle) String() string {
	return [...]string{
		"nothing", "the execution engine syncs", "the execution engine has to fetch the chain of the source",
		"L1 was reorged away from under the head",
	}[o]
}

// pauseChange is what an update did.
type pauseChange uint8

const (
	pauseSame pauseChange = iota
	pauseBegan
	pauseEnded
	pauseLapsed
)

func (p *pause) update(now time.Time, o obstacle) pauseChange {
	p.limited = o == obstacleTarget && p.patience > 0
	switch {
	case o == obstacleNone:
		was := p.state
		p.state = pauseNone
		if was == pauseHeld {
			return pauseEnded
		}
	case p.state == pauseNone:
		p.state, p.since = pauseHeld, now
		return pauseBegan
	case p.state == pauseHeld && p.limited && now.Sub(p.since) >= p.patience:
		p.state = pauseGivenUp
		return pauseLapsed
	}
	return pauseSame
}

// deadline is when to update at the latest; zero if that can wait for the next task.
func (p *pause) deadline() time.Time {
	if p.state == pauseHeld && p.limited {
		return p.since.Add(p.patience)
	}
	return time.Time{}
}

// headsEvent is upstream's event for heads.
func headsEvent(heads follow.Heads) upstream.ForkchoiceUpdateEvent {
	return upstream.ForkchoiceUpdateEvent{UnsafeL2Head: heads.Unsafe.L2BlockRef, SafeL2Head: heads.Safe.L2BlockRef,
		FinalizedL2Head: heads.Finalized.L2BlockRef}
}

// recovered lets the sequencer go on after the head was walked back as far as it goes. If building is held there, the end
// of that lets it go on: it would only ask for another reset.
func (c *Controller) recovered(ctx context.Context) {
	c.role.settle(ctx, c)
	if c.role.refuses() == nil {
		c.confirmReset()
	} else {
		c.announce()
	}
}

// confirmReset lets a sequencer go on that waits for the outcome of a reset, or that was refused a build.
func (c *Controller) confirmReset() {
	heads := c.state.heads
	c.announce()
	c.role.emit(upstream.EngineResetConfirmedEvent{LocalUnsafe: heads.Unsafe.L2BlockRef, LocalSafe: heads.LocalSafe.L2BlockRef,
		CrossSafe: heads.Safe.L2BlockRef, Finalized: heads.Finalized.L2BlockRef})
}

// diverge ends what was built on a head that is left for another chain. The new head is announced when it is committed.
func (c *Controller) diverge(ctx context.Context) {
	c.cancelJob(ctx)
	c.role.emit(DivergedEvent{})
}

// staleBuild is upstream's refusal of work on a block that is not the head, or not to be built on, with the heads
// announced that the caller does not seem to know.
func (c *Controller) staleBuild(format string, args ...any) error {
	c.announce()
	return fmt.Errorf("%w: %s", upstream.ErrStaleBuild, fmt.Sprintf(format, args...))
}

// announce tells the sequencer the heads, if there are any that can be built on.
func (c *Controller) announce() {
	if c.state.phase == PhaseFollowing || c.state.phase == PhaseAwaiting {
		c.role.emit(headsEvent(c.state.heads))
	}
}
