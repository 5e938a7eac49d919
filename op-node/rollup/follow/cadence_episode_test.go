package follow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// episode plays single polls of a clocked cadence with a period of 4 s and an L1 block every 12 s.
type episode struct {
	t    *testing.T
	c    Cadence
	now  time.Time
	head time.Time
	// number is that of the L1 head, current what the source has digested.
	number, current uint64
}

const episodePeriod, episodeL1 = 4 * time.Second, 12 * time.Second

// newEpisode is one after some L1 blocks that the source digested before the first poll for them, with full credit.
func newEpisode(t *testing.T) *episode {
	e := &episode{t: t, c: Clocked(episodePeriod, 0), now: time.Unix(1_700_000_000, 0)}
	for range 20 {
		e.l1Head()
		e.poll(true)
		e.poll(false)
	}
	e.l1Head()
	return e
}

// l1Head waits for the next L1 head; polls that are due before find nothing new.
func (e *episode) l1Head() {
	if !e.head.IsZero() {
		next := e.head.Add(episodeL1)
		for e.c.Next(e.now).Before(next) {
			e.poll(false)
		}
		e.now = latest(e.now, next)
	}
	e.arrive()
}

// arrive has the next L1 head come now.
func (e *episode) arrive() {
	e.head = e.now
	e.number++
	e.c = e.c.OnL1Head(e.now, e.number)
}

// poll waits for the next poll and answers it; a change means that the source has digested the head.
func (e *episode) poll(changed bool) {
	if changed {
		e.current = e.number
	}
	e.answer(Answer{Changed: changed, CurrentL1: e.current})
}

func (e *episode) answer(answer Answer) {
	e.now = latest(e.now, e.c.Next(e.now))
	e.c = e.c.OnPoll(e.now, answer)
}

// next is how long the next poll is away.
func (e *episode) next() time.Duration { return e.c.Next(e.now).Sub(e.now) }

// spend has no more than a credit left.
func (e *episode) spend(left float64) {
	e.c = e.c.OnRequest(e.now)
	for e.c.(clocked).credit.amount > left {
		e.c = e.c.OnRequest(e.now)
	}
}

// save has as much credit as can be saved up.
func (e *episode) save() {
	c := e.c.(clocked)
	c.credit.amount = maxCredit
	e.c = c
}

func TestCadenceSettles(t *testing.T) {
	t.Run("in trust, once, not at once", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(true)
		require.Equal(t, episodePeriod/4, e.next())
		e.poll(false)
		require.Greater(t, e.next(), episodePeriod, "that was all")
	})
	t.Run("in trust, left out without credit", func(t *testing.T) {
		e := newEpisode(t)
		e.spend(2)
		e.poll(true)
		require.Greater(t, e.next(), 8*time.Second)
	})
	t.Run("in trust, left out, but then looked for a little later", func(t *testing.T) {
		e := newEpisode(t)
		usual := e.next()
		e.spend(2)
		require.Equal(t, usual+episodePeriod/12, e.next())
	})
	t.Run("in doubt, soon", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(false)
		require.Equal(t, minGap, e.next())
		e.poll(true)
		require.Equal(t, episodePeriod/8, e.next())
		e.poll(true)
		require.Equal(t, episodePeriod/8*3/2, e.next(), "wider apart")
		e.poll(true)
		require.Equal(t, episodePeriod/8*9/4, e.next())
		e.poll(false)
		require.Greater(t, e.next(), 4*time.Second)
	})
	t.Run("in doubt, put off without credit", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(false)
		e.spend(1)
		e.poll(true)
		require.Greater(t, e.next(), episodePeriod/8)
		require.LessOrEqual(t, e.next(), 9*episodePeriod/4)
	})
	t.Run("in the middle of it, with the last credit", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(true)
		e.poll(true)
		e.spend(0)
		require.Greater(t, e.next(), episodePeriod/8*3/2)
		require.LessOrEqual(t, e.next(), 2*episodePeriod, "as soon as there is some")
	})
	t.Run("until the next L1 head", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(true)
		e.l1Head()
		require.LessOrEqual(t, e.next(), firstAim.delay)
	})
}

