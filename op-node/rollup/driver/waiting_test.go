package driver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-service/sources"
)

// update is what a source says whose word is a status.
func update(s follow.Status) sources.Update {
	version := fmt.Sprint(s.LocalSafe.Number, s.Safe.Number, s.Finalized.Number, s.CurrentL1.Number, s.CurrentL1.Hash)
	return sources.Update{Version: version, Status: s, Lineage: sources.Lineage{ID: "it", Path: []string{"it"}}}
}

// waits is what a source does that has clients wait, as our nodes do.
func waits(say func() follow.Status) testutil.After {
	return func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
		for end := time.Now().Add(wait); ; {
			if u := update(say()); u.Version != version || !time.Now().Before(end) {
				return u, nil
			}
			select {
			case <-ctx.Done():
				return sources.Update{}, fmt.Errorf("%w: %w", sources.ErrFetch, ctx.Err())
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// refused is a source that does not let a client wait.
func refused(context.Context, string, time.Duration) (sources.Update, error) {
	return sources.Update{}, fmt.Errorf("%w: error -32005: too many clients wait", sources.ErrFetch)
}

// never is a source that does not answer.
func never(ctx context.Context, _ string, _ time.Duration) (sources.Update, error) {
	<-ctx.Done()
	return sources.Update{}, fmt.Errorf("%w: %w", sources.ErrFetch, ctx.Err())
}

// digestion is how long after an L1 block a deriving source has digested it.
const digestion = 700 * time.Millisecond

// deriving is what a source says that needs that long.
func (w *world) deriving() follow.Status {
	return w.truth(uint64(max(time.Since(w.start)-digestion, 0) / (12 * time.Second)))
}

// waited is a source that has clients wait, and polls in the same way.
func (w *world) waited(after testutil.After) *testutil.Source {
	return w.source("source", func() (follow.Status, error) { return w.deriving(), nil }).Awaits(after)
}

// lag is how long after the source's safe head had moved ours did, at the most, over some L1 blocks. It begins and ends in the middle
// between two.
func (w *world) lag(blocks int) (longest time.Duration) {
	w.t.Helper()
	for range blocks {
		for before := w.deriving(); w.deriving() == before; {
			time.Sleep(time.Millisecond)
		}
		moved := time.Now()
		for w.labels().Safe.Number < w.deriving().Safe.Number {
			require.Less(w.t, time.Since(moved), 20*time.Second)
			time.Sleep(time.Millisecond)
		}
		longest = max(longest, time.Since(moved))
		w.run(6 * time.Second)
	}
	return longest
}

// requests is how often a source was asked for its status.
func requests(source *testutil.Source) int { return source.Count() + source.Waits() }

// A source that has us wait tells of each change at once, for a request for each change and one in each two block times of silence
// (spec W1, W2).
func TestWaitsForChanges(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.waited(nil)
		source.Awaits(waits(w.deriving))
		w.follow(Config{}, source)
		w.run(65 * time.Second)
		before := requests(source)
		require.LessOrEqual(t, w.lag(20), 5*time.Millisecond)
		require.LessOrEqual(t, requests(source)-before, 20*(1+3)+1)
		require.LessOrEqual(t, source.Count(), 2)
		require.Equal(t, 1, source.Most())
		w.requireFollowing()
		require.Contains(t, w.driver.State().Path, "it")
	})
}

// An upstream node behind the same URL does not know the method; then the source is polled for a while (spec W2).
func TestPollsWhatDoesNotWait(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.waited(func(context.Context, string, time.Duration) (sources.Update, error) {
			return sources.Update{}, fmt.Errorf("%w: %w", sources.ErrFetch, sources.ErrMethodMissing)
		})
		w.follow(Config{}, source)
		w.run(65 * time.Second)
		require.LessOrEqual(t, w.lag(20), time.Second)
		require.LessOrEqual(t, source.Waits(), 5, "it is tried again, less and less often")
		source.Awaits(waits(w.deriving))
		w.run(10 * time.Minute)
		require.LessOrEqual(t, w.lag(5), 5*time.Millisecond, "and found out in the end")
	})
}

// A fixed interval is what the operator asked for: nothing waits (spec Q3).
func TestFixedIntervalDoesNotWait(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.waited(nil)
		source.Awaits(waits(w.deriving))
		w.follow(Config{PollInterval: 3 * time.Second, FixedInterval: true}, source)
		w.run(time.Minute)
		require.Zero(t, source.Waits())
		require.InDelta(t, 20, source.Count(), 1)
	})
}

