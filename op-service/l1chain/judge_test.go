package l1chain

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

const (
	notAsked  = follow.L1Unavailable
	canonical = follow.L1Canonical
	mismatch  = follow.L1Mismatch
	behind    = follow.L1Behind
)

func TestJudge(t *testing.T) {
	a := newChain('a', 200)
	b := a.fork(90, 'b', 200)
	tests := []struct {
		name      string
		cfg       Config
		finalized uint64
		ids       []eth.BlockID
		want      []follow.L1Answer
		calls     [][]uint64
		tail      uint64
	}{
		{"in the window", Config{}, 80, []eth.BlockID{a.id(100), a.id(120), b.id(110)},
			[]follow.L1Answer{canonical, canonical, mismatch}, nil, 100},
		{"the parent of the window", Config{}, 80, []eth.BlockID{a.id(99), b.id(99)},
			[]follow.L1Answer{canonical, mismatch}, nil, 100},
		{"above the head", Config{}, 80, []eth.BlockID{a.id(121), b.id(150)},
			[]follow.L1Answer{behind, behind}, nil, 100},
		{"without a hash", Config{}, 80, []eth.BlockID{{Number: 90}}, []follow.L1Answer{notAsked}, nil, 100},
		{"the finalized block", Config{}, 80, []eth.BlockID{a.id(80)}, []follow.L1Answer{canonical}, nil, 100},
		{"above finality: the window grows down", Config{}, 80, []eth.BlockID{a.id(97), b.id(96)},
			[]follow.L1Answer{canonical, mismatch}, [][]uint64{{96, 97, 98, 99}}, 96},
		{"below finality: one by one", Config{}, 80, []eth.BlockID{a.id(70), a.id(30)},
			[]follow.L1Answer{canonical, canonical}, [][]uint64{{70, 30, 99}}, 100},
		{"one batch for all", Config{}, 80, []eth.BlockID{a.id(70), b.id(97), a.id(110), a.id(150)},
			[]follow.L1Answer{canonical, mismatch, canonical, behind}, [][]uint64{{70, 97, 98, 99}}, 97},
		{"a number is asked for once", Config{}, 80, []eth.BlockID{a.id(70), {Hash: hashOf('z', 70), Number: 70}},
			[]follow.L1Answer{canonical, mismatch}, [][]uint64{{70, 99}}, 100},
		{"more than a batch holds", Config{MaxBatch: 3}, 80, []eth.BlockID{a.id(70), a.id(60), a.id(96)},
			[]follow.L1Answer{canonical, canonical, canonical}, [][]uint64{{70, 60, 99}, {96, 97, 98}}, 96},
		{"a batch of one", Config{MaxBatch: 1}, 80, []eth.BlockID{a.id(70), a.id(60), a.id(98)},
			[]follow.L1Answer{canonical, canonical, canonical}, [][]uint64{{70}, {99}, {60}, {99}, {99}}, 99},
		{"above finality, out of reach", Config{Window: 30}, 80, []eth.BlockID{a.id(90)},
			[]follow.L1Answer{canonical}, [][]uint64{{90, 99}}, 100},
		{"the last in reach", Config{Window: 30}, 80, []eth.BlockID{a.id(91)},
			[]follow.L1Answer{canonical}, [][]uint64{{91, 92, 93, 94, 95, 96, 97, 98, 99}}, 91},
		{"genesis", Config{}, 0, []eth.BlockID{a.id(0)}, []follow.L1Answer{canonical}, [][]uint64{{0, 99}}, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := context.Background()
			r := newRig(t, test.cfg, a)
			r.follow(a, 100, 120)
			r.OnFinalized(ctx, a[test.finalized])
			r.l1.taken()
			want := make(follow.L1Facts)
			for i, id := range test.ids {
				want[id] = test.want[i]
			}
			require.Equal(t, want, r.Judge(ctx, test.ids...))
			require.Equal(t, test.calls, r.l1.taken())
			require.Equal(t, test.tail, r.Window().Tail().Number)
			requireLinked(t, r.Window())

			require.Equal(t, want, r.Judge(ctx, test.ids...))
			require.Empty(t, r.l1.taken(), "what was asked once is known")
		})
	}
}

func TestJudgeBeforeTheFirstHead(t *testing.T) {
	a := newChain('a', 10)
	r := newRig(t, Config{}, a)
	require.Equal(t, follow.L1Facts{a.id(5): notAsked}, r.Judge(context.Background(), a.id(5)))
	require.Empty(t, r.l1.taken())
	require.Empty(t, r.Judge(context.Background()))
}

