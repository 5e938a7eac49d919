package node

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/event"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-service/l1chain"
)

// scriptedL1 answers and pushes what a test says, and counts.
type scriptedL1 struct {
	answer func(call int) (eth.L1BlockRef, error)
	start  time.Time
	push   eth.HeadSignalFn

	mu    sync.Mutex
	calls []time.Duration
	told  []uint64
}

func (l *scriptedL1) ask(context.Context) (eth.L1BlockRef, error) {
	l.mu.Lock()
	l.calls = append(l.calls, time.Since(l.start))
	call := len(l.calls)
	l.mu.Unlock()
	return l.answer(call)
}

func (l *scriptedL1) tell(_ context.Context, ref eth.L1BlockRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, ref.Number)
}

// taken is when L1 was asked and what was told since it was last called.
func (l *scriptedL1) taken() (calls []time.Duration, told []uint64) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, told = l.calls, l.told
	l.calls, l.told = nil, nil
	return calls, told
}

func (l *scriptedL1) subscribe(_ context.Context, push eth.HeadSignalFn) (ethereum.Subscription, error) {
	l.push = push
	return event.NewSubscription(func(quit <-chan struct{}) error { <-quit; return nil }), nil
}

func watchHead(ask func(context.Context) (eth.L1BlockRef, error), tell eth.HeadSignalFn, interval time.Duration) *l1HeadWatch {
	return &l1HeadWatch{ask: ask, tell: tell, wants: noWants{}, interval: interval, clock: clock.SystemClock, log: silent()}
}

// watch runs a watch of this L1 for as long as the test's function takes.
func (l *scriptedL1) watch(t *testing.T, w *l1HeadWatch, run func()) {
	l.start = time.Now()
	stop := background(w.run)
	defer stop()
	synctest.Wait()
	run()
}

func l1At(number, time uint64) eth.L1BlockRef {
	return eth.L1BlockRef{Number: number, Hash: common.Hash{byte(number >> 16), byte(number >> 8), byte(number), byte(time)}, Time: time}
}

// Absurd answers (spec C4, I8), alone and mixed with good ones, neither end the process nor have L1 asked more often than the
// interval says; and they are forgotten.
func TestAbsurdL1Heads(t *testing.T) {
	const interval = 12 * time.Second
	now := func() uint64 { return uint64(time.Now().Unix()) }
	for name, answer := range map[string]func(call uint64) eth.L1BlockRef{
		"far apart":          func(call uint64) eth.L1BlockRef { return l1At(call%2*(1<<62), now()) },
		"mainnet, a testnet": func(call uint64) eth.L1BlockRef { return l1At([]uint64{9_000_000, 23_000_000}[call%2]+call, now()) },
		"many in a second":   func(call uint64) eth.L1BlockRef { return l1At(60*call, 1000+call) },
		"no time":            func(call uint64) eth.L1BlockRef { return l1At(call, 0) },
		"the end of time":    func(call uint64) eth.L1BlockRef { return l1At(call, -call) },
		"back and forth":     func(call uint64) eth.L1BlockRef { return l1At(call, now()+call%2*(1<<32)) },
		"time stands still":  func(call uint64) eth.L1BlockRef { return l1At(call, 1000) },
		"backwards":          func(call uint64) eth.L1BlockRef { return l1At(1<<20-call, 1<<20-call) },
		"nothing":            func(uint64) eth.L1BlockRef { return eth.L1BlockRef{} },
	} {
		for mixture, good := range map[string]uint64{"alone": 0, "every other": 2} {
			t.Run(name+", "+mixture, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l1 := &scriptedL1{}
					var sound atomic.Bool
					l1.answer = func(call int) (eth.L1BlockRef, error) {
						if slot := uint64(time.Since(l1.start) / interval); sound.Load() || good > 0 && uint64(call)%good == 0 {
							return l1At(1000+slot, uint64(l1.start.Unix())+12*slot), nil
						}
						return answer(uint64(call)), nil
					}
					w := watchHead(l1.ask, l1.tell, interval)
					l1.watch(t, w, func() {
						time.Sleep(time.Hour)
						calls, _ := l1.taken()
						require.InDelta(t, 300, len(calls), 6)
						sound.Store(true)
						time.Sleep(time.Hour)
						l1.taken()
						time.Sleep(10 * interval)
						_, told := l1.taken()
						require.InDelta(t, 10, len(slices.Compact(told)), 1)
					})
					require.Equal(t, interval, w.timer.slot)
				})
			})
		}
	}
}

// TestSilentSubscription (spec C2): L1 pushes, falls silent while its connection stays up, and speaks again.
func TestSilentSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slot = 4 * time.Second
		l1 := &scriptedL1{}
		head := func() eth.L1BlockRef {
			n := uint64(time.Since(l1.start) / slot)
			return l1At(100+n, uint64(l1.start.Unix())+4*n)
		}
		l1.answer = func(int) (eth.L1BlockRef, error) { return head(), nil }
		w := watchHead(l1.ask, l1.tell, 6*time.Second)
		w.subscribe = l1.subscribe
		l1.watch(t, w, func() {
			push := func(n int) {
				for range n {
					time.Sleep(slot)
					l1.push(t.Context(), head())
					synctest.Wait()
				}
			}
			push(10)
			calls, told := l1.taken()
			require.Equal(t, []time.Duration{0}, calls, "asked once, at the start")
			require.Equal(t, []uint64{100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110}, told)
			time.Sleep(60 * time.Second)
			calls, told = l1.taken()
			require.Equal(t, 52*time.Second, calls[0], "three slots after the last one")
			require.Len(t, calls, 9, "and at the interval from then on")
			require.Equal(t, uint64(125), told[len(told)-1])
			push(10)
			calls, told = l1.taken()
			require.Empty(t, calls, "it speaks again")
			require.Equal(t, uint64(135), told[len(told)-1])
		})
	})
}

