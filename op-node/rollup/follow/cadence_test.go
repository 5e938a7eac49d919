package follow

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sourceDay simulates a source over virtual time: L1 blocks at an interval, slots missed now and then, a source that begins
// to digest a block a random delay after it, in steps, and the poller under test.
type sourceDay struct {
	length   time.Duration
	l1       time.Duration
	missed   float64                        // share of L1 slots without a block
	late     time.Duration                  // by how much an L1 block is late at most, at random
	headSeen func(*rand.Rand) time.Duration // how late the node hears of an L1 head
	delay    func(*rand.Rand) time.Duration // until the source has moved current_l1
	stall    func(at time.Duration) bool    // whether the source digests nothing at that time
	confs    uint64                         // how many blocks the source stays behind L1

	// The blocks of batches become safe one by one, each a step later. Not every L1 block has batches.
	blocks     int
	step       func(*rand.Rand) time.Duration
	batchEvery int
	// introduced is how often the source is asked for something else.
	introduced time.Duration
}

// happening is what happens at a time: an L1 head is seen, the source changes, or it is asked for something else.
type happening struct {
	at     time.Time
	what   what
	number uint64
}

type what int

const (
	headIsSeen     what = iota
	currentL1Moves      // to the number
	blockIsSafe
	batchIsSafe // with its last block
	sourceIsAsked
)

func (d sourceDay) happenings(rng *rand.Rand, start time.Time) []happening {
	var all []happening
	free, number := start, uint64(100)
	for i := 1; time.Duration(i)*d.l1 < d.length; i++ {
		if rng.Float64() < d.missed {
			continue
		}
		block := start.Add(time.Duration(i)*d.l1 + time.Duration(rng.Float64()*float64(d.late)))
		number++
		all = append(all, happening{block.Add(d.headSeen(rng)), headIsSeen, number})
		if d.stall != nil && d.stall(block.Sub(start)) {
			continue
		}
		free = latest(free, block.Add(d.delay(rng)))
		all = append(all, happening{free, currentL1Moves, number - d.confs})
		if i%d.batchEvery != 0 {
			continue
		}
		for n := 1; n <= d.blocks; n++ {
			free = free.Add(d.step(rng))
			what := blockIsSafe
			if n == d.blocks {
				what = batchIsSafe
			}
			all = append(all, happening{free, what, 0})
		}
	}
	for at := start; at.Before(start.Add(d.length)); at = at.Add(d.introduced) {
		all = append(all, happening{at, sourceIsAsked, 0})
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return all
}

// dayResult has the time from the moment the last block of a batch is safe to the poll that shows it.
type dayResult struct {
	lags      []time.Duration
	perMinute float64
	// longest is the longest time between two polls.
	longest time.Duration
}

func (r dayResult) quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(r.lags))
	return s[int(q*float64(len(s)-1))]
}

func (d sourceDay) run(c Cadence, seed int64) dayResult {
	start := time.Unix(1_700_000_000, 0)
	var result dayResult
	var waiting []time.Time
	requests, answer, now, last := 0, Answer{}, start, start
	for _, h := range d.happenings(rand.New(rand.NewSource(seed)), start) {
		for {
			next := latest(c.Next(now), now)
			if !next.Before(h.at) {
				break
			}
			requests++
			for _, since := range waiting {
				result.lags = append(result.lags, next.Sub(since))
			}
			result.longest, last = max(result.longest, next.Sub(last)), next
			c = c.OnPoll(next, answer)
			waiting, answer.Changed = nil, false
			now = next.Add(time.Millisecond) // the round trip
		}
		now = latest(now, h.at)
		switch h.what {
		case headIsSeen:
			c = c.OnL1Head(now, h.number)
		case sourceIsAsked:
			c = c.OnRequest(now)
			requests++
		case batchIsSafe:
			waiting = append(waiting, h.at)
			answer.Changed = true
		case blockIsSafe:
			answer.Changed = true
		case currentL1Moves:
			answer = Answer{Changed: true, CurrentL1: h.number}
		}
	}
	result.longest = max(result.longest, now.Sub(last))
	result.perMinute = float64(requests) / max(d.length, now.Sub(start)).Minutes()
	return result
}

