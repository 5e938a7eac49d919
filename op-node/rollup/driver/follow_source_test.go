package driver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/rollup/poll"
	"github.com/lightcl/op-node/op-service/sources"
)

// spy is a schedule that notes what it is told.
type spy struct{ changed *[]bool }

func (s spy) OnL1Head(time.Time, uint64) poll.Schedule { return s }
func (s spy) OnHint(time.Time) poll.Schedule           { return s }
func (s spy) OnRequest(time.Time) poll.Schedule        { return s }
func (s spy) Next() time.Time                          { return time.Time{} }
func (s spy) Token() time.Time                         { return time.Time{} }

func (s spy) OnAnswer(_ time.Time, answer poll.Answer) poll.Schedule {
	*s.changed = append(*s.changed, answer.Changed)
	return s
}

// Finality moves between an L1 head and the moment the source has digested that head. A poll in between must not be taken
// for the one that found what the head brings, or the safe head would wait for the next keep-alive.
func TestOnlyDigestedL1CountsAsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var changed []bool
		source := w.honest("source")
		p := &poller{source: source, clock: clock.SystemClock, patience: poll.NewPatience(time.Minute), schedule: spy{&changed}, known: introduction{source: source, identified: true}}
		say := func(status follow.Status) {
			source.Does(func() (follow.Status, error) { return status, nil })
			require.NoError(t, p.poll(t.Context()).err)
		}
		before, after := w.truth(8), w.truth(9)
		final := before
		final.Finalized = after.Finalized
		onlyL1 := after
		onlyL1.CurrentL1 = w.truth(10).CurrentL1
		for _, status := range []follow.Status{before, before, final, after, after, onlyL1} {
			say(status)
		}
		require.Equal(t, []bool{true, false, false, true, false, true}, changed)
	})
}

// A source is gone for a while, in one of several ways. When it is back, the labels are level within a second and a half, and until
// then it is asked once a second (spec Q5).
func TestLevelSoonAfterASourceIsBack(t *testing.T) {
	const outage = 20 * time.Second
	for name, fault := range map[string]func() (follow.Status, error){
		"stalled": nil,
		"refused": func() (follow.Status, error) {
			return follow.Status{}, fmt.Errorf("%w: connection refused", sources.ErrFetch)
		},
		"503": func() (follow.Status, error) {
			time.Sleep(50 * time.Millisecond)
			return follow.Status{}, fmt.Errorf("%w: HTTP status 503", sources.ErrFetch)
		},
		"not what was asked for": func() (follow.Status, error) {
			return follow.Status{}, fmt.Errorf("%w: null", sources.ErrMalformed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				source := w.honest("source")
				honest := source.Saying()
				w.follow(Config{}, source)
				w.run(65 * time.Second)
				var longest time.Duration
				// The L1 block time is no multiple of a second, so that the return meets requests at all kinds of moments.
				for range 40 {
					polls := source.Count()
					source.Does(fault)
					time.Sleep(outage)
					require.LessOrEqual(t, source.Count()-polls, int(outage/time.Second)+2)
					source.Does(honest)
					back := time.Now()
					want := w.truth(w.l1Head())
					require.Less(t, w.labels().Safe.Number, want.Safe.Number)
					for w.labels().Safe.Number < want.Safe.Number {
						require.Less(t, time.Since(back), 10*time.Second)
						time.Sleep(10 * time.Millisecond)
					}
					longest = max(longest, time.Since(back))
					time.Sleep(12*time.Second + 70*time.Millisecond - time.Since(back))
				}
				require.LessOrEqual(t, longest, 1500*time.Millisecond)
				t.Logf("level %s after the return, at most", longest)
			})
		})
	}
}

// An answer is as old as it has been here: neither the time it took nor finding out who the source is makes a vote old (spec A8).
func TestAnswersAgeFromTheirArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took, introduction = 800 * time.Millisecond, 300 * time.Millisecond
		w := newWorld(t)
		source := w.source("source", func() (follow.Status, error) {
			time.Sleep(took)
			return w.truth(0), nil
		})
		source.OnIdentity = func() (sources.Identity, error) {
			time.Sleep(introduction)
			return sources.IdentityOf(w.chain.RollupConfig()), nil
		}
		w.follow(Config{}, source)
		time.Sleep(took + introduction + 100*time.Millisecond)
		require.Equal(t, (introduction + 100*time.Millisecond).Milliseconds(), w.driver.State().Sources[0].Age)
	})
}

// The source finalizes when L1 does, and so does this node's view (spec C3).
func TestSourcesAreAskedWhenL1Finalizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.finality = 1000 // nothing of L1 is final until the story says so
		source := w.honest("source")
		w.follow(Config{}, source)
		w.run(62 * time.Second) // in the middle between two requests
		polls := source.Count()
		finalize := func(number uint64) int {
			w.driver.OnL1Finalized(t.Context(), w.chain.L1().Block(number).Ref)
			time.Sleep(400 * time.Millisecond)
			return source.Count() - polls
		}
		require.Equal(t, 1, finalize(3))
		require.Equal(t, 1, finalize(3), "it did not move")
	})
}
