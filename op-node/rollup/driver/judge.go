package driver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

// judgeTimeout bounds the L1 look-up for one round.
const judgeTimeout = 10 * time.Second

// candidate is what the judge knows of one source. It belongs to the judge's goroutine.
type candidate struct {
	name string
	// status is the newest one, at its time of asking. answered is false before the first.
	status   follow.Status
	at       time.Time
	answered bool
	// heard tells that the source was asked at least once, whatever came of it.
	heard   bool
	lineage sources.Lineage
	// history is what the source itself said last of what was accepted: a source is held to its own word, so that one
	// that is a moment behind another is not taken for one that replays the past.
	history follow.Applied
	reason  follow.Reason
	judged  bool
}

// court is the state of the judge. It belongs to the judge's goroutine.
type court struct {
	candidates []candidate
	// followed is the rank of the followed source.
	followed  int
	conflicts [][2]int
	reason    follow.Reason
}

func newCourt(names []string) *court {
	c := &court{followed: follow.NoSource}
	for _, name := range names {
		c.candidates = append(c.candidates, candidate{name: name})
	}
	return c
}

// judgeReports is the one goroutine that judges. L1 may be slow to answer it; unsafe blocks do not pass through here.
func (d *Driver) judgeReports() {
	idle := d.clock.NewTicker(d.cfg.PollInterval)
	defer idle.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case r := <-d.reports:
			if d.take(r) {
				d.hearing(r.rank)
			} else {
				d.decide(d.controller.Snapshot().Applied(), false)
			}
			d.pollers[r.rank].judged(d.court.candidates[r.rank].reason)
		case <-d.again:
			d.rehear()
		case <-idle.Ch():
		}
		d.showState()
	}
}

// take notes what a poller brought, and tells whether there is a status to judge.
func (d *Driver) take(r report) bool {
	c := &d.court.candidates[r.rank]
	c.lineage, c.heard = r.lineage, true
	d.metrics.RecordPoll(c.name, r.took, r.err == nil)
	var unfit *unfitError
	switch {
	case d.ctx.Err() != nil:
		return false
	case errors.As(r.err, &unfit):
		d.note(c, unfit.reason, r.err)
		c.answered = false // not even its last word counts
	case errors.Is(r.err, sources.ErrMalformed):
		d.note(c, follow.Malformed, r.err)
	case r.err != nil:
		d.note(c, follow.FetchFailed, r.err)
	default:
		c.status, c.at, c.answered = r.status, r.at, true
		d.metrics.RecordSourceHeads(c.name, r.status)
		return true
	}
	return false
}

// rehear judges the statuses again that had to wait for L1 blocks or own heads.
func (d *Driver) rehear() {
	for rank := range d.court.candidates {
		c := &d.court.candidates[rank]
		switch c.reason {
		case follow.L1TooLow, follow.L1Contradicts, follow.L1CallFailed, follow.EngineUnavailable:
			if c.answered {
				d.hearing(rank)
			}
		}
	}
}

// hearing judges the newest status of one source, and then what all of them together say.
func (d *Driver) hearing(rank int) {
	c := &d.court.candidates[rank]
	if reason := follow.Screen(c.status, d.chain); reason != follow.None {
		d.note(c, reason, nil)
		return
	}
	snap := d.controller.Snapshot()
	if snap.Phase == engine.PhaseLoading {
		d.note(c, follow.EngineUnavailable, nil) // nothing to compare with yet
		return
	}
	applied := snap.Applied()
	history := c.history
	if history == (follow.Applied{}) {
		history = applied
	}
	history.Finalized = applied.Finalized
	verdict := d.validate(c.status, history)
	d.note(c, verdict.Reason(), nil)
	if target, ok := verdict.Accepted(); ok {
		c.history = target.Applied()
		d.decide(applied, true)
	}
}

// decide hands the target to the controller that the sources together stand for. Without news, that is after a source
// failed, it only does so if the choice falls on another source: what is no news must not look fresh.
func (d *Driver) decide(applied follow.Applied, news bool) {
	now := d.clock.Now()
	if d.court.followed == follow.NoSource && d.clock.Since(d.startedAt) < d.cfg.PollInterval &&
		slices.ContainsFunc(d.court.candidates, func(c candidate) bool { return !c.heard }) {
		return // at start the place in the list decides, not who is quickest
	}
	var votes []follow.Vote
	for rank := range d.court.candidates {
		c := &d.court.candidates[rank]
		if !c.answered || follow.Screen(c.status, d.chain) != follow.None {
			continue
		}
		verdict := d.validate(c.status, applied)
		if target, ok := verdict.Accepted(); ok {
			votes = append(votes, follow.Vote{Rank: rank, Target: target, Age: now.Sub(c.at)})
		}
	}
	chain := func(number uint64) follow.Lookup { return d.own.at(d.ctx, number) }
	choice := follow.Agree(d.policy, votes, d.court.followed, applied, chain)
	changed := choice.Source != d.court.followed
	d.noteChoice(choice)
	d.noteConflicts(follow.Contradictions(d.court.conflicts, d.words(), chain))
	if choice.Reason == follow.None && (news || changed) {
		d.controller.Follow(choice.Target)
	}
}

