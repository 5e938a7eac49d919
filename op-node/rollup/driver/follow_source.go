package driver

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
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
	// StatusAfter asks for the sync status once it is another than that of a version, or after a wait. It fails with
	// sources.ErrMethodMissing if the source does not have clients wait.
	StatusAfter(ctx context.Context, version string, wait time.Duration) (sources.Update, error)
	// Identity asks which chain the source is on. It fails with sources.ErrMethodMissing if the source cannot tell.
	Identity(ctx context.Context) (sources.Identity, error)
	// Lineage asks whom the source follows. It fails with sources.ErrMethodMissing if the source does not follow.
	Lineage(ctx context.Context) (sources.Lineage, error)
}

// report is what a poller brought home: an answer, when it arrived, how long it took, and whether it is one to a wait.
type report struct {
	rank    int
	at      time.Time
	took    time.Duration
	waited  bool
	news    bool // an answer to a wait that no other said lately
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
	// heads gets the number of each new L1 head, or of the newest of several, hints whatever else makes it likely that the
	// source has something new, and demands what makes it necessary to ask.
	heads          chan uint64
	hints, demands chan struct{}

	schedule poll.Schedule
	patience poll.Patience
	wait     poll.Wait
	// said are the answers to waits, newsAt is when one last was news, and silent tells that this is long ago.
	said   poll.Memory[follow.Status]
	newsAt time.Time
	silent bool
	// strikes is of how many of them nothing came, by the judge's word, since one was accepted that was news.
	strikes atomic.Int32
	// demanded tells that the next request must not wait.
	demanded bool
	// retry is the time from a request that failed to the next one.
	retry   time.Duration
	sent    time.Time
	failing bool
	last    follow.Status
	known   introduction
}

func (d *Driver) newPoller(rank int, source Source) *poller {
	schedule, retry := poll.Paced(d.cfg.PollInterval, rand.N(poll.Spread)), poll.RetryAfter
	wait := poll.NewWait(2 * time.Duration(d.chain.BlockTime) * time.Second)
	if d.cfg.FixedInterval {
		schedule, retry, wait = poll.Every(d.cfg.PollInterval), max(d.cfg.PollInterval, poll.RetryAfter), poll.Wait{}
	}
	return &poller{
		source: source, rank: rank, clock: d.clock, reports: d.reports, gate: d.gateOpen,
		heads: make(chan uint64, 1), hints: make(chan struct{}, 1), demands: make(chan struct{}, 1),
		wait: wait, schedule: schedule, patience: poll.NewPatience(d.cfg.RequestTimeout), retry: retry,
		known: introduction{
			source: source, id: d.id, identity: sources.IdentityOf(d.cfg.Rollup),
			room: room(d.cfg.Quorum, len(d.court.candidates)), warn: d.log.Warn,
		},
	}
}

// run asks until the context ends.
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
		case <-p.demands:
			timer.Stop()
			p.schedule, p.demanded = p.schedule.OnHint(p.clock.Now()), true
			continue
		case <-timer.Ch():
		}
		if !p.gate() {
			p.schedule = p.schedule.OnAnswer(p.clock.Now(), poll.Answer{CurrentL1: p.last.CurrentL1.Number})
			continue
		}
		r := p.ask(ctx)
		select {
		case p.reports <- r:
		case <-ctx.Done():
			return
		}
	}
}

// due is when to ask next. The jitter of a source that failed keeps a fleet apart that lost its source together (spec Q5).
func (p *poller) due() time.Time {
	if p.failing {
		return p.sent.Add(p.retry - p.retry/20 + rand.N(p.retry/10))
	}
	if p.wait.On(p.clock.Now()) && !p.demanded {
		return p.wait.Next()
	}
	next := p.schedule.Next()
	if at, ok := p.wait.Resumes(); ok && at.Before(next) {
		return at
	}
	return next
}

// tell passes on a new L1 head without waiting. It must be called from one goroutine.
func (p *poller) tell(number uint64) {
	select {
	case <-p.heads: // which was not heard yet, and is not the newest any more
	default:
	}
	p.heads <- number
}

