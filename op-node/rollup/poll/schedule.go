package poll

import "time"

// Schedule decides when to ask one source. It is a value: every event returns the next one.
type Schedule interface {
	// OnL1Head tells of a new L1 head, by its number.
	OnL1Head(now time.Time, number uint64) Schedule
	// OnHint tells of something that the source may have digested just now, or does soon.
	OnHint(now time.Time) Schedule
	// OnAnswer tells that a request was sent at a time, and what came of it.
	OnAnswer(sent time.Time, answer Answer) Schedule
	// OnRequest tells that the source was asked for something else, which spends tokens too.
	OnRequest(sent time.Time) Schedule
	// Next is when to ask next. It may lie in the past: then at once.
	Next() time.Time
	// Token is when there is a token for another request.
	Token() time.Time
}

// Answer is what a request found.
type Answer struct {
	// Changed is whether it is another answer than the last one.
	Changed bool
	// CurrentL1 is the number of the newest L1 block that the source has digested; the last one known if the request failed.
	CurrentL1 uint64
}

// Every is the schedule of a fixed interval.
func Every(interval time.Duration) Schedule { return fixed{interval: interval} }

type fixed struct {
	interval time.Duration
	sent     time.Time
}

func (f fixed) OnL1Head(time.Time, uint64) Schedule { return f }

func (f fixed) OnHint(time.Time) Schedule { return f }

func (f fixed) OnAnswer(sent time.Time, _ Answer) Schedule { f.sent = sent; return f }

func (f fixed) OnRequest(time.Time) Schedule { return f }

func (f fixed) Token() time.Time { return f.Next() }

func (f fixed) Next() time.Time {
	if f.sent.IsZero() {
		return f.sent
	}
	return f.sent.Add(f.interval)
}

const (
	// Spread is the time over which the followers of one source spread their requests after an L1 head (spec Q4).
	Spread = 100 * time.Millisecond
	// gap is how long after an L1 head a burst begins, and the shortest time between two of its requests. No source digests a
	// block sooner than it fetches it, so an earlier request would only spend a token: beginning at once, and then every
	// 100 ms, a day of TestPacedOverADay with L1 blocks every 4 s has a median of 852 ms instead of 129 ms.
	gap = 200 * time.Millisecond
	// share is the share of the time that a burst has lasted which goes by until its next request: a half. With a third there
	// are too many requests for a source that takes seconds, and with all of it what is found late is late by as much.
	share = 2
)

// Paced is the schedule that L1 gives (spec Q1–Q3). Labels move when the source digests an L1 block, so a burst of requests follows
// each new L1 head, until currentL1 has reached the head and two answers are equal: the safe blocks come one by one after
// currentL1. The longer a burst lasts, the rarer its requests. Without L1 heads there is a keep-alive, which also begins a burst
// when it finds a change. A token bucket bounds all of it. The offset, up to Spread, is this follower's own.
//
// A delay before the burst that is learned from each source did not pay: it measured better for sources that always take the same
// few seconds, and worse for all whose time varies, as with L1 over HTTP.
func Paced(keepAlive, offset time.Duration) Schedule {
	return paced{keepAlive: keepAlive, offset: offset, tokens: bucket{amount: maxTokens}}
}

type paced struct {
	keepAlive, offset time.Duration
	tokens            bucket
	// sent is when the source was asked last.
	sent time.Time
	// head is the number of the newest L1 head, current what the source has digested.
	head, current uint64
	// burst tells that more is expected of the source, since began.
	burst bool
	began time.Time
}

func (p paced) OnL1Head(now time.Time, number uint64) Schedule {
	p.head = number
	if p.current < number {
		p.burst, p.began = true, now.Add(p.offset)
	}
	return p
}

func (p paced) OnHint(now time.Time) Schedule {
	p.burst, p.began = true, now.Add(p.offset)
	return p
}

func (p paced) OnAnswer(sent time.Time, answer Answer) Schedule {
	p.tokens = p.tokens.spend(sent)
	p.sent, p.current = sent, answer.CurrentL1
	more := answer.Changed || p.current < p.head
	if more && !p.burst {
		p.began = sent
	}
	p.burst = more
	return p
}

func (p paced) OnRequest(sent time.Time) Schedule {
	p.tokens = p.tokens.spend(sent)
	return p
}

func (p paced) Next() time.Time {
	if p.sent.IsZero() {
		return p.sent
	}
	due := p.sent.Add(p.keepAlive)
	if p.burst {
		again := p.sent.Add(max(gap, p.sent.Sub(p.began)/share))
		due = earliest(due, latest(again, p.began.Add(gap)))
	}
	return latest(due, p.tokens.ready())
}

func (p paced) Token() time.Time { return p.tokens.ready() }

// maxTokens is how many requests can be saved up: enough for the longest burst that ends before the next keep-alive. With 4 the
// p99 of a source on a busy machine is two thirds higher, with 20 nothing is lower. tokenTime is what one takes to come (spec Q3).
const (
	maxTokens = 10
	tokenTime = time.Second
)

// bucket holds tokens.
type bucket struct {
	amount float64
	at     time.Time
}

// spend takes a token. More may be taken than there are; then it takes longer until there is one again.
func (b bucket) spend(now time.Time) bucket {
	if now.After(b.at) {
		if !b.at.IsZero() {
			b.amount = min(maxTokens, b.amount+float64(now.Sub(b.at))/float64(tokenTime))
		}
		b.at = now
	}
	b.amount--
	return b
}

// ready is when there is a token; in the past if there is one.
func (b bucket) ready() time.Time {
	if b.amount >= 1 {
		return b.at
	}
	return b.at.Add(time.Duration((1 - b.amount) * float64(tokenTime)))
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
