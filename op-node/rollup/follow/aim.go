package follow

import "time"

const (
	// minCalm and maxCalm bound the share of first polls that may come too early: one in so many.
	minCalm, maxCalm = 15, 200
	// minStep is the smallest step by which an aim moves later.
	minStep = 100 * time.Millisecond
)

// firstAim is tried first.
var firstAim = aim{delay: 100 * time.Millisecond, step: 200 * time.Millisecond}

// aim is a delay after an L1 head, learned as a quantile of the delays after which the source has digested it: a poll
// that comes too early moves it later by a step, one that does not moves it earlier by a fraction of it. The step shrinks
// while the two alternate and grows while one side prevails, so that the aim finds a new place quickly and then rests.
type aim struct {
	delay, step time.Duration
	// early is the outcome of the last poll, run how often it came in a row.
	early bool
	run   int
}

// learn takes the outcome of a poll. The step is at most maxStep, the delay at most maxDelay.
func (a aim) learn(early bool, pollsPerHead float64, maxStep, maxDelay time.Duration) aim {
	if early == a.early {
		a.run++
	} else {
		a.run = 1
	}
	a.early = early
	calm := calm(pollsPerHead)
	switch {
	case early && a.run > 1, !early && a.run > 3*calm:
		a.step = min(2*a.step, maxStep)
	case early:
		a.step = max(a.step/2, minStep)
	}
	if early {
		a.delay = min(a.delay+a.step, maxDelay)
	} else {
		a.delay = max(a.delay-a.step/time.Duration(calm), 0)
	}
	return a
}

// calm is the number of polls of which one may come too early. That one takes further polls, so it depends on how many
// the budget has for one L1 head.
func calm(pollsPerHead float64) int {
	if pollsPerHead <= 1 {
		return maxCalm
	}
	return max(int(maxCalm/(pollsPerHead*pollsPerHead*pollsPerHead)), minCalm)
}