// hint has the source asked soon, if it does not tell of changes by itself. It returns at once, and may be called from any
// goroutine.
func (p *poller) hint() { signal(p.hints) }

// demand has the source asked soon, whether or not it has changed, as hint does.
func (p *poller) demand() { signal(p.demands) }

// judged tells what became of an answer. A source may say one thing to those who wait, of which nothing comes, and another when it
// is polled. It may be called from any goroutine.
func (p *poller) judged(r report, reason follow.Reason) {
	switch {
	case !r.waited:
	case reason.Class() == follow.ClassRejected, reason == follow.StatusBehind:
		p.strikes.Add(1)
		p.demand()
	case reason == follow.Unconfirmed: // the judge has it asked again in time
		p.strikes.Add(1)
	case r.news:
		p.strikes.Store(0)
	}
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// ask gets one answer of the source: it waits for a change where the source lets it, and else polls. While the source does not
// answer it is polled.
func (p *poller) ask(ctx context.Context) report {
	if p.strikes.Load() >= maxStrikes {
		p.strikes.Store(0)
		p.wait = p.wait.OnFailure(p.clock.Now(), 0)
	}
	if !p.failing && !p.demanded && p.wait.On(p.clock.Now()) {
		if r, ok := p.await(ctx); ok {
			return r
		}
	}
	p.demanded = false
	r := p.poll(ctx)
	if p.silent && r.err == nil {
		var news bool
		if p.said, news = p.said.Hear(r.status); news { // and no wait has said so
			p.wait = p.wait.OnFailure(r.at, 0)
		}
		p.silent, p.newsAt = false, r.at
	}
	return r
}

// await waits for a change. It brings nothing if that failed or was ended by a demand: then the source has to be polled, which
// tells a wait that was cut from a source that is gone.
func (p *poller) await(ctx context.Context) (r report, ok bool) {
	sent := p.clock.Now()
	version, length := p.wait.Request()
	patience, deadline := p.patience.OnSend(sent)
	update, demanded, err := p.statusAfter(ctx, version, length, deadline)
	at := p.clock.Now()
	if err != nil {
		p.schedule = p.schedule.OnRequest(sent)
		if demanded || ctx.Err() != nil {
			return r, false
		}
		r = p.poll(ctx)
		if !p.failing {
			p.wait = p.wait.OnFailure(at, at.Sub(sent))
		}
		return r, true
	}
	r = report{rank: p.rank, at: at, took: unknown, waited: true, status: update.Status}
	if took := at.Sub(sent) - length; took >= 0 { // nothing changed; or nothing was waited for
		r.took = took
		p.patience = patience.OnAnswer(at, took)
	}
	p.known.hear(at, update.Lineage, update.LineageErr)
	r.err = p.introduce(ctx, deadline)
	r.lineage = p.known.lineage
	if p.said, r.news = p.said.Hear(update.Status); r.news {
		p.newsAt = at
	} else {
		p.schedule = p.schedule.OnRequest(sent)
		p.silent = at.Sub(p.newsAt) >= longSilence
		p.demanded = p.demanded || p.silent
	}
	p.wait = p.wait.OnAnswer(sent, update.Version, r.news, p.schedule.Token())
	p.last = update.Status
	return r, true
}

// longSilence is after how much time in which waits brought nothing new a source is polled, for it may say more then.
const longSilence = 30 * time.Second

// maxStrikes is of how many answers to waits nothing may come, with none accepted that is news, until the source is polled for some time instead.
const maxStrikes = 3

// unknown is the time that an answer took which was waited for.
const unknown time.Duration = -1

// statusAfter waits for a change, until a demand comes.
func (p *poller) statusAfter(ctx context.Context, version string, length, deadline time.Duration) (update sources.Update, demanded bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+deadline)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		update, err = p.source.StatusAfter(ctx, version, length)
	}()
	select {
	case <-done:
	case <-p.demands:
		demanded = true
		cancel()
		<-done
	}
	return update, demanded, err
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