func TestJudgeCountsHitsAndMisses(t *testing.T) {
	a := newChain('a', 200)
	r := newRig(t, Config{}, a)
	r.follow(a, 100, 120)
	r.Judge(context.Background(), a.id(97), a.id(110), a.id(130))
	require.Equal(t, [2]int{2, 1}, [2]int{r.metrics.hits, r.metrics.misses})
	r.Judge(context.Background(), a.id(97), a.id(110), a.id(130), eth.BlockID{})
	require.Equal(t, [2]int{6, 1}, [2]int{r.metrics.hits, r.metrics.misses})
}

// When L1 fails, what is known goes on being answered; L1 is left alone for a while, and the change is logged once.
func TestJudgeWhileL1IsDown(t *testing.T) {
	const silent, again = "L1 does not answer for blocks to be judged, going on with those that are known",
		"L1 answers for blocks to be judged again"
	a := newChain('a', 200)
	ctx := context.Background()
	r := newRig(t, Config{RetryDelay: 3 * time.Second}, a)
	r.follow(a, 100, 120)
	r.l1.down()
	partly := follow.L1Facts{a.id(97): notAsked, a.id(110): canonical, a.id(130): behind}
	require.Equal(t, partly, r.Judge(ctx, a.id(97), a.id(110), a.id(130)))
	require.Len(t, r.l1.taken(), 1)

	r.clock.advance(2 * time.Second)
	require.Equal(t, partly, r.Judge(ctx, a.id(97), a.id(110), a.id(130)))
	require.Empty(t, r.l1.taken(), "too early")

	r.clock.advance(time.Second)
	require.Equal(t, partly, r.Judge(ctx, a.id(97), a.id(110), a.id(130)))
	require.Len(t, r.l1.taken(), 1)
	require.Equal(t, [2]int{1, 0}, [2]int{r.logged(silent), r.logged(again)})

	r.l1.serve(a)
	r.clock.advance(3 * time.Second)
	require.Equal(t, canonical, r.Judge(ctx, a.id(97))[a.id(97)])
	require.Equal(t, [2]int{1, 1}, [2]int{r.logged(silent), r.logged(again)})
}

func TestJudgeDoesNotBelieveAnotherFork(t *testing.T) {
	a := newChain('a', 200)
	b := a.fork(90, 'b', 200)
	ctx := context.Background()
	tests := []struct {
		name     string
		backends []chain
		want     follow.L1Answer
		calls    int
	}{
		{"all backends on another fork", []chain{b}, notAsked, maxAttempts},
		{"all backends lag", []chain{a[:98]}, notAsked, maxAttempts},
		{"the next one is right", []chain{b, a}, canonical, 2},
		{"the last attempt is right", []chain{b, a[:98], a}, canonical, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, Config{}, a)
			r.follow(a, 100, 120)
			r.l1.rotate(test.backends...)
			require.Equal(t, follow.L1Facts{a.id(96): test.want}, r.Judge(ctx, a.id(96)))
			require.Len(t, r.l1.taken(), test.calls)
			requireLinked(t, r.Window())
		})
	}
	t.Run("a final block is not there yet", func(t *testing.T) {
		r := newRig(t, Config{}, a)
		r.follow(a, 100, 120)
		r.OnFinalized(ctx, a[80])
		r.l1.taken()
		r.l1.rotate(a[:60], a)
		require.Equal(t, follow.L1Facts{a.id(50): canonical, a.id(70): canonical}, r.Judge(ctx, a.id(50), a.id(70)))
		require.Equal(t, [][]uint64{{50, 70, 99}, {50, 70, 99}}, r.l1.taken(), "the first backend has not got the window's chain either")
	})
}

// A long way down is made in steps that are kept, so that a slow L1 delays the answer and cannot prevent it.
func TestJudgeKeepsPartOfTheWay(t *testing.T) {
	a := newChain('a', 200)
	ctx := context.Background()
	r := newRig(t, Config{MaxBatch: 5}, a)
	r.follow(a, 100, 120)
	left := 2
	r.l1.choose = func(context.Context, []uint64) (chain, error) {
		if left--; left < 0 {
			return nil, errDown
		}
		return a, nil
	}
	require.Equal(t, notAsked, r.Judge(ctx, a.id(80))[a.id(80)])
	require.Equal(t, uint64(90), r.Window().Tail().Number)
	r.l1.serve(a)
	r.clock.advance(time.Hour)
	r.l1.taken()
	require.Equal(t, canonical, r.Judge(ctx, a.id(80))[a.id(80)])
	require.Equal(t, [][]uint64{{85, 86, 87, 88, 89}, {80, 81, 82, 83, 84}}, r.l1.taken())
}

