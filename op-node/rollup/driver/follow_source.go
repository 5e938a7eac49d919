package driver

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

const (
	// maxBackoff is how many poll intervals a source that fails is left alone at most.
	maxBackoff = 2
	// maxOffset is the share of a poll interval by which a node polls later at most than L1 would have it, so that the
	// followers of one source do not ask all at once.
	maxOffset = 32
)

// Source is one external consensus node. Errors wrap sources.ErrFetch or sources.ErrMalformed.
type Source interface {
	// Name identifies the source in logs and metrics, without secrets.
	Name() string
	// Status asks for the sync status.
	Status(ctx context.Context) (follow.Status, error)
	// Identity asks which chain the source is on. It fails with sources.ErrMethodMissing if the source cannot tell.
	Identity(ctx context.Context) (sources.Identity, error)
	// Lineage asks whom the source follows. It fails with sources.ErrMethodMissing if the source does not follow.
	Lineage(ctx context.Context) (sources.Lineage, error)
	// SafeHeadAtL1 and RequiredL1 ask for the source's record of safe heads.
	SafeHeadAtL1(ctx context.Context, l1Number uint64) (sources.SafeHead, error)
	RequiredL1(ctx context.Context, timestamp uint64, chain eth.ChainID) (sources.RequiredL1, bool, error)
}

// report is what a poller brought home.
type report struct {
	rank    int
	at      time.Time
	took    time.Duration
	status  follow.Status
	lineage sources.Lineage
	err     error
}

// poller asks one source, one request at a time. All but heads belongs to run.
type poller struct {
	source   Source
	rank     int
	interval time.Duration
	clock    clock.Clock
	reports  chan<- report
	// gate tells whether an answer could be used.
	gate func() bool
	// heads gets the number of each new L1 head, or of the newest of several.
	heads chan uint64

	cadence  follow.Cadence
	polledAt time.Time
	last     follow.Status
	failures int
	known    introduction
}

func (d *Driver) newPoller(rank int, source Source) *poller {
	cadence := follow.Clocked(d.cfg.PollInterval, rand.N(d.cfg.PollInterval/maxOffset+1))
	if d.cfg.FixedInterval {
		cadence = follow.Every(d.cfg.PollInterval)
	}
	return &poller{
		source: source, rank: rank, interval: d.cfg.PollInterval,
		clock: d.clock, reports: d.reports, gate: d.gateOpen, heads: make(chan uint64, 1), cadence: cadence,
		known: introduction{
			source: source, id: d.id, identity: sources.IdentityOf(d.cfg.Rollup),
			room: room(d.cfg.Quorum, len(d.court.candidates)), warn: d.log.Warn,
		},
	}
}

// run polls until the context ends.
func (p *poller) run(ctx context.Context) {
	for {
		now := p.clock.Now()
		timer := p.clock.NewTimer(max(p.due(now).Sub(now), 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case number := <-p.heads:
			timer.Stop()
			p.cadence = p.cadence.OnL1Head(p.clock.Now(), number)
			continue
		case <-timer.Ch():
		}
		if !p.gate() {
			p.cadence = p.cadence.OnPoll(p.clock.Now(), follow.Answer{CurrentL1: p.last.CurrentL1.Number})
			continue
		}
		r := p.poll(ctx)
		select {
		case p.reports <- r:
		case <-ctx.Done():
			return
		}
	}
}

// due is when to poll next: as the cadence says, with some jitter, so that a fleet that started together does not stay
// together; and not before its time for a source that failed.
func (p *poller) due(now time.Time) time.Time {
	if p.failures == 0 {
		return p.cadence.Next(now)
	}
	wait := p.interval << min(p.failures-1, maxBackoff-1)
	return p.polledAt.Add(wait - wait/20 + rand.N(wait/10+1))
}

// tell passes on a new L1 head without waiting. It must be called from one goroutine.
func (p *poller) tell(number uint64) {
	select {
	case <-p.heads: // which was not heard yet, and is not the newest any more
	default:
	}
	p.heads <- number
}

// poll asks the source once.
func (p *poller) poll(ctx context.Context) report {
	start := p.clock.Now()
	r := report{rank: p.rank, at: start}
	if r.status, r.err = p.source.Status(ctx); r.err == nil {
		now := p.clock.Now()
		var requests int
		requests, r.err = p.known.check(ctx, now)
		for range requests {
			p.cadence = p.cadence.OnRequest(now)
		}
	}
	r.took = p.clock.Since(start)
	r.lineage = p.known.lineage
	answer := follow.Answer{Changed: r.err == nil && digested(p.last, r.status)}
	if r.err != nil {
		p.failures++
	} else {
		p.failures, p.last = 0, r.status
	}
	answer.CurrentL1 = p.last.CurrentL1.Number
	p.cadence = p.cadence.OnPoll(start, answer)
	p.polledAt = p.clock.Now()
	return r
}

// digested tells whether the source has digested L1 between two answers, which is what polls wait for after an L1 head. A
// new finalized head alone comes from L1's finality, at a time of its own.
func digested(before, after follow.Status) bool {
	after.Finalized = before.Finalized
	return after != before
}
