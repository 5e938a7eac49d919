// Package lag measures how long after somebody else a label got somewhere.
package lag

import (
	"slices"
	"sort"
	"sync"
	"time"
)

// burst is how close to each other the steps of one update are: a deriving node takes the blocks of a batch one by one,
// and what counts is where it comes to rest.
const burst = 100 * time.Millisecond

// History is when a label, given by its block number, got where. It may be used from any goroutine.
type History struct {
	mu    sync.Mutex
	steps []step
}

type step struct {
	number uint64
	at     time.Time
}

// Show notes where the label is. Times must not go back.
func (h *History) Show(number uint64, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.steps); n == 0 || number > h.steps[n-1].number {
		h.steps = append(h.steps, step{number, at})
	}
}

// Reached is when the label first was at the number or above.
func (h *History) Reached(number uint64) (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := sort.Search(len(h.steps), func(i int) bool { return h.steps[i].number >= number })
	if i == len(h.steps) {
		return time.Time{}, false
	}
	return h.steps[i].at, true
}

// rests are the places the label came to rest at, within a time.
func (h *History) rests(from, to time.Time) []step {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []step
	for i, s := range h.steps {
		last := i+1 == len(h.steps) || h.steps[i+1].at.Sub(s.at) > burst
		if last && !s.at.Before(from) && s.at.Before(to) {
			out = append(out, s)
		}
	}
	return out
}

// Updates is how often the label moved on within a time.
func (h *History) Updates(from, to time.Time) int { return len(h.rests(from, to)) }

// Behind are the lags of h behind a leader's updates within a time. One that h did not take part in is missing.
func (h *History) Behind(leader *History, from, to time.Time) (lags []time.Duration, missing int) {
	for _, s := range leader.rests(from, to) {
		if at, ok := h.Reached(s.number); ok {
			lags = append(lags, at.Sub(s.at))
		} else {
			missing++
		}
	}
	return lags, missing
}

// Peak is the largest number of moments within a span.
func Peak(at []time.Time, span time.Duration) (most int) {
	sorted := slices.SortedFunc(slices.Values(at), time.Time.Compare)
	first := 0
	for i := range sorted {
		for sorted[i].Sub(sorted[first]) > span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
