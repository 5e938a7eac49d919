package driver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-service/sources"
)

// archive runs a story with a follower of these sources and its history, two minutes in.
func archive(t *testing.T, prepare func(w *world) []*testutil.Source, story func(t *testing.T, w *world, h *History, list []*testutil.Source)) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.finality = 1000 // nothing of L1 is final until a story says so
		list := prepare(w)
		var asSources []Source
		var records []Record
		for _, f := range list {
			asSources, records = append(asSources, f), append(records, f)
		}
		w.follow(Config{}, asSources...)
		w.run(2 * time.Minute)
		story(t, w, w.driver.NewHistory(records), list)
	})
}

// honestRecord is what a deriving node has recorded: batches land two L1 blocks late.
func (w *world) honestRecord(l1 uint64) sources.SafeHead {
	return sources.SafeHead{L1: w.chain.L1().Block(l1).ID(), L2: w.truth(l1).Safe.ID()}
}

func two(w *world) []*testutil.Source { return []*testutil.Source{w.honest("mute"), w.honest("f")} }

func TestHistory(t *testing.T) {
	archive(t, two, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		f := list[1]
		true5 := w.honestRecord(5)
		for name, c := range map[string]struct {
			answer sources.SafeHead
			err    error
			want   error
		}{
			"confirmed":                   {answer: true5},
			"another L1 block":            {answer: sources.SafeHead{L1: eth.BlockID{Number: 5, Hash: [32]byte{1}}, L2: true5.L2}, want: safedb.ErrNotEnabled},
			"another L2 block":            {answer: sources.SafeHead{L1: true5.L1, L2: eth.BlockID{Number: 18, Hash: [32]byte{1}}}, want: safedb.ErrNotEnabled},
			"recorded later than asked":   {answer: sources.SafeHead{L1: w.chain.L1().Block(7).ID(), L2: true5.L2}, want: safedb.ErrNotEnabled},
			"the source has no entry":     {err: fmt.Errorf("%w: %w", sources.ErrFetch, sources.ErrNotFound), want: safedb.ErrNotFound},
			"the source keeps no records": {err: sources.ErrFetch, want: safedb.ErrNotEnabled},
		} {
			f.OnHistory = func(uint64, sources.Hops) (sources.SafeHead, error) { return c.answer, c.err }
			l1, l2, err := history.SafeHeadAtL1(t.Context(), 6)
			require.ErrorIs(t, err, c.want, name)
			if c.want == nil {
				require.NoError(t, err, name)
				require.Equal(t, true5, sources.SafeHead{L1: l1, L2: l2}, name)
			}
		}
		_, _, err := history.L1AtSafeHead(t.Context(), 18)
		require.ErrorIs(t, err, safedb.ErrNotEnabled)
		say := sources.RequiredL1{L2: common.Hash{1}, L1: true5.L1}
		f.OnRequired = func(uint64) (sources.RequiredL1, bool, error) { return say, true, nil }
		_, _, err = history.L1AtSafeHead(t.Context(), 18)
		require.ErrorIs(t, err, safedb.ErrNotEnabled, "the source speaks of a block of another branch")
		say.L2 = true5.L2.Hash
		l1, l2, err := history.L1AtSafeHead(t.Context(), 18)
		require.NoError(t, err)
		require.Equal(t, true5, sources.SafeHead{L1: l1, L2: l2})
	})
}

// Only accepted sources are asked, and a question costs two calls at most (spec X3).
func TestHistoryAsksAcceptedSources(t *testing.T) {
	calls := map[string]int{}
	archive(t, func(w *world) []*testutil.Source {
		liar := w.honest("liar").Does(func() (follow.Status, error) { return follow.Status{}, nil })
		return []*testutil.Source{liar, w.honest("a"), w.honest("b"), w.honest("c")}
	}, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		for _, f := range list {
			f.OnHistory = func(uint64, sources.Hops) (sources.SafeHead, error) {
				calls[f.Name()]++
				return sources.SafeHead{}, testutil.ErrNoRecord
			}
		}
		_, _, err := history.SafeHeadAtL1(t.Context(), 6)
		require.ErrorIs(t, err, safedb.ErrNotEnabled)
		require.Equal(t, map[string]int{"a": 1, "b": 1}, calls)
	})
}

