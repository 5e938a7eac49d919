package follow

import (
	"slices"
	"time"
)

// Cadence decides when to poll one source. It is a value: every event returns the next one.
type Cadence interface {
	// OnL1Head tells of a new L1 head at a time, by its number.
	OnL1Head(now time.Time, number uint64) Cadence
	// OnPoll tells that a poll was sent at a time, and what came of it.
	OnPoll(now time.Time, answer Answer) Cadence
	// OnRequest tells that the source was asked for something else at a time, which counts like a poll.
	OnRequest(now time.Time) Cadence
	// Next is when to poll next. It may lie in the past: then poll at once.
	Next(now time.Time) time.Time
}

// Answer is what a poll found.
type Answer struct {
	// Changed is whether it is another answer than the last one.
	Changed bool
	// CurrentL1 is the number of the newest L1 block that the source has digested; the last one known if the poll failed.
	CurrentL1 uint64
}

// Every is the cadence of a fixed interval.
func Every(interval time.Duration) Cadence { return fixed{interval: interval} }

type fixed struct {
	interval time.Duration
	last     time.Time
}

func (f fixed) OnL1Head(time.Time, uint64) Cadence { return f }

func (f fixed) OnPoll(now time.Time, _ Answer) Cadence { f.last = now; return f }

func (f fixed) OnRequest(time.Time) Cadence { return f }

func (f fixed) Next(now time.Time) time.Time {
	if f.last.IsZero() {
		return now
	}
	return f.last.Add(f.interval)
}

const (
	// FreshPeriods is after how many periods an answer does not count any more.
	FreshPeriods = 3
	// oldAge is after how many quarters of a period the last answer is old: just before it does not count any more.
	oldAge = 4*FreshPeriods - 1
	// minGap is the shortest time between two polls.
	minGap = 80 * time.Millisecond
	// maxSilent is after how many heads without a change what they taught is forgotten: the source stalls.
	maxSilent = 3
	// maxMissed is after how many heads in a row that a source did not reach it is taken to stay behind by so many.
	maxMissed = 4
	// doubtCredit and trustCredit are the credit that a look for the rest of a change takes after a first poll: the less,
	// the more the L1 blocks to come bring in. With trust in the aim it can be left out, in doubt it is only put off.
	doubtCredit, trustCredit = 5, 6.5
	// tight is how many polls there have to be for a head so that more than one can be planned for it.
	tight = 1.5
)

// Clocked is the cadence that L1 gives: safe heads move when the source digests an L1 block, so it polls at the delay
// after each new L1 head after which that source has usually digested it, then in a short burst until current_l1 shows
// that it has begun to, and then until it shows no more changes: the safe blocks come one by one after current_l1.
// What is left of the budget goes to a slow keep-alive, which also serves when L1 is silent.
//
// The budget is one poll per period on average; up to eight polls can be saved up. However L1 and the source behave, two polls
// are less than FreshPeriods apart, unless other requests have used up the budget. All first polls come later by the offset,
// which keeps apart the followers of one source if each has one of its own.
func Clocked(period, offset time.Duration) Cadence {
	return clocked{period: period, offset: offset, credit: newCredit(period), aim: firstAim, proven: firstAim}
}

type clocked struct {
	period, offset time.Duration
	credit         credit
	last           time.Time

	// aim is the delay after an L1 head that is tried, proven the one with which the source last reached a head.
	aim, proven aim

	// number is that of the newest L1 head, lastHead when it came, headGap the usual time between two.
	number   uint64
	lastHead time.Time
	headGap  time.Duration
	// current is what the source has digested, behind how many blocks it usually stays behind the head: what it is set up
	// to wait for, missed how many heads in a row it did not reach.
	current, behind uint64
	missed          int
	// waiting is whether the source is still expected to reach the head, polls how often it was asked since.
	waiting bool
	polls   int
	// changes counts the changes in a row since the source reached the head. After one of them settling means to look for more.
	changes  int
	settling bool
	// judged is whether it is known if the first poll for the head came too early, reached whether a poll found it reached.
	judged, reached bool
	// silent counts the heads since the last change.
	silent int
}

// OnL1Head starts the wait for the source to digest the head.
func (c clocked) OnL1Head(now time.Time, number uint64) Cadence {
	if gap := now.Sub(c.lastHead); !c.lastHead.IsZero() {
		if c.headGap == 0 {
			c.headGap = gap
		}
		c.headGap += (gap - c.headGap) / 8
		c = c.concludeHead()
	}
	ahead := number > c.number && c.current+c.behind >= number
	c.number, c.lastHead, c.waiting, c.polls = number, now, !ahead, 0
	c.changes, c.judged, c.reached = 0, false, ahead
	c.settling = c.settling && ahead
	if c.silent++; c.silent > maxSilent {
		c.aim = c.proven
	}
	return c
}

// concludeHead learns from how the wait for the last head ended.
func (c clocked) concludeHead() clocked {
	if c.reached {
		c.missed = 0
		return c.judge(false)
	}
	if c.last.Sub(c.lastHead) < c.headGap/2 {
		return c // it was not looked for late enough to tell
	}
	if c.missed++; c.missed >= maxMissed {
		c.behind, c.missed, c.aim = c.distance(), 0, c.proven
	}
	return c
}

