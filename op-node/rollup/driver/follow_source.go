package driver

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/rollup/poll"
	"github.com/lightcl/op-node/op-service/sources"
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
}

// report is what a poller brought home: an answer, when it arrived, and how long it took.
type report struct {
	rank    int
	at      time.Time
	took    time.Duration
	status  follow.Status
	lineage sources.Lineage
	err     error
}

// poller asks one source, one request at a time. All but the channels belongs to run.
type poller struct {
	source  Source
	rank    int
	clock   clock.Clock
	reports chan<- report
	// gate tells whether an answer could be used.
	gate func() bool
	// heads gets the number of each new L1 head, or of the newest of several, and hints whatever else makes it likely that the
	// source has something new.
	heads chan uint64
	hints chan struct{}

	schedule poll.Schedule
	patience poll.Patience
	// retry is the time from a request that failed to the next one.
	retry   time.Duration
	sent    time.Time
	failing bool
	last    follow.Status
	known   introduction
}

func (d *Driver) newPoller(rank int, source Source) *poller {
	schedule, retry := poll.Paced(d.cfg.PollInterval, rand.N(poll.Spread)), poll.RetryAfter
	if d.cfg.FixedInterval {
		schedule, retry = poll.Every(d.cfg.PollInterval), max(d.cfg.PollInterval, poll.RetryAfter)
	}
	return &poller{
		source: source, rank: rank, clock: d.clock, reports: d.reports, gate: d.gateOpen,
		heads: make(chan uint64, 1), hints: make(chan struct{}, 1),
		schedule: schedule, patience: poll.NewPatience(d.cfg.RequestTimeout), retry: retry,
		known: introduction{
			source: source, id: d.id, identity: sources.IdentityOf(d.cfg.Rollup),
			room: room(d.cfg.Quorum, len(d.court.candidates)), warn: d.log.Warn,
		},
	}
}

// run polls until the context ends.
func (p *poller) run(ctx context.Context) {
	for {
		timer := p.clock.NewTimer(max(p.due().Sub(p.clock.Now()), 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case number := <-p.heads:
			timer.Stop()
			p.schedule = p.schedule.OnL1Head(p.clock.Now(), number)
			continue
		case <-p.hints:
			timer.Stop()
			p.schedule = p.schedule.OnHint(p.clock.Now())
			continue
		case <-timer.Ch():
		}
		if !p.gate() {
			p.schedule = p.schedule.OnAnswer(p.clock.Now(), poll.Answer{CurrentL1: p.last.CurrentL1.Number})
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

// due is when to poll next. The jitter of a source that failed keeps a fleet apart that lost its source together (spec Q5).
func (p *poller) due() time.Time {
	if !p.failing {
		return p.schedule.Next()
	}
	return p.sent.Add(p.retry - p.retry/20 + rand.N(p.retry/10))
}

// tell passes on a new L1 head without waiting. It must be called from one goroutine.
func (p *poller) tell(number uint64) {
	select {
	case <-p.heads: // which was not heard yet, and is not the newest any more
	default:
	}
	p.heads <- number
}

// hint has the source asked soon, without waiting. It may be called from any goroutine.
func (p *poller) hint() {
	select {
	case p.hints <- struct{}{}:
	default:
	}
}

// poll asks the source once.
func (p *poller) poll(ctx context.Context) report {
	p.sent = p.clock.Now()
	var deadline time.Duration
	p.patience, deadline = p.patience.OnSend(p.sent)
	r := report{rank: p.rank}
	r.status, r.err = within(ctx, deadline, p.source.Status)
	r.at = p.clock.Now()
	r.took = r.at.Sub(p.sent)
	p.failing = r.err != nil
	if !p.failing {
		p.patience = p.patience.OnAnswer(r.at, r.took)
		r.err = p.introduce(ctx, deadline)
	}
	r.lineage = p.known.lineage
	answer := poll.Answer{Changed: r.err == nil && digested(p.last, r.status)}
	if r.err == nil {
		p.last = r.status
	}
	answer.CurrentL1 = p.last.CurrentL1.Number
	p.schedule = p.schedule.OnAnswer(p.sent, answer)
	return r
}

// introduce finds out who the source is, if it is time to, and fails if it must not be followed.
func (p *poller) introduce(ctx context.Context, deadline time.Duration) error {
	now := p.clock.Now()
	requests, err := within(ctx, deadline, func(ctx context.Context) (int, error) { return p.known.check(ctx, now) })
	for range requests {
		p.schedule = p.schedule.OnRequest(now)
	}
	return err
}

// within calls a function with a deadline.
func within[T any](ctx context.Context, deadline time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return call(ctx)
}

// digested tells whether the source has digested L1 between two answers, which is what a burst waits for. A new finalized
// head alone comes from L1's finality, at a time of its own.
func digested(before, after follow.Status) bool {
	after.Finalized = before.Finalized
	return after != before
}