// A reorg while L1 is being asked makes the answers of before void: all are given again, on the new fork.
func TestReorgWhileJudging(t *testing.T) {
	a := newChain('a', 200)
	b := a.fork(95, 'b', 200)
	ctx := context.Background()
	ids := []eth.BlockID{a.id(93), a.id(97), b.id(97), a.id(110), b.id(110)}
	onB := follow.L1Facts{a.id(93): canonical, a.id(97): mismatch, b.id(97): canonical, a.id(110): mismatch, b.id(110): canonical}

	t.Run("once", func(t *testing.T) {
		r := newRig(t, Config{}, a)
		r.follow(a, 100, 120)
		r.l1.choose = func(context.Context, []uint64) (chain, error) {
			r.l1.serve(b)
			require.True(t, r.OnHead(ctx, b[121]).Reorged)
			return a, nil
		}
		require.Equal(t, onB, r.Judge(ctx, ids...))
	})
	t.Run("to below the window: what was taken in before is dropped", func(t *testing.T) {
		r := newRig(t, Config{Window: 25}, a)
		r.follow(a, 100, 120)
		require.Equal(t, canonical, r.Judge(ctx, a.id(92))[a.id(92)], "out of reach")
		c := a.fork(90, 'c', 200)
		r.l1.serve(c)
		require.True(t, r.OnHead(ctx, c[121]).Reorged)
		r.l1.taken()
		require.Equal(t, mismatch, r.Judge(ctx, a.id(92))[a.id(92)])
		require.Len(t, r.l1.taken(), 1)
	})
	t.Run("again and again: bounded, and of one fork", func(t *testing.T) {
		r := newRig(t, Config{}, a)
		r.follow(a, 100, 120)
		current := a
		r.l1.choose = func(_ context.Context, numbers []uint64) (chain, error) {
			if numbers[0] > 95 { // asked by OnHead, to connect the new head
				return current, nil
			}
			old := current
			current = a.fork(95, byte('c'+len(r.l1.calls)), 200)
			require.True(t, r.OnHead(ctx, current[121]).Reorged)
			return old, nil
		}
		facts := r.Judge(ctx, a.id(93), a.id(110), a.id(150))
		require.Equal(t, follow.L1Facts{a.id(93): notAsked, a.id(110): mismatch, a.id(150): behind}, facts)
	})
}

// While one Judge waits for L1, another one that L1 would have to be asked for waits with it, and then knows; one that
// is answered from memory, heads and readers do not wait.
func TestOneQuestionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newChain('a', 200)
		ctx := context.Background()
		r := newRig(t, Config{FetchTimeout: time.Minute}, a)
		r.follow(a, 100, 120)
		release := make(chan struct{})
		r.l1.choose = func(ctx context.Context, _ []uint64) (chain, error) {
			select {
			case <-release:
				return a, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if answer := r.Judge(ctx, a.id(97))[a.id(97)]; answer != canonical {
					t.Errorf("answer %d", answer)
				}
			})
		}
		synctest.Wait()
		require.Equal(t, canonical, r.Judge(ctx, a.id(110))[a.id(110)])
		require.True(t, r.OnHead(ctx, a[121]).Moved)
		require.Equal(t, a[121], r.Refs().Head)
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.Equal(t, follow.L1Facts{a.id(97): notAsked, a.id(121): canonical}, r.Judge(impatient, a.id(97), a.id(121)))
		close(release)
		wg.Wait()
		require.Len(t, r.l1.taken(), 1)
	})
}

// Look-ups (spec X3) that L1 stalls for do not hold up the judge, and what L1 does not answer them it is still asked by
// the judge.
func TestLookUpsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newChain('a', 200)
		ctx := context.Background()
		r := newRig(t, Config{FetchTimeout: time.Minute}, a)
		r.follow(a, 100, 120)
		r.OnFinalized(ctx, a[80])
		r.l1.taken()
		r.l1.choose = func(ctx context.Context, numbers []uint64) (chain, error) {
			if numbers[0] == 30 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return a, nil
		}
		ended := make(chan follow.L1Facts)
		go func() { ended <- r.LookUp(ctx, a.id(30)) }()
		synctest.Wait()
		require.Equal(t, canonical, r.Judge(ctx, a.id(70))[a.id(70)])
		require.Equal(t, follow.L1Facts{a.id(30): notAsked}, <-ended)
		require.Equal(t, notAsked, r.LookUp(ctx, a.id(40))[a.id(40)], "too early")
		require.Equal(t, canonical, r.Judge(ctx, a.id(40))[a.id(40)])
		require.Equal(t, canonical, r.LookUp(ctx, a.id(40))[a.id(40)], "what one knows the other knows")
	})
}