// words are what the sources said last of what was accepted. Those that do not answer any more have none.
func (d *Driver) words() (words []follow.Word) {
	for rank, c := range d.court.candidates {
		if c.history != (follow.Applied{}) && c.answered && d.clock.Since(c.at) <= d.policy.Fresh {
			words = append(words, follow.Word{Rank: rank, Labels: c.history.Labels})
		}
	}
	return words
}

// validate has the L1 view judge a status. Of its current_l1, number and hash count; the rest is taken from the own view
// where that has the block.
func (d *Driver) validate(status follow.Status, before follow.Applied) follow.Verdict {
	ctx, cancel := context.WithTimeout(d.ctx, judgeTimeout)
	defer cancel()
	facts := follow.Facts{Chain: d.chain, L1: d.l1.Judge(ctx, follow.L1Refs(status, before)...)}
	if own, ok := d.l1.Window().Ref(status.CurrentL1.ID()); ok {
		status.CurrentL1 = own
	}
	return follow.Validate(status, facts, before)
}

// note counts a verdict, and logs it if it is another one than the last of this source.
func (d *Driver) note(c *candidate, reason follow.Reason, err error) {
	d.metrics.RecordVerdict(c.name, reason.Code())
	d.metrics.RecordFollowSourceRequest(upstreamResult(reason))
	changed := !c.judged || reason != c.reason
	c.judged, c.reason = true, reason
	if !changed {
		return
	}
	attrs := []any{"source", c.name, "reason", reason}
	switch {
	case reason == follow.None:
		d.log.Info("Source is accepted", "source", c.name, "safe", c.status.Safe, "local_safe", c.status.LocalSafe,
			"finalized", c.status.Finalized, "current_l1", c.status.CurrentL1)
		return
	case err != nil:
		attrs = append(attrs, "err", err)
	case c.answered:
		attrs = append(attrs, "safe", c.status.Safe, "local_safe", c.status.LocalSafe, "finalized", c.status.Finalized,
			"current_l1", c.status.CurrentL1)
	}
	attrs = append(attrs, "text", reason.Text(), "advice", reason.Advice())
	if reason == follow.FinalizedConflict || reason == follow.Cycle {
		d.log.Error("Source is not accepted", attrs...)
	} else {
		d.log.Warn("Source is not accepted", attrs...)
	}
}

// noteChoice shows whom the node follows, when that changes.
func (d *Driver) noteChoice(choice follow.Choice) {
	court := d.court
	if choice.Source != court.followed && choice.Reason == follow.None {
		d.log.Info("Following source", "source", d.sourceName(choice.Source), "was", d.sourceName(court.followed))
		court.followed = choice.Source
		d.metrics.RecordFollowed(d.sourceName(choice.Source))
	}
	if choice.Reason != court.reason && len(court.candidates) > 1 {
		if choice.Reason == follow.None {
			d.log.Info("Sources carry the labels again", "was", court.reason)
		} else {
			d.log.Warn("Labels hold", "reason", choice.Reason, "text", choice.Reason.Text(), "quorum", d.policy.Quorum)
		}
	}
	court.reason = choice.Reason
}

// noteConflicts shows which sources contradict each other, when that changes.
func (d *Driver) noteConflicts(conflicts [][2]int) {
	for _, pair := range conflicts {
		if !slices.Contains(d.court.conflicts, pair) {
			d.metrics.RecordDisagreement()
			d.log.Warn("Sources contradict each other", "source", d.sourceName(pair[0]), "other", d.sourceName(pair[1]),
				"followed", d.sourceName(d.court.followed), "quorum", d.policy.Quorum)
		}
	}
	if len(conflicts) == 0 && len(d.court.conflicts) > 0 {
		d.log.Info("Sources do not contradict each other any more")
	}
	d.court.conflicts = conflicts
}

func (d *Driver) sourceName(rank int) string {
	if rank == follow.NoSource {
		return "none"
	}
	return d.court.candidates[rank].name
}

// upstreamResult translates a reason to the label values of upstream's follow_source_requests_total.
func upstreamResult(reason follow.Reason) string {
	switch reason {
	case follow.None:
		return "success"
	case follow.FetchFailed, follow.Malformed:
		return "error_fetch_status"
	case follow.L1CallFailed, follow.L1TooLow:
		return "error_l1_lookup"
	case follow.L1Contradicts:
		return "error_l1_mismatch"
	default:
		return "error_invalid_state"
	}
}