// stubWants wants the head at a time.
type stubWants struct {
	noWants
	woken chan struct{}
	mu    sync.Mutex
	at    time.Time
	asked int
}

func (s *stubWants) HeadWanted() <-chan struct{} { return s.woken }

func (s *stubWants) HeadDue() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, !s.at.IsZero()
}

func (s *stubWants) HeadAsked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.at = s.asked+1, time.Time{}
}

func (s *stubWants) want(at time.Time) {
	s.mu.Lock()
	s.at = at
	s.mu.Unlock()
	s.woken <- struct{}{}
}

// TestHeadWanted (spec C1): L1 is asked when somebody wants it, besides and not instead of the polls, whether it pushes or not,
// and also where it is not polled.
func TestHeadWanted(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		pushes   bool
		polls    int
	}{
		"polled": {12 * time.Second, false, 5}, "pushed": {12 * time.Second, true, 1 + 2}, "neither": {0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l1 := &scriptedL1{answer: func(int) (eth.L1BlockRef, error) { return l1At(100, 1000), nil }}
				w := watchHead(l1.ask, l1.tell, c.interval)
				wants := &stubWants{woken: make(chan struct{})}
				w.wants = wants
				if c.pushes {
					w.subscribe = l1.subscribe
				}
				l1.watch(t, w, func() {
					time.Sleep(5 * time.Second)
					wants.want(time.Now().Add(300 * time.Millisecond))
					time.Sleep(51 * time.Second)
					calls, _ := l1.taken()
					require.Contains(t, calls, 5300*time.Millisecond)
					require.Equal(t, c.polls+1, len(calls), calls)
					require.Equal(t, len(calls), wants.asked)
				})
			})
		})
	}
}

// chainOf is an L1 that makes a block every 12 s, known late by a while, and has no forks.
type chainOf struct {
	genesis time.Time
	late    time.Duration
}

func (c chainOf) ref(number uint64) eth.L1BlockRef {
	hash := func(n uint64) common.Hash { return common.Hash{1, byte(n >> 8), byte(n)} }
	return eth.L1BlockRef{Number: number, Hash: hash(number), ParentHash: hash(number - 1), Time: uint64(c.genesis.Unix()) + 12*number}
}

func (c chainOf) ask(context.Context) (eth.L1BlockRef, error) {
	return c.ref(uint64((time.Since(c.genesis) - c.late) / (12 * time.Second))), nil
}

func (c chainOf) Fetch(_ context.Context, numbers []uint64) (refs []eth.L1BlockRef, err error) {
	for _, number := range numbers {
		refs = append(refs, c.ref(number))
	}
	return refs, nil
}

// TestSourceKnowsOfABlockFirst (spec C1): a source names a block 100 ms after its time, and the view has it at once, or soon
// after the own L1 endpoint has; a source that names blocks which nobody has costs next to nothing.
func TestSourceKnowsOfABlockFirst(t *testing.T) {
	for late, most := range map[time.Duration]time.Duration{0: 0, 200 * time.Millisecond: 150 * time.Millisecond, 2 * time.Second: 2 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l1 := chainOf{genesis: time.Now().Add(-20 * time.Minute), late: late}
				view, err := l1chain.New(l1chain.Config{}, l1, silent(), l1chain.NullMetrics{}, clock.SystemClock)
				require.NoError(t, err)
				calls := 0
				w := watchHead(func(ctx context.Context) (eth.L1BlockRef, error) { calls++; return l1.ask(ctx) }, nil, time.Minute)
				w.tell, w.wants = func(ctx context.Context, ref eth.L1BlockRef) { view.OnHead(ctx, ref) }, view
				stop := background(w.run)
				defer stop()
				for number := uint64(101); number < 150; number++ {
					time.Sleep(time.Until(timeOf(l1.ref(number)).Add(100 * time.Millisecond)))
					view.WantHead("quick", number)
					view.WantHead("liar", 1<<60)
					time.Sleep(max(late-100*time.Millisecond, 0) + most)
					synctest.Wait()
					require.Equal(t, number, view.Refs().Head.Number)
				}
				synctest.Wait()
				require.LessOrEqual(t, calls, 49*8)
			})
		})
	}
}

// A question that L1 takes long to answer does not hold up what it pushes meanwhile.
func TestSlowAnswerAndPushedHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l1 := &scriptedL1{}
		release := make(chan struct{})
		l1.answer = func(int) (eth.L1BlockRef, error) { <-release; return l1At(100, 1000), nil }
		w := watchHead(l1.ask, l1.tell, 0)
		w.subscribe = l1.subscribe
		l1.watch(t, w, func() {
			l1.push(t.Context(), l1At(101, 1012))
			_, told := l1.taken()
			require.Equal(t, []uint64{101}, told)
			close(release)
			_, told = l1.taken()
			require.Equal(t, []uint64{100}, told)
		})
	})
}

func TestPushes(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"ws://l1:8546": true, "wss://l1": true, "/run/l1.ipc": true, "http://l1:8545": false, "https://user:secret@l1/key": false,
	} {
		require.Equal(t, want, pushes(endpoint), endpoint)
	}
}
