package poll

import (
	"fmt"
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
	// finality is how often the finalized head moves, at moments that have nothing to do with L1 heads.
	finality time.Duration
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
	finalityMoves
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
	for at := start; at.Before(start.Add(d.length)); at = at.Add(d.finality) {
		all = append(all, happening{at.Add(time.Duration(rng.Float64() * float64(d.finality))), finalityMoves, 0})
	}
	for at := start; at.Before(start.Add(d.length)); at = at.Add(d.introduced) {
		all = append(all, happening{at, sourceIsAsked, 0})
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return all
}

// dayResult has the time from the moment the last block of a batch is safe, or another block final, to the request that shows it.
type dayResult struct {
	safe, final lags
	perMinute   float64
	// longest is the longest time between two polls.
	longest time.Duration
}

type lags []time.Duration

func (l lags) quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(l))
	return s[int(q*float64(len(s)-1))]
}

func (d sourceDay) run(s Schedule, seed int64) dayResult {
	start := time.Unix(1_700_000_000, 0)
	var result dayResult
	var waiting, unfinal []time.Time
	requests, answer, now, last := 0, Answer{}, start, start
	for _, h := range d.happenings(rand.New(rand.NewSource(seed)), start) {
		for {
			next := latest(s.Next(), now)
			if !next.Before(h.at) {
				break
			}
			requests++
			for _, since := range waiting {
				result.safe = append(result.safe, next.Sub(since))
			}
			for _, since := range unfinal {
				result.final = append(result.final, next.Sub(since))
			}
			result.longest, last = max(result.longest, next.Sub(last)), next
			s = s.OnAnswer(next, answer)
			waiting, unfinal, answer.Changed = nil, nil, false
			now = next.Add(time.Millisecond) // the round trip
		}
		now = latest(now, h.at)
		switch h.what {
		case headIsSeen:
			s = s.OnL1Head(now, h.number)
		case sourceIsAsked:
			s = s.OnRequest(now)
			requests++
		case finalityMoves:
			unfinal = append(unfinal, h.at)
		case batchIsSafe:
			waiting = append(waiting, h.at)
			answer.Changed = true
		case blockIsSafe:
			answer.Changed = true
		case currentL1Moves:
			answer = Answer{Changed: true, CurrentL1: max(answer.CurrentL1, h.number)}
		}
	}
	result.longest = max(result.longest, now.Sub(last))
	result.perMinute = float64(requests) / max(d.length, now.Sub(start)).Minutes()
	return result
}