func around(mean, spread time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return max(mean+time.Duration(r.NormFloat64()*float64(spread)), 0)
	}
}

// busy is a source on a busy machine: one answer in twenty takes up to a second and a half.
func busy(usual func(*rand.Rand) time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		if r.Intn(20) == 0 {
			return time.Duration(r.Float64() * 1.5 * float64(time.Second))
		}
		return usual(r)
	}
}

// drifting is a fixed interval that does not stay in step with L1: over a day its polls fall everywhere between two heads.
func drifting(period time.Duration) Cadence { return Every(period + period/997) }

// mainnet is a day of a rollup on mainnet whose batches are in every L1 block.
func mainnet(delay func(*rand.Rand) time.Duration) sourceDay {
	return sourceDay{
		length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, headSeen: around(200*time.Millisecond, 50*time.Millisecond), delay: delay,
		blocks: 6, step: around(15*time.Millisecond, 5*time.Millisecond), batchEvery: 1, introduced: 30 * time.Second,
	}
}

// devnet is a day of a devnet whose L1 blocks are late by up to a time.
func devnet(l1, late time.Duration, delay func(*rand.Rand) time.Duration) sourceDay {
	return sourceDay{
		length: 24 * time.Hour, l1: l1, late: late, headSeen: around(20*time.Millisecond, 10*time.Millisecond), delay: delay,
		blocks: int(l1 / time.Second), step: around(10*time.Millisecond, 5*time.Millisecond), batchEvery: 1, introduced: 30 * time.Second,
	}
}

func (d sourceDay) with(change func(*sourceDay)) sourceDay { change(&d); return d }

// TestCadenceOverADay compares the clocked cadence with a poller of a fixed two block times, which is the budget. The
// shares are those of DESIGN's budget, 1/4 of the median and 1/2 of the p99, but where the source varies by as much as the
// fixed poller waits, or digests for as long, or there is one poll for an L1 block.
func TestCadenceOverADay(t *testing.T) {
	usual := around(300*time.Millisecond, 80*time.Millisecond)
	quick := around(100*time.Millisecond, 30*time.Millisecond)
	for name, c := range map[string]struct {
		day         sourceDay
		blockTime   time.Duration
		median, p99 float64 // at most this share of the fixed poller's
	}{
		"mainnet":                  {mainnet(usual), 2 * time.Second, .25, .5},
		"mainnet, slow source":     {mainnet(around(3*time.Second, 300*time.Millisecond)), 2 * time.Second, .4, .6},
		"mainnet, jittery source":  {mainnet(around(time.Second, 500*time.Millisecond)), 2 * time.Second, .5, .6},
		"mainnet, busy":            {mainnet(busy(usual)), 2 * time.Second, .25, .5},
		"mainnet, blocks of 1 s":   {mainnet(usual), time.Second, .25, .5},
		"mainnet, blocks of 1/4 s": {mainnet(usual), time.Second / 4, .8, 1.1},
		"mainnet, source stalls an hour in six": {mainnet(usual).with(func(d *sourceDay) {
			d.stall = func(at time.Duration) bool { return at%(6*time.Hour) < time.Hour }
		}), 2 * time.Second, .25, .5},
		"mainnet, a large batch every five minutes": {mainnet(usual).with(func(d *sourceDay) {
			d.blocks, d.step, d.batchEvery = 150, around(25*time.Millisecond, 5*time.Millisecond), 25
		}), 2 * time.Second, .6, .6},
		"devnet, L1 4 s, L2 1 s":        {devnet(4*time.Second, 0, quick), time.Second, .25, .5},
		"devnet, L1 4 s and late, busy": {devnet(4*time.Second, 2*time.Second, busy(quick)), time.Second, .32, .6},
		"devnet, slow steps": {devnet(4*time.Second, 2*time.Second, quick).with(func(d *sourceDay) {
			d.step = around(40*time.Millisecond, 20*time.Millisecond)
		}), time.Second, .25, .5},
		"mainnet, source waits for confirmations": {mainnet(usual).with(func(d *sourceDay) { d.confs = 4 }), 2 * time.Second, .25, .5},
		"devnet, L1 2 s, L2 1 s, slow":            {devnet(2*time.Second, 0, around(700*time.Millisecond, 50*time.Millisecond)), time.Second, .25, 1.2},
		"devnet, L1 2 s, L2 1 s, as slow as L1":   {devnet(2*time.Second, 500*time.Millisecond, around(1700*time.Millisecond, 100*time.Millisecond)), time.Second, .25, 2.1},
		"mainnet, as slow as L1":                  {mainnet(around(9*time.Second, 300*time.Millisecond)), 2 * time.Second, .4, .6},
		"devnet, L1 2 s, L2 1 s":                  {devnet(2*time.Second, 0, quick), time.Second, .25, 1.1},
	} {
		t.Run(name, func(t *testing.T) {
			period := 2 * c.blockTime
			ours, fixed := c.day.run(Clocked(period, period/64), 1), c.day.run(drifting(period), 1)
			fixed.perMinute -= 60 / c.day.introduced.Seconds() // it does not ask who the source is
			t.Logf("clocked: median %s p99 %s, %.1f requests/min; fixed: median %s p99 %s, %.1f requests/min",
				ours.quantile(.5), ours.quantile(.99), ours.perMinute, fixed.quantile(.5), fixed.quantile(.99), fixed.perMinute)
			require.LessOrEqual(t, ours.perMinute, 60/period.Seconds()*1.001)
			require.Less(t, ours.longest, FreshPeriods*period)
			require.LessOrEqual(t, float64(ours.quantile(.5)), c.median*float64(fixed.quantile(.5)))
			require.LessOrEqual(t, float64(ours.quantile(.99)), c.p99*float64(fixed.quantile(.99)))
		})
	}
}