func TestStalledL1IsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newChain('a', 200)
		r := newRig(t, Config{FetchTimeout: 4 * time.Second}, a)
		r.follow(a, 100, 120)
		r.l1.choose = func(ctx context.Context, _ []uint64) (chain, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		require.Equal(t, notAsked, r.Judge(context.Background(), a.id(97))[a.id(97)])
		require.Equal(t, 4*time.Second, time.Since(start))
		start = time.Now()
		require.False(t, r.OnHead(context.Background(), a[125]).Moved)
		require.Equal(t, 4*time.Second, time.Since(start))
	})
}

// Following costs no L1 call in steady state: heads come in, and with them statuses with refs in the window, a finalized
// origin below finality that does not change, and a current L1 at the head.
func TestSteadyStateAsksNothing(t *testing.T) {
	a := newChain('a', 3000)
	ctx := context.Background()
	r := newRig(t, Config{Window: 200}, a)
	r.OnHead(ctx, a[1000])
	r.OnFinalized(ctx, a[900])
	r.Judge(ctx, a.id(500), a.id(920))
	r.l1.taken()
	for number := uint64(1001); number < 3000; number++ {
		r.OnHead(ctx, a[number])
		r.OnFinalized(ctx, a[max(900, (number-64)/32*32)])
		facts := r.Judge(ctx, a.id(500), a.id(number-30), a.id(number-20), a.id(number-1))
		for id, answer := range facts {
			require.Equal(t, canonical, answer, "%s at head %d", id, number)
		}
	}
	require.Empty(t, r.l1.taken())
	require.Equal(t, 200, r.Window().Len())
	require.LessOrEqual(t, cap(r.Window().refs), 500, "memory is bounded")
}

func TestKeptAnswersAreBounded(t *testing.T) {
	a := newChain('a', 200)
	ctx := context.Background()
	r := newRig(t, Config{Keep: 8}, a)
	r.follow(a, 100, 120)
	r.OnFinalized(ctx, a[99])
	r.l1.taken()
	for number := uint64(10); number < 90; number++ {
		require.Equal(t, canonical, r.Judge(ctx, a.id(number))[a.id(number)])
	}
	require.Equal(t, 8, r.final.Len())
	require.Len(t, r.l1.taken(), 80)
	r.Judge(ctx, a.id(89), a.id(82))
	require.Empty(t, r.l1.taken())
}

// An answer from above finality that nothing linked is not taken over when finality reaches it.
func TestTentativeAnswerEndsWithFinality(t *testing.T) {
	a := newChain('a', 200)
	b := a.fork(80, 'b', 200)
	ctx := context.Background()
	r := newRig(t, Config{Window: 25}, append(append(chain{}, b[:98]...), a[98:]...))
	r.follow(a, 100, 120)
	require.Equal(t, mismatch, r.Judge(ctx, a.id(90))[a.id(90)], "an answer pieced together from two backends, which nobody can tell")
	r.l1.serve(a)
	require.True(t, r.OnFinalized(ctx, a[95]))
	require.Equal(t, canonical, r.Judge(ctx, a.id(90))[a.id(90)])
}

// What was asked for before L1's finality passed it is no final answer (spec C6).
func TestNothingIsFinalBeforeFinality(t *testing.T) {
	a := newChain('a', 200)
	ctx := context.Background()
	r := newRig(t, Config{Window: 25}, a)
	r.follow(a, 100, 120)
	r.l1.choose = func(context.Context, []uint64) (chain, error) {
		r.l1.serve(a)
		require.True(t, r.OnFinalized(ctx, a[95]))
		return a, nil
	}
	require.Equal(t, canonical, r.Judge(ctx, a.id(90))[a.id(90)])
	require.Equal(t, [][]uint64{{90, 99}, {95, 99}, {90, 99}}, r.l1.taken(), "asked for again")
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{Window: -1}, "Window is -1"},
		{Config{Keep: -5}, "Keep is -5"},
		{Config{MaxBatch: -1}, "MaxBatch is -1"},
		{Config{FetchTimeout: -time.Second}, "FetchTimeout is -1s"},
		{Config{RetryDelay: -time.Second}, "RetryDelay is -1s"},
	} {
		_, err := New(test.cfg, &fakeL1{}, nil, NullMetrics{}, &fakeClock{})
		if test.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, test.want)
		}
	}
}