// Sources that do not do what a wait is. Whatever they do, no label moves that polling would not have moved (run looks after that),
// the labels go on, nothing spins and nothing is left behind (spec W2, W3).
func TestSourcesThatWaitBadly(t *testing.T) {
	counter := 0
	for name, test := range map[string]struct {
		after func(w *world) testutil.After
		// lag is how late labels may be.
		lag time.Duration
	}{
		"at once, for ever": {after: func(w *world) testutil.After {
			return func(context.Context, string, time.Duration) (sources.Update, error) { return update(w.deriving()), nil }
		}, lag: 1100 * time.Millisecond},
		"at once, each time with another version": {after: func(w *world) testutil.After {
			return func(context.Context, string, time.Duration) (sources.Update, error) {
				u := update(w.deriving())
				counter++
				u.Version = fmt.Sprint(counter)
				return u, nil
			}
		}, lag: 1100 * time.Millisecond},
		"never": {after: func(*world) testutil.After { return never }, lag: 1100 * time.Millisecond},
		"only once": {after: func(w *world) testutil.After {
			return func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
				if version == "" {
					return update(w.deriving()), nil
				}
				return never(ctx, version, wait)
			}
		}, lag: 5100 * time.Millisecond},
		"refused": {after: func(*world) testutil.After { return refused }, lag: time.Second},
		"cut by a proxy after three seconds": {after: func(w *world) testutil.After {
			honest := waits(w.deriving)
			return func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
				start := time.Now()
				u, err := honest(ctx, version, min(wait, 3*time.Second))
				if wait > 3*time.Second && time.Since(start) >= 3*time.Second {
					return sources.Update{}, fmt.Errorf("%w: HTTP status 504", sources.ErrFetch)
				}
				return u, err
			}
		}, lag: 5 * time.Millisecond},
		"a status of the past": {after: func(w *world) testutil.After {
			return waits(func() follow.Status { return w.truth(max(w.l1Head(), 2) - 2) })
		}, lag: 5 * time.Second},
		"the first status, for ever": {after: func(w *world) testutil.After {
			return waits(func() follow.Status { return w.truth(0) })
		}, lag: 5 * time.Second},
		"another chain, while polls are honest": {after: func(w *world) testutil.After {
			fork := w.chain.L2().Fork("other", 1)
			return func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
				if w.labels().Safe.Number < 24 {
					return refused(ctx, version, wait)
				}
				return waits(func() follow.Status { return w.version(fork, w.l1Head()-1) })(ctx, version, wait)
			}
		}, lag: 5 * time.Second},
		"bogus, another one each time": {after: func(w *world) testutil.After {
			return func(context.Context, string, time.Duration) (sources.Update, error) {
				s := w.deriving()
				counter++
				s.CurrentL1.Hash[0], s.CurrentL1.Hash[1], s.CurrentL1.Hash[2] = byte(counter), byte(counter>>8), 1
				return update(s), nil
			}
		}, lag: 1100 * time.Millisecond},
		// A wait at the one that lags may last its whole length, after the tokens have been used up.
		"backends that are not level take turns": {after: func(w *world) testutil.After {
			a, b := waits(w.deriving), waits(func() follow.Status { return w.truth(max(w.l1Head(), 1) - 1) })
			turn := 0
			return func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
				if turn++; turn%2 == 0 {
					return b(ctx, version, wait)
				}
				return a(ctx, version, wait)
			}
		}, lag: 7100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				source := w.waited(nil)
				source.Awaits(test.after(w))
				w.follow(Config{}, source)
				w.run(113 * time.Second)
				before, start := requests(source), time.Now()
				lag := w.lag(30)
				rate := float64(requests(source)-before) / time.Since(start).Minutes()
				t.Logf("lag %s, %.0f requests a minute", lag, rate)
				require.LessOrEqual(t, lag, test.lag)
				require.LessOrEqual(t, rate, 66., "spec W3")
				require.Equal(t, 1, source.Most(), "one request in flight")
				require.Zero(t, w.metrics.of("source", "fetch_failed"), "no fault of the source")
				w.requireFollowing()
			})
		})
	}
}