// TestCadenceNeverRests has sources of all kinds, many of them as slow as L1 itself: the next L1 head comes about when the
// source has digested the last. None is left alone for so long that its answer does not count any more.
func TestCadenceNeverRests(t *testing.T) {
	const period = 2 * time.Second
	for seed := range int64(2000) {
		rng := rand.New(rand.NewSource(seed))
		l1 := []time.Duration{time.Second, 2 * time.Second, 6 * time.Second, 12 * time.Second}[rng.Intn(4)]
		share := func(of time.Duration) time.Duration { return time.Duration(rng.Float64() * float64(of)) }
		day := sourceDay{
			length: 10 * time.Minute, l1: l1, missed: .2 * rng.Float64(), late: share(2 * l1),
			headSeen: around(share(l1/4), share(l1/4)), delay: around(share(5*l1/4), share(l1/4)),
			blocks: 1 + rng.Intn(4), step: around(share(100*time.Millisecond), 0), batchEvery: 1 + rng.Intn(3), introduced: 30 * time.Second,
			confs: uint64(rng.Intn(3)),
		}
		got := day.run(Clocked(period, share(period/32)), seed)
		require.Less(t, got.longest, FreshPeriods*period, "seed %d: L1 every %s", seed, l1)
		require.Less(t, got.perMinute, 60/period.Seconds()*1.03, "seed %d: L1 every %s", seed, l1)
	}
}

func TestCadenceWithoutL1(t *testing.T) {
	const period = 4 * time.Second
	start := time.Unix(1_700_000_000, 0)
	c := Clocked(period, 0)
	now, polls := start, 0
	require.Equal(t, start, c.Next(start), "the first poll goes out at once")
	for now.Before(start.Add(time.Hour)) {
		c = c.OnPoll(now, Answer{})
		now = c.Next(now)
		polls++
	}
	require.InDelta(t, 900*accrual, polls, 10, "the keep-alive uses the whole budget, but for what is saved up")
}

func TestCadenceFixed(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	c := Every(5 * time.Second)
	require.Equal(t, start, c.Next(start))
	c = c.OnPoll(start, Answer{Changed: true}).OnL1Head(start.Add(time.Second), 1)
	require.Equal(t, start.Add(5*time.Second), c.Next(start.Add(time.Second)), "L1 does not matter")
}
