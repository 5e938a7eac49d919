package driver

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

// judgeTimeout bounds the L1 look-up for one status.
const judgeTimeout = 10 * time.Second

// report is what a poller brought home.
type report struct {
	from   *poller
	status follow.Status
	err    error
}

// poller asks one source, one request at a time. Its identified and warned fields belong to run; last and reason to the
// judge.
type poller struct {
	source Source
	d      *Driver

	identified bool

	// last is the newest status, for another look when L1 moves.
	last follow.Status
	// reason is that of the newest verdict.
	reason follow.Reason
	judged bool
}

func newPoller(source Source, d *Driver) *poller { return &poller{source: source, d: d} }

// run polls until the context ends. The period has some jitter, so that a fleet that started together does not stay
// together.
func (p *poller) run(ctx context.Context) {
	for {
		if p.gateOpen() {
			r := p.poll(ctx)
			select {
			case p.d.reports <- r:
			case <-ctx.Done():
				return
			}
		}
		period := p.d.cfg.PollInterval
		timer := p.d.clock.NewTimer(period - period/20 + rand.N(period/10+1))
		select {
		case <-timer.Ch():
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// gateOpen tells whether a status could be used: not before the heads are loaded, and in an initial execution-layer
// sync only once the engine has waited in vain for an unsafe payload to start with.
func (p *poller) gateOpen() bool {
	snap := p.d.controller.Snapshot()
	switch snap.Phase {
	case engine.PhaseFollowing:
		return true
	case engine.PhaseSyncing:
		return true
	case engine.PhaseAwaiting:
		return p.d.clock.Since(snap.PhaseSince) >= coldStart
	default:
		return true // the first answer may as well wait for the heads as the other way round
	}
}

// poll asks the source once. On first contact it makes sure that the source is on the same chain.
func (p *poller) poll(ctx context.Context) report {
	start := p.d.clock.Now()
	if !p.identified {
		if err := p.identify(ctx); err != nil {
			return report{from: p, err: err}
		}
	}
	status, err := p.source.Status(ctx)
	p.d.metrics.RecordPoll(p.source.Name(), p.d.clock.Since(start), err == nil)
	return report{from: p, status: status, err: err}
}

// errOtherChain is the failure of a source that follows another rollup.
var errOtherChain = errors.New("source is on another chain")

func (p *poller) identify(ctx context.Context) error {
	identity, err := p.source.Identity(ctx)
	switch {
	case errors.Is(err, sources.ErrMethodMissing):
		p.d.log.Warn("Source does not serve optimism_rollupConfig, its chain is judged by its heads alone", "source", p.source.Name())
	case err != nil:
		return err
	case identity != p.d.identity:
		return errOtherChain
	}
	p.identified = true
	return nil
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
			d.take(r)
		case <-d.again:
			d.judgeWaiting()
		case <-idle.Ch():
		}
		d.metrics.SetDerivationIdle(d.fresh())
	}
}

// take judges what a poller brought.
func (d *Driver) take(r report) {
	switch {
	case d.ctx.Err() != nil:
		return
	case errors.Is(r.err, errOtherChain):
		d.note(r.from, follow.WrongChain, nil)
	case errors.Is(r.err, sources.ErrMalformed):
		d.note(r.from, follow.Malformed, r.err)
	case r.err != nil:
		d.note(r.from, follow.FetchFailed, r.err)
	default:
		r.from.last = r.status
		d.judge(r.from)
	}
}

// lookAgain has the statuses judged again that could not be judged, or not well, for want of L1 blocks or own heads.
func (d *Driver) lookAgain() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

func (d *Driver) judgeWaiting() {
	for _, p := range d.pollers {
		switch p.reason {
		case follow.L1TooLow, follow.L1Contradicts, follow.L1CallFailed, follow.EngineUnavailable:
			d.judge(p)
		}
	}
}

// judge validates the newest status of a source and hands on what passes.
func (d *Driver) judge(p *poller) {
	if reason := follow.Screen(p.last, d.chain); reason != follow.None {
		d.note(p, reason, nil)
		return
	}
	snap := d.controller.Snapshot()
	if snap.Phase == engine.PhaseLoading {
		d.note(p, follow.EngineUnavailable, nil) // nothing to compare with yet
		return
	}
	prev := snap.Applied()
	ctx, cancel := context.WithTimeout(d.ctx, judgeTimeout)
	facts := follow.Facts{Chain: d.chain, L1: d.l1.Judge(ctx, follow.L1Refs(p.last, prev)...)}
	cancel()
	verdict := follow.Validate(p.last, facts, prev)
	d.note(p, verdict.Reason(), nil)
	if target, ok := verdict.Accepted(); ok {
		d.controller.Follow(target)
	}
}

// note counts a verdict, and logs it if it is another one than the last of this source.
func (d *Driver) note(p *poller, reason follow.Reason, err error) {
	d.metrics.RecordVerdict(p.source.Name(), reason.Code())
	d.metrics.RecordFollowSourceRequest(upstreamResult(reason))
	changed := !p.judged || reason != p.reason
	p.judged, p.reason = true, reason
	if !changed {
		return
	}
	attrs := []any{"source", p.source.Name(), "reason", reason}
	switch {
	case reason == follow.None:
		d.log.Info("Source is followed", "source", p.source.Name(), "safe", p.last.Safe, "local_safe", p.last.LocalSafe,
			"finalized", p.last.Finalized, "current_l1", p.last.CurrentL1)
		return
	case err != nil:
		attrs = append(attrs, "err", err)
	case p.last.CurrentL1.Number != 0 || p.last.Safe.Number != 0:
		attrs = append(attrs, "safe", p.last.Safe, "local_safe", p.last.LocalSafe, "finalized", p.last.Finalized,
			"current_l1", p.last.CurrentL1)
	}
	attrs = append(attrs, "text", reason.Text(), "advice", reason.Advice())
	if reason == follow.FinalizedConflict {
		d.log.Error("Source is not followed", attrs...)
	} else {
		d.log.Warn("Source is not followed", attrs...)
	}
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

// fresh tells whether a target was applied, or found applied already, within three polls.
func (d *Driver) fresh() bool {
	applied := d.controller.Snapshot().AppliedAt
	return !applied.IsZero() && d.clock.Since(applied) <= 3*d.cfg.PollInterval
}