// The source dies in the middle of a wait, or stalls. Its labels are level a wait and a second after its return, at most.
func TestSourceDiesInTheMiddleOfAWait(t *testing.T) {
	down := func() (follow.Status, error) {
		return follow.Status{}, fmt.Errorf("%w: connection refused", sources.ErrFetch)
	}
	for name, test := range map[string]struct {
		after testutil.After
		say   testutil.Say
	}{
		"dies": {func(context.Context, string, time.Duration) (sources.Update, error) {
			return sources.Update{}, fmt.Errorf("%w: connection refused", sources.ErrFetch)
		}, down},
		"stalls": {never, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t)
				source := w.waited(nil)
				honest, broken := waits(w.deriving), make(chan struct{})
				say := source.Saying()
				alive := func(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
					// What is in flight breaks too.
					ctx, cancel := context.WithCancelCause(ctx)
					defer cancel(nil)
					go func() {
						select {
						case <-broken:
							cancel(errors.New("broken"))
						case <-ctx.Done():
						}
					}()
					return honest(ctx, version, wait)
				}
				source.Awaits(alive)
				w.follow(Config{}, source)
				w.run(65 * time.Second)
				for range 10 {
					source.Awaits(test.after).Does(test.say)
					if test.say != nil {
						close(broken)
					}
					polls := requests(source)
					time.Sleep(25*time.Second + 130*time.Millisecond)
					require.LessOrEqual(t, requests(source)-polls, 30)
					broken = make(chan struct{})
					source.Awaits(alive).Does(say)
					back := time.Now()
					for w.labels().Safe.Number < w.deriving().Safe.Number {
						require.Less(t, time.Since(back), 5*time.Second)
						time.Sleep(time.Millisecond)
					}
					require.LessOrEqual(t, time.Since(back), 1500*time.Millisecond)
					w.run(40 * time.Second)
					require.LessOrEqual(t, w.lag(1), 5*time.Millisecond, "and it waits again")
				}
			})
		})
	}
}

// What makes it necessary to ask does not wait for a change.
func TestDemandEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.waited(nil)
		source.Awaits(waits(w.deriving))
		w.follow(Config{}, source)
		w.run(66 * time.Second)
		polls := source.Count()
		w.driver.pollers[0].hint()
		time.Sleep(400 * time.Millisecond)
		require.Equal(t, polls, source.Count(), "the source tells of changes by itself")
		w.driver.pollers[0].demand()
		time.Sleep(400 * time.Millisecond)
		require.Equal(t, polls+1, source.Count())
		require.LessOrEqual(t, w.lag(3), 5*time.Millisecond, "then it waits again")
	})
}

// hop is a source that is another node of ours, in this process.
type hop struct {
	*testutil.Source
	node *Driver
}

func (h hop) StatusAfter(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
	const way = time.Millisecond
	time.Sleep(way)
	a, err := h.node.Feed().Wait(ctx, version, wait)
	time.Sleep(way)
	if err != nil {
		return sources.Update{}, fmt.Errorf("%w: %w", sources.ErrFetch, err)
	}
	return sources.Update{
		Version: a.Version, Lineage: sources.Lineage{ID: a.ID, Path: a.Path},
		Status: follow.Status{Safe: a.Status.SafeL2, LocalSafe: a.Status.LocalSafeL2, Finalized: a.Status.FinalizedL2, CurrentL1: a.Status.CurrentL1},
	}, nil
}

// A follower wakes its own followers (spec W5): at the end of a chain of four the labels are as much later as the ways take.
func TestChainOfFollowers(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.waited(nil)
		source.Awaits(waits(w.deriving))
		w.follow(Config{MaxWaiters: 1}, source)
		chain := []*world{w}
		for range 3 {
			next := newWorld(t)
			next.follow(Config{MaxWaiters: 1}, hop{next.honest("hop"), chain[len(chain)-1].driver})
			chain = append(chain, next)
		}
		last := chain[3]
		w.run(66 * time.Second)
		longest := time.Duration(0)
		for range 10 {
			for before := w.deriving(); w.deriving() == before; {
				time.Sleep(time.Millisecond)
			}
			moved := time.Now()
			for last.labels() != w.labels() || last.labels().Safe.Number < w.deriving().Safe.Number {
				require.Less(t, time.Since(moved), 5*time.Second)
				time.Sleep(time.Millisecond)
			}
			longest = max(longest, time.Since(moved))
			w.run(6 * time.Second)
		}
		t.Logf("four hops: %s", longest)
		require.LessOrEqual(t, longest, 60*time.Millisecond)
		state := last.driver.State()
		require.True(t, state.Ready, state.Why)
		require.Len(t, state.Path, 5, "its own id, those of three hops, and the source's")
	})
}
