package driver

import (
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// State is what follow_status serves: how following goes, in one view. Ages are in milliseconds, -1 for never.
type State struct {
	// ID is the random id of this node, and Path the ids of all nodes that its labels come through, its own first. A node
	// that finds its own id in the path of a source refuses that source.
	ID   string   `json:"id"`
	Path []string `json:"path"`
	// Ready tells whether the labels are fresh; Why says why not.
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty"`
	// Quorum is how many sources it takes; Followed the name of the followed source, empty with a quorum above one.
	Quorum   int           `json:"quorum"`
	Followed string        `json:"followed,omitempty"`
	Sources  []SourceState `json:"sources"`
	Applied  AppliedState  `json:"applied"`
	// Phase is that of the own execution engine, Pending the head that it has been asked to fetch.
	Phase      string       `json:"phase"`
	Pending    *eth.BlockID `json:"pending,omitempty"`
	PendingAge int64        `json:"pending_age_ms,omitempty"`
	// Disagreements are the pairs of sources that contradict each other at the moment.
	Disagreements [][2]string `json:"disagreements,omitempty"`
}

// SourceState is what is known of one source.
type SourceState struct {
	Name string `json:"name"`
	// ID is the source's own, if it follows too.
	ID string `json:"id,omitempty"`
	// Reason is the code of the last verdict, empty before the first; Advice says what to do about it.
	Reason string `json:"reason"`
	Advice string `json:"advice,omitempty"`
	// Age is how old the last answer is.
	Age       int64       `json:"age_ms"`
	LocalSafe eth.BlockID `json:"local_safe"`
	Safe      eth.BlockID `json:"safe"`
	Finalized eth.BlockID `json:"finalized"`
	CurrentL1 eth.BlockID `json:"current_l1"`
}

// AppliedState is what the own engine acknowledged.
type AppliedState struct {
	LocalSafe eth.BlockID `json:"local_safe"`
	Safe      eth.BlockID `json:"safe"`
	Finalized eth.BlockID `json:"finalized"`
	CurrentL1 eth.BlockID `json:"current_l1"`
	// Reason is the code of what became of the newest target, Case its row of the head plan.
	Reason string `json:"reason"`
	Case   string `json:"case"`
	// Age is how long ago a target was last applied, or found applied already.
	Age int64 `json:"age_ms"`
	// Lag is how many blocks the applied local-safe head is behind the highest that an accepted source shows.
	Lag uint64 `json:"lag_blocks"`
}

// verdicts is what the judge shows of its court to other goroutines. It is immutable.
type verdicts struct {
	candidates []candidate
	followed   int
	conflicts  [][2]int
	reason     follow.Reason
}

// showState publishes the court, and the gauges that hang on time.
func (d *Driver) showState() {
	d.shown.Store(&verdicts{
		candidates: slices.Clone(d.court.candidates), followed: d.court.followed,
		conflicts: d.court.conflicts, reason: d.court.reason,
	})
	d.feed.SetPath(d.path())
	snap := d.controller.Snapshot()
	progressing, gap := d.progressing(snap)
	fresh := progressing && d.carried(snap, d.shown.Load())
	d.metrics.RecordL1Gap(gap)
	d.metrics.RecordUnresolved(snap.Outcome.Reason == follow.ReorgUnresolved)
	d.metrics.SetDerivationIdle(fresh)
	blocks := d.lag(snap)
	d.metrics.RecordFollowState(fresh, blocks, time.Duration(blocks*d.chain.BlockTime)*time.Second,
		age(d.clock.Now(), snap.PendingSince))
}

// path are the ids of all nodes that the labels come through, the own first.
func (d *Driver) path() []string {
	return pathThrough(d.id, d.shown.Load().supporters(d.policy.Quorum))
}

// carried tells whether sources carried the labels within three polls: a target was applied, or found applied already, or a
// source of the applied chain had nothing newer to say.
func (d *Driver) carried(snap *engine.Snapshot, shown *verdicts) bool {
	now := d.clock.Now()
	if !snap.AppliedAt.IsZero() && now.Sub(snap.AppliedAt) <= d.policy.Fresh {
		return true
	}
	return snap.Outcome.Reason == follow.None && !snap.AppliedAt.IsZero() &&
		slices.ContainsFunc(shown.candidates, func(c candidate) bool {
			return c.reason == follow.StatusBehind && now.Sub(c.wordAt) <= d.policy.Fresh
		})
}

// progressing tells whether the current L1 of what is applied is at most the maximal lag behind the own L1 head, by the time
// of L1; gap is how many blocks it is behind.
func (d *Driver) progressing(snap *engine.Snapshot) (ok bool, gap uint64) {
	window := d.l1.Window()
	head, at := window.Head(), snap.CurrentL1
	if (at.Hash == common.Hash{}) {
		return false, head.Number
	}
	behind := head.Time - min(head.Time, d.l1Time(at.ID()))
	return behind <= uint64(d.policy.MaxLag/time.Second), head.Number - min(head.Number, at.Number)
}

// lag is how many blocks the applied local-safe head is behind the highest that an accepted source shows.
func (d *Driver) lag(snap *engine.Snapshot) uint64 {
	var best uint64
	for _, c := range d.shown.Load().candidates {
		if c.judged && c.reason == follow.None {
			best = max(best, c.word.LocalSafe.Number)
		}
	}
	return best - min(best, snap.Heads.LocalSafe.Number)
}

// Ready tells whether the labels are fresh, and if not, why. Fresh is what sources carry and what progresses with L1.
func (d *Driver) Ready() (ready bool, why string) {
	snap, shown := d.controller.Snapshot(), d.shown.Load()
	// A source that contradicts what is final is nothing to stop for as long as others carry the labels.
	conflict := shown.reason != follow.None &&
		slices.ContainsFunc(shown.candidates, func(c candidate) bool { return c.reason == follow.FinalizedConflict })
	if ready, why := unsafeReady(snap); !ready {
		return false, why
	}
	progressing, _ := d.progressing(snap)
	carried := d.carried(snap, shown)
	switch {
	case conflict || snap.Outcome.Reason == follow.FinalizedConflict:
		return false, describe(follow.FinalizedConflict)
	case carried && progressing:
		return true, ""
	case snap.Outcome.Reason != follow.None:
		return false, describe(snap.Outcome.Reason)
	case shown.reason != follow.None && d.policy.Quorum > 1:
		return false, describe(shown.reason)
	case carried:
		return false, describe(follow.SourceBehind)
	}
	for _, c := range shown.candidates {
		if c.judged && c.reason != follow.None {
			return false, fmt.Sprintf("source %s: %s", c.name, describe(c.reason))
		}
	}
	return false, "no source has answered lately"
}

// UnsafeReady tells whether the execution engine follows the unsafe chain, whatever the labels do, and if not, why.
func (d *Driver) UnsafeReady() (ready bool, why string) { return unsafeReady(d.controller.Snapshot()) }

func unsafeReady(snap *engine.Snapshot) (ready bool, why string) {
	if snap.Phase != engine.PhaseFollowing {
		return false, "execution engine: " + snap.Phase.String()
	}
	return true, ""
}

func describe(r follow.Reason) string { return r.Code() + ": " + r.Text() }

// State is the present state of following.
func (d *Driver) State() State {
	snap, shown, now := d.controller.Snapshot(), d.shown.Load(), d.clock.Now()
	s := State{
		ID: d.id, Path: d.path(), Quorum: d.policy.Quorum, Phase: snap.Phase.String(),
		Applied: AppliedState{
			LocalSafe: snap.Heads.LocalSafe.ID(), Safe: snap.Heads.Safe.ID(), Finalized: snap.Heads.Finalized.ID(),
			CurrentL1: snap.CurrentL1.ID(), Reason: snap.Outcome.Reason.Code(), Case: snap.Outcome.Case.String(),
			Age: age(now, snap.AppliedAt), Lag: d.lag(snap),
		},
	}
	s.Ready, s.Why = d.Ready()
	if snap.Pending != (eth.L2BlockRef{}) {
		id := snap.Pending.ID()
		s.Pending, s.PendingAge = &id, age(now, snap.PendingSince)
	}
	if shown.followed != follow.NoSource {
		s.Followed = shown.candidates[shown.followed].name
	}
	for _, pair := range shown.conflicts {
		s.Disagreements = append(s.Disagreements, [2]string{shown.candidates[pair[0]].name, shown.candidates[pair[1]].name})
	}
	for _, c := range shown.candidates {
		s.Sources = append(s.Sources, c.show(now))
	}
	return s
}

func (c candidate) show(now time.Time) SourceState {
	s := SourceState{
		Name: c.name, ID: c.lineage.ID, Age: age(now, c.at), LocalSafe: c.status.LocalSafe.ID(), Safe: c.status.Safe.ID(),
		Finalized: c.status.Finalized.ID(), CurrentL1: c.status.CurrentL1.ID(),
	}
	if c.judged {
		s.Reason = c.reason.Code()
		if c.reason != follow.None {
			s.Advice = c.reason.Advice()
		}
	}
	return s
}

func age(now, then time.Time) int64 {
	if then.IsZero() {
		return -1
	}
	return now.Sub(then).Milliseconds()
}
