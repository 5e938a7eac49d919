package poll

import "time"

const (
	// RetryAfter is the time from a request that failed to the next one (spec Q5).
	RetryAfter = time.Second
	// minDeadline is how long every request may take, usualTimes how often the usual time.
	minDeadline = time.Second
	usualTimes  = 4
	// doubt is the part of its silence that a source may take for an answer: it could have become slow for good. A source that
	// has stalled for 20 s is still found within RetryAfter of its return.
	doubt = 20
)

// Patience is how long requests to one source may take (spec Q5): longer than a second only where the source usually needs that, so
// that a stall does not last longer than it lasts. It is a value.
type Patience struct {
	most  time.Duration
	usual time.Duration
	// answered is when the source answered last, or was asked first.
	answered time.Time
}

// NewPatience allows no request more than the given time.
func NewPatience(most time.Duration) Patience { return Patience{most: most} }

// OnSend tells that a request is about to be sent, and returns how long it may take.
func (p Patience) OnSend(now time.Time) (Patience, time.Duration) {
	if p.answered.IsZero() {
		p.answered = now
	}
	return p, min(max(minDeadline, usualTimes*p.usual, now.Sub(p.answered)/doubt), p.most)
}

// OnAnswer tells that a request was answered, after a time. The next one may take at least as long.
func (p Patience) OnAnswer(now time.Time, took time.Duration) Patience {
	p.answered = now
	p.usual += (took - p.usual) / usualTimes
	return p
}
