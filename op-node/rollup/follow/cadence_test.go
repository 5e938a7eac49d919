package follow

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sourceDay simulates a source over virtual time: L1 blocks at an interval, slots missed now and then, a source that
// shows the change a random delay after the L1 head, and the poller under test.
type sourceDay struct {
	length   time.Duration
	l1       time.Duration
	missed   float64 // share of L1 slots without a block
	delay    func(*rand.Rand) time.Duration
	headSeen func(*rand.Rand) time.Duration // how late the node hears of an L1 head
	stall    func(at time.Duration) bool    // whether the source shows nothing new at that time
	late     time.Duration                  // by how much an L1 block is late at most, at random
}

type dayResult struct {
	lags      []time.Duration
	perMinute float64
}

func (r dayResult) quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(r.lags))
	return s[int(q*float64(len(s)-1))]
}

func (d sourceDay) run(c Cadence, seed int64) dayResult {
	rng := rand.New(rand.NewSource(seed))
	start := time.Unix(1_700_000_000, 0)
	end := start.Add(d.length)
	var heads, changes []time.Time
	for at := start.Add(d.l1); at.Before(end); at = at.Add(d.l1) {
		if rng.Float64() < d.missed {
			continue
		}
		block := at.Add(time.Duration(rng.Float64() * float64(d.late)))
		heads = append(heads, block.Add(d.headSeen(rng)))
		if change := block.Add(d.delay(rng)); d.stall == nil || !d.stall(at.Sub(start)) {
			if n := len(changes); n > 0 && change.Before(changes[n-1]) {
				change = changes[n-1]
			}
			changes = append(changes, change)
		}
	}
	slices.SortFunc(heads, time.Time.Compare)
	var result dayResult
	polls, seen := 0, 0
	for now := start; now.Before(end); {
		next := c.Next(now)
		if next.Before(now) {
			next = now
		}
		if len(heads) > 0 && !heads[0].After(next) {
			if heads[0].After(now) {
				now = heads[0]
			}
			c = c.OnL1Head(now)
			heads = heads[1:]
			continue
		}
		now = next
		polls++
		before := seen
		for seen < len(changes) && !changes[seen].After(now) {
			result.lags = append(result.lags, now.Sub(changes[seen]))
			seen++
		}
		c = c.OnPoll(now, seen > before)
		now = now.Add(time.Millisecond) // the round trip
	}
	result.perMinute = float64(polls) / d.length.Minutes()
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

func at(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

// drifting is a fixed interval that does not stay in step with L1: over a day its polls fall everywhere between two heads.
func drifting(period time.Duration) Cadence { return Every(period + period/997) }

// TestCadenceOverADay compares the clocked cadence with a poller of a fixed two block times, which is the budget.
func TestCadenceOverADay(t *testing.T) {
	for name, c := range map[string]struct {
		day         sourceDay
		blockTime   time.Duration
		median, p99 float64 // at most this share of the fixed poller's
	}{
		"mainnet":                               {sourceDay{length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, delay: around(300*time.Millisecond, 80*time.Millisecond), headSeen: around(200*time.Millisecond, 50*time.Millisecond)}, 2 * time.Second, .25, .5},
		"mainnet, slow source":                  {sourceDay{length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, delay: around(3*time.Second, 300*time.Millisecond), headSeen: around(200*time.Millisecond, 50*time.Millisecond)}, 2 * time.Second, .25, .5},
		"mainnet, jittery source":               {sourceDay{length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, delay: around(time.Second, 500*time.Millisecond), headSeen: around(200*time.Millisecond, 100*time.Millisecond)}, 2 * time.Second, .35, .6},
		"mainnet, source stalls an hour in six": {sourceDay{length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, delay: around(300*time.Millisecond, 80*time.Millisecond), headSeen: around(200*time.Millisecond, 50*time.Millisecond), stall: func(at time.Duration) bool { return at%(6*time.Hour) < time.Hour }}, 2 * time.Second, .25, .5},
		"devnet, L1 4 s, L2 1 s":                {sourceDay{length: 24 * time.Hour, l1: 4 * time.Second, delay: around(100*time.Millisecond, 30*time.Millisecond), headSeen: around(20*time.Millisecond, 10*time.Millisecond)}, time.Second, .25, .5},
		"devnet, L1 4 s and late, busy":         {sourceDay{length: 24 * time.Hour, l1: 4 * time.Second, late: 2 * time.Second, delay: busy(around(100*time.Millisecond, 30*time.Millisecond)), headSeen: around(20*time.Millisecond, 10*time.Millisecond)}, time.Second, .25, .5},
		"mainnet, busy":                         {sourceDay{length: 24 * time.Hour, l1: 12 * time.Second, missed: .01, delay: busy(around(300*time.Millisecond, 80*time.Millisecond)), headSeen: around(200*time.Millisecond, 50*time.Millisecond)}, 2 * time.Second, .25, .5},
		"devnet, L1 2 s, L2 1 s":                {sourceDay{length: 24 * time.Hour, l1: 2 * time.Second, delay: around(100*time.Millisecond, 20*time.Millisecond), headSeen: at(10 * time.Millisecond)}, time.Second, .25, .8},
	} {
		t.Run(name, func(t *testing.T) {
			period := 2 * c.blockTime
			ours, fixed := c.day.run(Clocked(period), 1), c.day.run(drifting(period), 1)
			t.Logf("clocked: median %s p99 %s, %.1f requests/min; fixed: median %s p99 %s, %.1f requests/min",
				ours.quantile(.5), ours.quantile(.99), ours.perMinute, fixed.quantile(.5), fixed.quantile(.99), fixed.perMinute)
			require.LessOrEqual(t, ours.perMinute, 60/period.Seconds()*1.001)
			require.LessOrEqual(t, float64(ours.quantile(.5)), c.median*float64(fixed.quantile(.5)))
			require.LessOrEqual(t, float64(ours.quantile(.99)), c.p99*float64(fixed.quantile(.99)))
		})
	}
}

func TestCadenceWithoutL1(t *testing.T) {
	const period = 4 * time.Second
	start := time.Unix(1_700_000_000, 0)
	c := Clocked(period)
	now, polls := start, 0
	require.Equal(t, start, c.Next(start), "the first poll goes out at once")
	for now.Before(start.Add(time.Hour)) {
		c = c.OnPoll(now, false)
		now = c.Next(now)
		polls++
	}
	require.InDelta(t, 900, polls, 10, "the keep-alive uses the whole budget, but for what is saved up")
}

func TestCadenceFixed(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	c := Every(5 * time.Second)
	require.Equal(t, start, c.Next(start))
	c = c.OnPoll(start, true).OnL1Head(start.Add(time.Second))
	require.Equal(t, start.Add(5*time.Second), c.Next(start.Add(time.Second)), "L1 does not matter")
}