func (r dayResult) String() string {
	ms := func(l lags, q float64) int64 { return l.quantile(q).Milliseconds() }
	return fmt.Sprintf("safe %d / %d ms, finalized %d / %d ms, %.1f requests/min", ms(r.safe, .5), ms(r.safe, .99),
		ms(r.final, .5), ms(r.final, .99), r.perMinute)
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
func drifting(period time.Duration) Schedule { return Every(period + period/997) }

// mainnet is a day of a rollup on mainnet whose batches are in every L1 block.
func mainnet(delay func(*rand.Rand) time.Duration) sourceDay {
	return sourceDay{
		length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, headSeen: around(200*time.Millisecond, 50*time.Millisecond), delay: delay,
		blocks: 6, step: around(15*time.Millisecond, 5*time.Millisecond), batchEvery: 1, finality: 24 * time.Second, introduced: 30 * time.Second,
	}
}

// devnet is a day of a devnet whose L1 blocks are late by up to a time.
func devnet(l1, late time.Duration, delay func(*rand.Rand) time.Duration) sourceDay {
	return sourceDay{
		length: 24 * time.Hour, l1: l1, late: late, headSeen: around(20*time.Millisecond, 10*time.Millisecond), delay: delay,
		blocks: int(l1 / time.Second), step: around(10*time.Millisecond, 5*time.Millisecond), batchEvery: 1, finality: 4 * time.Second, introduced: 30 * time.Second,
	}
}

// overHTTP has the node and the source poll L1 each for itself, once in an interval.
func overHTTP(interval time.Duration) func(*sourceDay) {
	return func(d *sourceDay) {
		delay := d.delay
		up := func(r *rand.Rand) time.Duration { return time.Duration(r.Float64() * float64(interval)) }
		d.headSeen = up
		d.delay = func(r *rand.Rand) time.Duration { return up(r) + delay(r) }
	}
}

func (d sourceDay) with(change func(*sourceDay)) sourceDay { change(&d); return d }

var (
	usual = around(300*time.Millisecond, 80*time.Millisecond)
	quick = around(100*time.Millisecond, 30*time.Millisecond)
)

// days are the worlds in which schedules are measured.
var days = []struct {
	name      string
	day       sourceDay
	blockTime time.Duration
	// At most these shares of the lags of a poller of a fixed two block times, as upstream's: the median and the p99.
	median, p99 float64
}{
	{"mainnet", mainnet(usual), 2 * time.Second, .1, .1},
	{"mainnet, busy source", mainnet(busy(usual)), 2 * time.Second, .1, .1},
	{"mainnet, jittery source", mainnet(around(time.Second, 500*time.Millisecond)), 2 * time.Second, .1, .25},
	{"mainnet, slow source", mainnet(around(3*time.Second, 300*time.Millisecond)), 2 * time.Second, .25, .5},
	{"mainnet, as slow as L1", mainnet(around(9*time.Second, 300*time.Millisecond)), 2 * time.Second, .8, .6},
	{"mainnet, blocks of 1 s", mainnet(usual), time.Second, .25, .25},
	{"mainnet, source waits for confirmations", mainnet(usual).with(func(d *sourceDay) { d.confs = 4 }), 2 * time.Second, .1, .1},
	{"mainnet, source stalls an hour in six", mainnet(usual).with(func(d *sourceDay) {
		d.stall = func(at time.Duration) bool { return at%(6*time.Hour) < time.Hour }
	}), 2 * time.Second, .1, .1},
	{"mainnet, a large batch every five minutes", mainnet(usual).with(func(d *sourceDay) {
		d.blocks, d.step, d.batchEvery = 150, around(25*time.Millisecond, 5*time.Millisecond), 25
	}), 2 * time.Second, .4, .5},
	// What is late here is the own view of L1.
	{"mainnet, L1 over HTTP each 6 s", mainnet(usual).with(overHTTP(6 * time.Second)), 2 * time.Second, .35, .9},
	{"L1 4 s, L2 1 s", devnet(4*time.Second, 0, quick), time.Second, .25, .25},
	{"L1 4 s and late, L2 1 s, busy source", devnet(4*time.Second, 2*time.Second, busy(quick)), time.Second, .25, .5},
	{"L1 4 s over HTTP, L2 1 s", devnet(4*time.Second, 0, quick).with(overHTTP(time.Second)), time.Second, .25, .5},
	{"L1 4 s and late over HTTP, L2 1 s", devnet(4*time.Second, 2*time.Second, quick).with(overHTTP(time.Second)), time.Second, .25, .5},
	{"L1 4 s and late, L2 1 s, slow steps", devnet(4*time.Second, 2*time.Second, quick).with(func(d *sourceDay) {
		d.step = around(40*time.Millisecond, 20*time.Millisecond)
	}), time.Second, .25, .5},
	// A request a second is not enough for a burst at each of these heads.
	{"L1 2 s, L2 1 s", devnet(2*time.Second, 0, quick), time.Second, 1, 1},
	{"L1 2 s, L2 1 s, slow source", devnet(2*time.Second, 0, around(700*time.Millisecond, 50*time.Millisecond)), time.Second, .5, 1},
	{"L1 2 s, L2 1 s, as slow as L1", devnet(2*time.Second, 500*time.Millisecond, around(1700*time.Millisecond, 100*time.Millisecond)), time.Second, .5, 1},
}

// TestPacedOverADay measures the paced schedule beside a poller of a fixed two block times, which is what upstream's node is by
// default, in simulated days (spec Q1–Q4). Run it with -v for the figures.
func TestPacedOverADay(t *testing.T) {
	for _, c := range days {
		t.Run(c.name, func(t *testing.T) {
			period := 2 * c.blockTime
			ours, fixed := c.day.run(Paced(period, Spread/2), 1), c.day.run(drifting(period), 1)
			fixed.perMinute -= 60 / c.day.introduced.Seconds() // it does not ask who the source is
			t.Logf("%-45s paced: %s; fixed: %s", c.name, ours, fixed)
			require.LessOrEqual(t, ours.perMinute, 60*1.001)
			require.LessOrEqual(t, ours.longest, period+tokenTime)
			within := func(what string, ours, fixed time.Duration, share float64) {
				require.LessOrEqual(t, ours, time.Duration(share*float64(fixed)), what)
			}
			within("median", ours.safe.quantile(.5), fixed.safe.quantile(.5), c.median)
			within("p99", ours.safe.quantile(.99), fixed.safe.quantile(.99), c.p99)
			within("median of finalized", ours.final.quantile(.5), fixed.final.quantile(.5), 1.02)
			within("p99 of finalized", ours.final.quantile(.99), fixed.final.quantile(.99), 1.02)
		})
	}
}

// TestPacedNeverRests has sources of all kinds, many of them as slow as L1 itself. None is left alone for so long that its answer
// does not count any more, and none is asked more than once a second, but for what was saved up.
func TestPacedNeverRests(t *testing.T) {
	const period = 2 * time.Second
	for seed := range int64(300) {
		rng := rand.New(rand.NewSource(seed))
		l1 := []time.Duration{time.Second, 2 * time.Second, 6 * time.Second, 12 * time.Second}[rng.Intn(4)]
		share := func(of time.Duration) time.Duration { return time.Duration(rng.Float64() * float64(of)) }
		day := sourceDay{
			length: 10 * time.Minute, l1: l1, missed: .2 * rng.Float64(), late: share(2 * l1),
			headSeen: around(share(l1/4), share(l1/4)), delay: around(share(5*l1/4), share(l1/4)),
			blocks: 1 + rng.Intn(4), step: around(share(100*time.Millisecond), 0), batchEvery: 1 + rng.Intn(3),
			finality: 10 * time.Second, introduced: 30 * time.Second, confs: uint64(rng.Intn(3)),
		}
		got := day.run(Paced(period, share(Spread)), seed)
		require.LessOrEqual(t, got.longest, period+tokenTime, "seed %d: L1 every %s", seed, l1)
		require.LessOrEqual(t, got.perMinute, 60.+maxTokens/day.length.Minutes(), "seed %d: L1 every %s", seed, l1)
	}
}

func TestPacedWithoutL1(t *testing.T) {
	const period = 4 * time.Second
	s := Paced(period, 0)
	require.True(t, s.Next().IsZero(), "the first request goes out at once")
	now := time.Unix(1_700_000_000, 0)
	for range 100 {
		s = s.OnAnswer(now, Answer{})
		require.Equal(t, now.Add(period), s.Next(), "spec Q2")
		now = s.Next()
	}
}

// TestPacedBurst plays single requests of a burst (spec Q1).
func TestPacedBurst(t *testing.T) {
	const period = 4 * time.Second
	start := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	quiet := Paced(period, 0).OnAnswer(start, Answer{CurrentL1: 9})

	s := quiet.OnL1Head(at(1000), 10)
	for _, next := range []int{1200, 1400, 1600, 1900, 2350} {
		require.Equal(t, at(next), s.Next(), "it gets rarer, by a half of its age")
		s = s.OnAnswer(s.Next(), Answer{CurrentL1: 9})
	}
	s = s.OnAnswer(at(3025), Answer{CurrentL1: 10, Changed: true})
	require.Less(t, s.Next(), at(3025).Add(period), "there may be more of the change")
	s = s.OnAnswer(at(4037), Answer{CurrentL1: 10})
	require.Equal(t, at(4037).Add(period), s.Next(), "two equal answers")

	require.Equal(t, at(4000), quiet.OnL1Head(at(1000), 9).Next(), "the source saw L1 first, and that was all")
	require.Equal(t, at(2200), quiet.OnHint(at(2000)).Next())
	require.Equal(t, at(1250), Paced(period, 50*time.Millisecond).OnAnswer(start, Answer{}).OnL1Head(at(1000), 1).Next(), "spec Q4")

	s = quiet.OnAnswer(at(4000), Answer{CurrentL1: 10, Changed: true})
	require.Equal(t, at(4200), s.Next(), "the keep-alive found a change")

	s = quiet.OnL1Head(at(1000), 10)
	for range 20 {
		s = s.OnRequest(at(1100))
	}
	require.Greater(t, s.Next(), at(10_000), "spec Q3: no token left")
}

func TestEvery(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	s := Every(5 * time.Second)
	require.True(t, s.Next().IsZero())
	s = s.OnAnswer(start, Answer{Changed: true}).OnL1Head(start.Add(time.Second), 1).OnHint(start.Add(time.Second))
	require.Equal(t, start.Add(5*time.Second), s.Next(), "L1 does not matter (spec Q3)")
}
