package poll

import "time"

const (
	// apart is the shortest time between two waits: what changes several times in a moment is asked for again after it.
	apart = 50 * time.Millisecond
	// shortest is the shortest wait worth its request. What fails sooner was not cut short, but refused.
	shortest = 500 * time.Millisecond
	// firstPause and longestPause are for how long a source is polled at which waiting failed: first, and after it failed again
	// and again; one that went well for that long begins anew. A node that is upgraded, or has room again, is found out in that time.
	firstPause, longestPause = 30 * time.Second, 10 * time.Minute
)

// Wait decides whether to wait for a change at one source, and for how long (spec W2, W3). It is a value, whose zero never waits.
type Wait struct {
	// full is the longest wait, length the present one, which cuts have halved since the last pause.
	full, length time.Duration
	version      string
	// next is when the next wait may begin, resume when waiting began or begins after a pause, which took so long.
	next, resume time.Time
	pause        time.Duration
}

// NewWait waits for up to the given time.
func NewWait(full time.Duration) Wait {
	return Wait{full: full, length: full}
}

// On tells whether to wait, instead of polling.
func (w Wait) On(now time.Time) bool { return w.full > 0 && !now.Before(w.resume) }

// Resumes is when to wait again at the earliest; ok is false for never.
func (w Wait) Resumes() (at time.Time, ok bool) { return w.resume, w.full > 0 }

// Next is when the next wait may begin. It may lie in the past.
func (w Wait) Next() time.Time { return w.next }

// Request is what to ask for: the version that is known, and how long to wait for another. Without one nothing is waited for.
func (w Wait) Request() (version string, length time.Duration) {
	if w.version == "" {
		return "", 0
	}
	return w.version, w.length
}

// OnAnswer tells that a wait that began at a time brought a version. Without progress, the next one does not begin before a token is
// there: an answer that comes at once, for ever, costs what a poll costs.
func (w Wait) OnAnswer(sent time.Time, version string, progress bool, token time.Time) Wait {
	w.version = version
	w.next = sent.Add(apart)
	if !progress {
		w.next = latest(w.next, token)
	}
	return w
}

// OnFailure tells that a wait failed after a time, at a source that answers polls. One that lasted was cut short, by a proxy for
// example, and is halved; else the source is polled for some time.
func (w Wait) OnFailure(now time.Time, after time.Duration) Wait {
	if after >= shortest && w.version != "" && w.length/2 >= shortest {
		w.length /= 2
		return w
	}
	paused := NewWait(w.full)
	if paused.pause = firstPause; now.Sub(w.resume) < longestPause {
		paused.pause = max(firstPause, min(2*w.pause, longestPause))
	}
	paused.resume = now.Add(paused.pause)
	return paused
}

// Memory has the newest things that were said, to tell news from what is repeated.
type Memory[T comparable] struct {
	said [8]T
	next int
}

// Hear takes in what was said, and tells whether it is news. More than one thing is remembered since a balancer may have several
// sources say theirs in turn.
func (m Memory[T]) Hear(what T) (after Memory[T], news bool) {
	for _, before := range m.said {
		if before == what {
			return m, false
		}
	}
	m.said[m.next%len(m.said)] = what
	m.next++
	return m, true
}