// OnPoll spends credit and learns.
func (c clocked) OnPoll(now time.Time, answer Answer) Cadence {
	early := c.waiting && c.polls == 0 && now.Before(c.first())
	c.credit = c.credit.spend(now)
	c.last, c.current = now, answer.CurrentL1
	if answer.Changed {
		c.silent = 0
	}
	if c.waiting {
		return c.onPollWaiting(answer, early)
	}
	switch {
	case answer.Changed:
		c = c.judge(true)
	case c.settling:
		c = c.judge(false)
	}
	return c.settleAfter(answer.Changed)
}

// onPollWaiting looks for the head in an answer. One that was asked for before the first poll was due, since the last one
// got old, does not tell that the source is slow.
func (c clocked) onPollWaiting(answer Answer, early bool) clocked {
	if answer.Changed && c.current+c.behind >= c.number {
		c.waiting, c.reached, c.proven = false, true, c.aim
		c.behind = min(c.behind, c.distance())
		return c.settleAfter(true) // whose outcome tells whether the first poll found all of it
	}
	if early {
		return c
	}
	c.polls++
	return c.judge(true)
}

// settleAfter decides whether to look for more after an answer.
func (c clocked) settleAfter(changed bool) clocked {
	if !changed {
		c.changes, c.settling = 0, false
		return c
	}
	c.changes++
	c.settling = c.aim.early || c.credit.amount >= trustCredit-c.pollsPerHead()
	return c
}

// OnRequest spends credit.
func (c clocked) OnRequest(now time.Time) Cadence {
	c.credit = c.credit.spend(now)
	return c
}

// distance is by how many blocks the source is behind the head.
func (c clocked) distance() uint64 { return c.number - min(c.current, c.number) }

// judge moves the aim, once for every head.
func (c clocked) judge(early bool) clocked {
	if !c.judged {
		c.aim = c.aim.learn(early, c.pollsPerHead(), c.period, c.maxDelay())
		c.judged = true
	}
	return c
}

// maxDelay is the latest aim: the source is expected to reach a head before the next one, which starts another wait.
func (c clocked) maxDelay() time.Duration {
	if c.headGap == 0 {
		return c.period
	}
	return c.headGap * 7 / 8
}

// pollsPerHead is how many polls the budget has for one L1 head.
func (c clocked) pollsPerHead() float64 { return float64(c.headGap) / float64(c.period) }

// Next is the next poll that there is credit for.
func (c clocked) Next(now time.Time) time.Time {
	switch {
	case c.last.IsZero():
		return now
	case c.waiting:
		next := c.expect()
		if next.Before(c.last.Add(FreshPeriods * c.period)) {
			return next
		}
		// However late the source is expected, and however often L1 moves on before, no answer gets too old.
		return earliest(next, c.overdue())
	case c.settling:
		if next := c.settle(); next.Before(c.lastHead.Add(c.headGap)) {
			return next
		}
	}
	// What is saved up serves the next head better, unless there is too much of it, or the last answer gets old.
	return earliest(c.credit.reaches(maxCredit), c.overdue())
}

// overdue is when the last answer gets old.
func (c clocked) overdue() time.Time {
	return latest(c.last.Add(oldAge*c.period/4), c.credit.reaches(1))
}

// expect is the next poll while a change is expected.
func (c clocked) expect() time.Time {
	due := c.first()
	if c.polls > 0 {
		due = c.last.Add(c.widening(minGap, c.polls))
	}
	affordable := c.credit.reaches(1)
	if affordable.After(due) && c.pollsPerHead() <= tight {
		// A late poll would make all later ones late. Rather leave this head out.
		due = c.aimed(c.lastHead.Add(c.headGap))
	}
	return latest(due, affordable)
}

// first is when the first poll for the head is due.
func (c clocked) first() time.Time {
	due := c.aimed(c.lastHead)
	if c.alone(due) {
		due = due.Add(c.period / 12)
	}
	return due
}

// aimed is the aim for a head.
func (c clocked) aimed(head time.Time) time.Time {
	return head.Add(min(c.aim.delay, c.maxDelay()) + c.offset)
}

// alone tells that a first poll at a time will have to do, for want of credit for a second: the rest of a change that
// came in two would wait for the next head. Where the budget has but one poll for a head this is always so, and accepted.
func (c clocked) alone(at time.Time) bool {
	return !c.aim.early && c.pollsPerHead() > tight && c.credit.reaches(1+trustCredit-c.pollsPerHead()).After(at)
}

// settle is the next poll after a change, which looks for more of it. If the aim is trusted, little is expected of that
// poll, and it comes later, to bring what L1 finalized as well.
func (c clocked) settle() time.Time {
	switch {
	case c.changes > 1:
		return latest(c.last.Add(c.widening(c.period/8, c.changes)), c.credit.reaches(1))
	case c.aim.early:
		return latest(c.last.Add(c.period/8), c.credit.reaches(max(1, doubtCredit-c.pollsPerHead())))
	default:
		return latest(c.last.Add(c.period/4), c.credit.reaches(1))
	}
}

// widening is the time between one of several polls in a row and the next: half as long again as the one before.
func (c clocked) widening(gap time.Duration, polls int) time.Duration {
	for i := 1; i < polls && gap < c.period; i++ {
		gap += gap / 2
	}
	return min(gap, c.period)
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
