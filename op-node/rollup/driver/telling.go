package driver

import (
	"slices"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// telling is what the log was told of the verdicts on one source. Verdicts come with every answer and may flip with every
// L1 block; what is told is when the source begins not to be accepted, for each reason once, and when it is accepted again
// for good.
type telling struct {
	// told are the reasons since the source was last said to be accepted; good tells that it was, and nothing since.
	told []follow.Reason
	good bool
	// since is when the present verdict came first, without another one in between, and reason which that is.
	since  time.Time
	reason follow.Reason
}

// hear takes a verdict, and tells whether to log it. A reason that passes by itself is told once it has lasted for a while;
// so is that a source which was not accepted is accepted again.
func (t *telling) hear(reason follow.Reason, now time.Time, lasting time.Duration) bool {
	if t.since.IsZero() || reason != t.reason {
		t.since, t.reason = now, reason
	}
	lasts := now.Sub(t.since) >= lasting
	switch {
	case reason == follow.None && t.good, slices.Contains(t.told, reason):
		return false
	case reason == follow.None:
		if len(t.told) > 0 && !lasts {
			return false
		}
		t.good, t.told = true, nil
	default:
		if passes(reason) && !lasts {
			return false
		}
		t.good, t.told = false, append(t.told, reason)
	}
	return true
}

// passes tells that a reason is part of the normal course of things, if it does not last.
func passes(reason follow.Reason) bool {
	switch reason {
	case follow.L1TooLow, follow.L1CallFailed, follow.StatusBehind, follow.Unconfirmed, follow.EngineUnavailable:
		return true
	default:
		return false
	}
}

// note counts the verdict on an answer, and logs it if it is news.
func (d *Driver) note(c *candidate, reason follow.Reason, err error) {
	d.metrics.RecordFollowSourceRequest(upstreamResult(reason))
	d.metrics.RecordVerdict(c.name, reason.Code())
	d.hold(c, reason, err)
}

// noteAgain counts the verdict on an answer that was judged before, if it is another one now.
func (d *Driver) noteAgain(c *candidate, reason follow.Reason, err error) {
	if reason != c.reason {
		d.metrics.RecordVerdict(c.name, reason.Code())
	}
	d.hold(c, reason, err)
}

// hold keeps a verdict, and logs it if it is news.
func (d *Driver) hold(c *candidate, reason follow.Reason, err error) {
	c.judged, c.reason = true, reason
	if !c.telling.hear(reason, d.clock.Now(), d.policy.Fresh) {
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
		before := ""
		if court.followed != follow.NoSource {
			before = d.sourceName(court.followed)
		}
		court.followed, court.pendingSince = choice.Source, time.Time{}
		d.metrics.RecordFollowed(d.sourceName(choice.Source), before)
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