// ring is a story of two followers that list each other: the histories of both, and how often one has asked the other.
func ring(t *testing.T, latency time.Duration, story func(t *testing.T, ofA, ofB *History, calls *atomic.Int64)) {
	archive(t, func(w *world) []*testutil.Source {
		b := w.honest("b")
		b.OnLineage = follows("b", "b")
		return []*testutil.Source{b}
	}, func(t *testing.T, w *world, ofA *History, list []*testutil.Source) {
		a := w.honest("a")
		ofB := w.driver.NewHistory([]Record{a}) // whose accepted source is of our kind too
		var calls atomic.Int64
		relay := func(h *History) func(uint64, sources.Hops) (sources.SafeHead, error) {
			return func(n uint64, left sources.Hops) (sources.SafeHead, error) {
				calls.Add(1)
				time.Sleep(latency)
				hops := hexutil.Uint64(left)
				l1, l2, err := h.SafeHeadAtL1(sources.WithHops(t.Context(), &hops), n)
				return sources.SafeHead{L1: l1, L2: l2}, err
			}
		}
		list[0].OnHistory, a.OnHistory = relay(ofB), relay(ofA)
		story(t, ofA, ofB, &calls)
	})
}

// Two followers that list each other answer at once, after as many calls as there are hops (spec X3).
func TestHistoryOfFollowersOfEachOther(t *testing.T) {
	ring(t, 0, func(t *testing.T, ofA, _ *History, calls *atomic.Int64) {
		start := time.Now()
		_, _, err := ofA.SafeHeadAtL1(t.Context(), 6)
		require.ErrorIs(t, err, safedb.ErrNotEnabled)
		require.EqualValues(t, sources.MaxHops, calls.Load())
		require.Zero(t, time.Since(start))
	})
}

// Many clients of both: no question waits for the turn of one that waits for it.
func TestHistoriesDoNotWaitForEachOther(t *testing.T) {
	const latency = 100 * time.Millisecond
	ring(t, latency, func(t *testing.T, ofA, ofB *History, calls *atomic.Int64) {
		start := time.Now()
		var clients sync.WaitGroup
		for n := range uint64(2 * lookupsAtOnce) {
			for i, h := range []*History{ofA, ofB} {
				clients.Go(func() {
					_, _, err := h.SafeHeadAtL1(t.Context(), 100+2*n+uint64(i))
					require.ErrorIs(t, err, safedb.ErrNotEnabled)
				})
			}
		}
		clients.Wait()
		require.Equal(t, 2*time.Duration(sources.MaxHops)*latency, time.Since(start), "half of the questions at a time")
		require.EqualValues(t, 4*lookupsAtOnce*int(sources.MaxHops), calls.Load())
	})
}

// A node of another kind is not told of hops, neither where a balancer puts one in the place of ours.
func TestHistoryTellsHopsToOurKind(t *testing.T) {
	var told []sources.Hops
	archive(t, func(w *world) []*testutil.Source {
		ours, other := w.honest("ours"), w.honest("other")
		ours.OnLineage = follows("o")
		return []*testutil.Source{ours, other}
	}, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		answer := func(err error) func(uint64, sources.Hops) (sources.SafeHead, error) {
			return func(_ uint64, left sources.Hops) (sources.SafeHead, error) {
				told = append(told, left)
				if left != sources.Untold && err != nil {
					return sources.SafeHead{}, err
				}
				return w.honestRecord(5), nil
			}
		}
		refused := fmt.Errorf("%w: too many arguments: %w", sources.ErrFetch, sources.ErrArguments)
		list[0].OnHistory, list[1].OnHistory = answer(testutil.ErrNoRecord), answer(nil)
		_, _, err := history.SafeHeadAtL1(t.Context(), 6)
		require.NoError(t, err)
		require.Equal(t, []sources.Hops{sources.MaxHops - 1, sources.Untold}, told)
		told, list[0].OnHistory = nil, answer(refused)
		_, _, err = history.SafeHeadAtL1(t.Context(), 7)
		require.NoError(t, err)
		require.Equal(t, []sources.Hops{sources.MaxHops - 1, sources.Untold}, told)
	})
}