func TestCadenceKnowsWhatIsWaitedFor(t *testing.T) {
	t.Run("the source saw L1 first", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(true)
		e.poll(false)
		e.current = e.number + 1
		e.answer(Answer{Changed: true, CurrentL1: e.current})
		settling := e.next()
		require.LessOrEqual(t, settling, episodePeriod/4)
		last := e.now
		e.arrive()
		require.Equal(t, last.Add(settling), e.c.Next(e.now), "it has that head already, but for the rest of it")
		e.poll(false)
		require.GreaterOrEqual(t, e.next(), episodePeriod)
	})
	t.Run("another block of that number", func(t *testing.T) {
		e := newEpisode(t)
		e.poll(true)
		e.poll(false)
		e.now = e.now.Add(time.Second)
		e.c = e.c.OnL1Head(e.now, e.number)
		require.Less(t, e.next(), time.Second)
		e.poll(false)
		require.Equal(t, minGap, e.next(), "the number alone is not it")
	})
	t.Run("an older block", func(t *testing.T) {
		e := newEpisode(t)
		e.answer(Answer{Changed: true, CurrentL1: e.number - 1})
		require.Equal(t, minGap, e.next())
		e.poll(true)
		require.Equal(t, episodePeriod/8, e.next())
	})
	t.Run("a source that stays behind", func(t *testing.T) {
		e := newEpisode(t)
		// follow answers all polls for a head, and tells when the first was.
		follow := func(behind uint64) time.Duration {
			e.l1Head()
			first := e.next()
			for e.now.Before(e.head.Add(episodeL1 * 2 / 3)) {
				before := e.current
				e.current = e.number - behind
				e.answer(Answer{Changed: e.current != before, CurrentL1: e.current})
			}
			return first
		}
		e.save()
		usual := follow(0)
		for range maxMissed + 1 {
			follow(4)
		}
		e.save()
		require.InDelta(t, usual, follow(4), float64(50*time.Millisecond), "it is not taken for slow")
		e.l1Head()
		e.answer(Answer{Changed: true, CurrentL1: e.number - 4})
		require.Greater(t, e.next(), minGap, "this is all that it will have")
		for range 3 {
			follow(0)
		}
		e.l1Head()
		e.answer(Answer{Changed: true, CurrentL1: e.number - 4})
		require.Equal(t, minGap, e.next(), "now it would have more")
		e.poll(true)
		for range maxMissed {
			follow(0)
			follow(1)
		}
		e.save()
		e.l1Head()
		e.answer(Answer{Changed: true, CurrentL1: e.number - 1})
		require.Equal(t, minGap, e.next(), "a miss now and then is none")
	})
}

// A source that stalls does not teach that it is slow.
func TestCadenceForgetsAStall(t *testing.T) {
	e := newEpisode(t)
	e.poll(false)
	e.poll(true)
	e.l1Head()
	before := e.next()
	require.Greater(t, before, minStep/2)
	for range 10 {
		e.l1Head()
		for range 3 {
			e.poll(false)
		}
	}
	e.save()
	e.l1Head()
	require.InDelta(t, before, e.next(), float64(10*time.Millisecond))
}

// The first L1 head, of which nothing is known to compare it with, teaches as well.
func TestCadenceLearnsFromTheFirstHead(t *testing.T) {
	e := &episode{t: t, c: Clocked(episodePeriod, 0), now: time.Unix(1_700_000_000, 0)}
	e.poll(true)
	e.l1Head()
	e.poll(false)
	e.poll(true)
	e.l1Head()
	require.Greater(t, e.next(), firstAim.delay)
}

// A source is asked before the next L1 head comes, even if it is known to be slower than L1 by now.
func TestCadenceAsksBeforeTheNextHead(t *testing.T) {
	e := newEpisode(t)
	c := e.c.(clocked)
	c.aim.delay = 2 * episodeL1
	e.c = c
	require.Less(t, e.next(), episodeL1)
	require.Equal(t, episodePeriod*oldAge/4, e.next()+e.now.Sub(c.last), "when the last answer gets old")
	e.poll(false)
	require.Less(t, e.now.Add(e.next()), e.head.Add(episodeL1), "when the head is due at the latest")
	require.Greater(t, e.next(), minGap, "the poll before did not come too early for the head")
}

// A source that becomes slower, or faster, is known to be after some L1 heads.
func TestCadenceLearnsAnotherDelay(t *testing.T) {
	for name, c := range map[string]struct {
		from, to time.Duration
		heads    int
	}{
		"slower": {200 * time.Millisecond, 6 * time.Second, 25},
		"faster": {6 * time.Second, 200 * time.Millisecond, 400},
	} {
		t.Run(name, func(t *testing.T) {
			e := &episode{t: t, c: Clocked(episodePeriod, 0), now: time.Unix(1_700_000_000, 0)}
			// digest tells whether the first poll for an L1 head found that it was digested, less than a second ago.
			digest := func(delay time.Duration) bool {
				e.l1Head()
				shown := e.head.Add(delay)
				for polls := 1; ; polls++ {
					e.poll(!latest(e.now, e.c.Next(e.now)).Before(shown))
					if lag := e.now.Sub(shown); lag >= 0 {
						e.poll(false)
						return polls == 1 && lag < time.Second
					}
				}
			}
			for range 500 {
				digest(c.from)
			}
			heads := 0
			for !digest(c.to) {
				heads++
			}
			require.LessOrEqual(t, heads, c.heads)
		})
	}
}
