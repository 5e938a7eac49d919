package follow

import (
	"slices"
	"time"
)

// Cadence decides when to poll one source. It is a value: every event returns the next one.
type Cadence interface {
	// OnL1Head tells of a new L1 head at a time.
	OnL1Head(now time.Time) Cadence
	// OnPoll tells that a poll was sent at a time, and whether its answer was another one than the last.
	OnPoll(now time.Time, changed bool) Cadence
	// OnRequest tells that the source was asked for something else at a time, which counts like a poll.
	OnRequest(now time.Time) Cadence
	// Next is when to poll next. It may lie in the past: then poll at once.
	Next(now time.Time) time.Time
}

// Every is the cadence of a fixed interval.
func Every(interval time.Duration) Cadence { return fixed{interval: interval} }

type fixed struct {
	interval time.Duration
	last     time.Time
}

func (f fixed) OnL1Head(time.Time) Cadence { return f }

func (f fixed) OnPoll(now time.Time, _ bool) Cadence { f.last = now; return f }

func (f fixed) OnRequest(time.Time) Cadence { return f }

func (f fixed) Next(now time.Time) time.Time {
	if f.last.IsZero() {
		return now
	}
	return f.last.Add(f.interval)
}

const (
	// maxCredit is how many polls can be saved up, and reserve how many of them are kept for a burst.
	maxCredit, reserve = 8, 3
	// firstCredit is what there is to begin with: the first poll, two requests to find out who the source is, and two more
	// polls if it has nothing to say yet.
	firstCredit = 5
	// oldAge is after how many quarters of a period the last answer is old: before it does not count any more.
	oldAge = 11
	// minGap is the shortest time between two polls.
	minGap = 80 * time.Millisecond
	// firstAim is the delay after an L1 head that is tried first.
	firstAim = 100 * time.Millisecond
	// maxSilent is after how many heads without a change nothing more is learned: the source stalls.
	maxSilent = 3
	// minCalm and maxCalm bound the share of first polls that may come too early: one in so many.
	minCalm, maxCalm = 5, 200
)

// Clocked is the cadence that L1 gives: safe heads move when the source digests an L1 block, so it polls at the delay
// after each new L1 head after which that source has usually changed, then in a short burst until it has. What is left
// of the budget goes to a slow keep-alive, which also serves when L1 is silent.
//
// The budget is one poll per period on average; up to eight polls can be saved up for bursts.
func Clocked(period time.Duration) Cadence {
	return clocked{period: period, credit: firstCredit, aim: firstAim, step: firstAim}
}

// clocked learns the delay as a quantile of the delays seen: a first poll that finds no change moves the aim later by a
// step, one that finds it moves the aim earlier by a fraction of it. The step shrinks while the two alternate and grows
// while one side prevails, so that the aim finds a new place quickly and then rests.
type clocked struct {
	period time.Duration

	// head is the newest L1 head whose change was not seen yet; zero if there is none to wait for.
	head time.Time
	// lastHead is the newest L1 head, headGap the usual time between two.
	lastHead time.Time
	headGap  time.Duration
	// silent counts the heads since the last change.
	silent int
	// polls counts the polls since head.
	polls int
	last  time.Time

	credit   float64
	creditAt time.Time

	aim, step time.Duration
	// early is the outcome of the last first poll, run how often it came in a row.
	early bool
	run   int
}

// OnL1Head starts the wait for the change that the head brings.
func (c clocked) OnL1Head(now time.Time) Cadence {
	if gap := now.Sub(c.lastHead); !c.lastHead.IsZero() {
		if c.headGap == 0 {
			c.headGap = gap
		}
		c.headGap += (gap - c.headGap) / 8
	}
	c.head, c.lastHead, c.polls = now, now, 0
	c.silent++
	return c
}

// OnPoll spends credit and learns.
func (c clocked) OnPoll(now time.Time, changed bool) Cadence {
	c = c.accrue(now)
	c.credit--
	c.last = now
	if c.head.IsZero() {
		return c
	}
	since := now.Sub(c.head)
	c.polls++
	if changed {
		c.silent = 0
	}
	if c.polls == 1 && c.silent <= maxSilent {
		c = c.learn(!changed)
	}
	if changed || since >= c.patience() {
		c.head = time.Time{}
	}
	return c
}

// OnRequest spends credit.
func (c clocked) OnRequest(now time.Time) Cadence {
	c = c.accrue(now)
	c.credit--
	return c
}

// learn moves the aim after the first poll for a head.
func (c clocked) learn(early bool) clocked {
	if early == c.early {
		c.run++
	} else {
		c.run = 1
	}
	c.early = early
	calm := c.calm()
	switch {
	case early && c.run > 1, !early && c.run > 3*calm:
		c.step = min(2*c.step, c.period)
	case early:
		c.step = max(c.step/2, minGap)
	}
	if early {
		c.aim = min(c.aim+c.step, c.patience())
	} else {
		c.aim = max(c.aim-c.step/time.Duration(calm), 0)
	}
	return c
}

// calm is the number of first polls of which one may come too early. An early poll takes another one, so it depends on
// how many polls the budget has for one L1 head.
func (c clocked) calm() int {
	spare := float64(c.headGap)/float64(c.period) - 1
	if spare <= 1.5/maxCalm {
		return maxCalm
	}
	return max(int(1.5/spare), minCalm)
}

// gap is the time between the last poll of a burst and the next: half as long again as the one before.
func (c clocked) gap() time.Duration {
	gap := minGap
	for i := 1; i < c.polls && gap < c.period; i++ {
		gap += gap / 2
	}
	return min(gap, c.period)
}

// patience is how long after an L1 head a change is still expected: until about the next one.
func (c clocked) patience() time.Duration {
	if c.headGap > 0 {
		return min(c.headGap, 4*c.period)
	}
	return c.period
}

// Next is the aim or the next poll of a burst while a change is expected, else the keep-alive; never without credit.
func (c clocked) Next(now time.Time) time.Time {
	if c.last.IsZero() {
		return now
	}
	if c.head.IsZero() {
		// What is saved up serves the next head better, unless there is much of it, or the last answer gets old.
		return earliest(c.creditAtLeast(maxCredit), latest(c.last.Add(2*c.period), c.creditAtLeast(reserve)),
			latest(c.last.Add(oldAge*c.period/4), c.creditAtLeast(1)))
	}
	due := c.head.Add(c.aim)
	if c.polls > 0 {
		due = c.last.Add(c.gap())
	}
	affordable := c.creditAtLeast(1)
	if !affordable.After(due) {
		return due
	}
	if next := c.lastHead.Add(c.headGap + c.aim); affordable.After(due.Add(c.headGap/4)) && c.headGap < 2*c.period && next.After(affordable) {
		// The budget is so tight that a late poll would make all later ones late. Rather leave this head out.
		return next
	}
	return affordable
}

func (c clocked) accrue(now time.Time) clocked {
	if !c.creditAt.IsZero() && now.After(c.creditAt) {
		c.credit = min(maxCredit, c.credit+float64(now.Sub(c.creditAt))/float64(c.period))
	}
	c.creditAt = now
	return c
}

// creditAtLeast is when the credit reaches an amount.
func (c clocked) creditAtLeast(amount float64) time.Time {
	missing := amount - c.credit
	if missing <= 0 {
		return c.creditAt
	}
	return c.creditAt.Add(time.Duration(missing * float64(c.period)))
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