// Clients that ask the same share one call, and a client that goes away takes it from nobody.
func TestHistorySharesAnswers(t *testing.T) {
	archive(t, two, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		calls := 0
		release := make(chan struct{})
		list[1].OnHistory = func(uint64, sources.Hops) (sources.SafeHead, error) {
			calls++
			<-release
			return w.honestRecord(5), nil
		}
		ctx, hangUp := context.WithCancel(t.Context())
		var gone error
		var clients sync.WaitGroup
		clients.Go(func() { _, _, gone = history.SafeHeadAtL1(ctx, 6) })
		synctest.Wait()
		for range 100 {
			clients.Go(func() {
				_, _, err := history.SafeHeadAtL1(t.Context(), 6)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		hangUp()
		synctest.Wait()
		require.ErrorIs(t, gone, context.Canceled)
		close(release)
		clients.Wait()
		require.Equal(t, 1, calls)
	})
}

// However many clients ask, few calls are under way, and few questions wait; clients that hang up change nothing.
func TestHistoryUnderAFlood(t *testing.T) {
	archive(t, two, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		var now, most, busy, done atomic.Int64
		list[1].OnHistory = func(uint64, sources.Hops) (sources.SafeHead, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return sources.SafeHead{}, testutil.ErrNoRecord
		}
		var clients sync.WaitGroup
		for n := range uint64(500) {
			ctx, hangUp := context.WithCancel(t.Context())
			clients.Go(func() {
				if n%2 == 0 {
					time.AfterFunc(time.Millisecond, hangUp)
				}
				defer hangUp()
				switch _, _, err := history.SafeHeadAtL1(ctx, 1000+n); err {
				case errLookupsBusy:
					busy.Add(1)
				default:
					done.Add(1)
				}
			})
		}
		clients.Wait()
		require.EqualValues(t, lookupsAtOnce, most.Load())
		require.EqualValues(t, 500-lookupsAtOnce-lookupsWaiting, busy.Load())
		require.EqualValues(t, 500, done.Load()+busy.Load())
		time.Sleep(lookupTimeout)
		require.Zero(t, now.Load())
		require.Empty(t, history.queues[sources.MaxHops-1].waiting)
	})
}

// Answers below L1 finality are remembered, others are asked for again.
func TestHistoryRemembersWhatIsFinal(t *testing.T) {
	archive(t, two, func(t *testing.T, w *world, history *History, list []*testutil.Source) {
		calls := 0
		list[1].OnHistory = func(n uint64, _ sources.Hops) (sources.SafeHead, error) { calls++; return w.honestRecord(n), nil }
		list[1].OnRequired = func(uint64) (sources.RequiredL1, bool, error) {
			calls++
			return sources.RequiredL1{L2: w.chain.Block(18).Ref.Hash, L1: w.chain.L1().Block(5).ID()}, true, nil
		}
		costs := func(want int, ask func() error) {
			t.Helper()
			calls = 0
			for range 3 {
				require.NoError(t, ask())
			}
			require.Equal(t, want, calls)
		}
		at := func(n uint64) func() error {
			return func() error { _, _, err := history.SafeHeadAtL1(t.Context(), n); return err }
		}
		required := func() error { _, _, err := history.L1AtSafeHead(t.Context(), 18); return err }
		costs(3, at(5))
		costs(3, required)
		w.view.OnFinalized(t.Context(), w.chain.L1().Block(5).Ref)
		costs(1, at(5))
		costs(1, required)
		costs(3, at(6))
		// What the source has not digested yet may change.
		w.view.OnFinalized(t.Context(), w.chain.L1().Block(w.l1Head()).Ref)
		costs(3, at(w.l1Head()))
	})
}
