package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/log"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
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
	refuses(head eth.L2BlockRef) error
	// sealed counts a block.
	sealed(block sealed)
	// waiting is the reason to report for a target that the engine has been asked to get for so long.
	waiting(since time.Duration) follow.Reason
	// settle is called after every task, with what keeps the head from being built on. It tells what that changed.
	settle(obstacle obstacle, heads follow.Heads) buildChange
	// confirm tells whether a reset that the sequencer asked for may be confirmed, or has to wait for settle to say so.
	confirm() bool
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

func (Verifier) refuses(eth.L2BlockRef) error { return errors.New("this node makes no blocks") }

func (Verifier) sealed(sealed) {}

func (Verifier) waiting(time.Duration) follow.Reason { return follow.EngineSyncing }

func (Verifier) settle(obstacle, follow.Heads) buildChange { return buildSame }

func (Verifier) confirm() bool { return true }

// DivergedEvent tells that the unsafe head leaves its chain, and comes before the event with the new head: blocks that were
// begun, sealed or published on it, and what was kept of their L1 origins, are void.
type DivergedEvent struct{}

// String is the name of the event.
func (DivergedEvent) String() string { return "diverged" }

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

// unresolvedAfter is how long a target off the own chain is left to the engine before the sequencer says that its blocks are
// not on the chain of the source.
const unresolvedAfter = 30 * time.Second

// Sequencer is the role of a node that builds on the head that it follows with. Building waits for nothing that a source
// says (spec S1): only for the engine, and for L1 where no block could last; see obstacle. It belongs to one Controller.
type Sequencer struct {
	events  event.Emitter
	metrics BuildMetrics
	log     log.Logger

	heads follow.Heads
	// obstacle is what keeps the head from being built on, refused the head on which a block was refused for that, and owing
	// that the sequencer waits for a reset to be confirmed.
	obstacle obstacle
	refused  eth.L2BlockRef
	owing    bool
}

// NewSequencer makes the role of a node that makes blocks.
func NewSequencer(deps SequencerDeps) *Sequencer {
	return &Sequencer{events: deps.Events, metrics: deps.Metrics, log: deps.Log}
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

func (s *Sequencer) refuses(head eth.L2BlockRef) error {
	if s.obstacle == obstacleNone {
		return nil
	}
	s.refused = head
	return fmt.Errorf("nothing is built: %s", s.obstacle)
}

func (s *Sequencer) sealed(block sealed) {
	s.metrics.RecordSequencerSealingTime(block.sealing)
	s.metrics.RecordSequencerBuildingDiffTime(block.excess)
	s.metrics.CountSequencedTxsInBlock(block.txs, block.deposits)
}

func (s *Sequencer) waiting(since time.Duration) follow.Reason {
	if since >= unresolvedAfter {
		return follow.ReorgUnresolved
	}
	return follow.EngineSyncing
}

func (s *Sequencer) settle(o obstacle, heads follow.Heads) buildChange {
	before := s.obstacle
	s.obstacle = o
	switch {
	case before == obstacleNone && o != obstacleNone:
		s.refused = eth.L2BlockRef{}
		s.log.Warn("Nothing is built", "why", o, "unsafe", heads.Unsafe, "local_safe", heads.LocalSafe)
		return buildStopped
	case before != obstacleNone && o == obstacleNone:
		s.log.Info("Building goes on", "unsafe", heads.Unsafe)
		if s.owing || s.refused != (eth.L2BlockRef{}) {
			s.owing = false
			return buildResumed
		}
	}
	return buildSame
}

func (s *Sequencer) confirm() bool {
	s.owing = s.obstacle != obstacleNone
	return !s.owing
}

// obstacle is what keeps the head from being built on. What a source says is none.
type obstacle uint8

const (
	obstacleNone obstacle = iota
	// obstacleSync: the engine has no head yet, it syncs.
	obstacleSync
	// obstacleOrphan: L1 left the origin of the head, which is the local-safe head. The labels are about to go back; from a
	// head above it is walked back at once.
	obstacleOrphan
	// obstacleLost: the engine lost the local-safe head, and is below it.
	obstacleLost
)

// String is the reason for the log.
func (o obstacle) String() string {
	return [...]string{
		"nothing", "the execution engine syncs", "L1 was reorged away from under the head",
		"the execution engine lost the local-safe block, and L1 leaves no room for another one",
	}[o]
}

// buildChange is what became of building after a task.
type buildChange uint8

const (
	buildSame buildChange = iota
	// buildStopped: the block in the making is to be cancelled.
	buildStopped
	// buildResumed: the sequencer was refused a block, on this head or on one below it, and has to hear that it may go on.
	buildResumed
)

// settleBuild stops building, or lets it go on, by how things are after a task.
func (c *Controller) settleBuild(ctx context.Context) {
	switch c.role.settle(c.obstacle(), c.state.heads) {
	case buildStopped:
		c.cancelJob(ctx)
	case buildResumed:
		c.confirmReset()
	}
}

func (c *Controller) obstacle() obstacle {
	heads := c.state.heads
	switch {
	case c.state.phase == PhaseSyncing:
		return obstacleSync
	case c.state.phase != PhaseFollowing || c.state.lost != nil:
		return obstacleNone
	case heads.Unsafe.Number == heads.LocalSafe.Number && c.l1.Canonical(heads.Unsafe.L1Origin) == follow.L1Mismatch:
		return obstacleOrphan
	case c.belowLost():
		return obstacleLost
	}
	return obstacleNone
}

// headsEvent is upstream's event for heads.
func headsEvent(heads follow.Heads) upstream.ForkchoiceUpdateEvent {
	return upstream.ForkchoiceUpdateEvent{UnsafeL2Head: heads.Unsafe.L2BlockRef, SafeL2Head: heads.Safe.L2BlockRef,
		FinalizedL2Head: heads.Finalized.L2BlockRef}
}

// recovered lets the sequencer go on after the head was walked back as far as it goes. If nothing may be built there, the
// end of that lets it go on: it would only ask for another reset.
func (c *Controller) recovered(ctx context.Context) {
	c.settleBuild(ctx)
	if c.role.confirm() {
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
