package driver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// turmoil is a world in which something goes wrong again and again, by chance.
type turmoil struct {
	*world
	random  *rand.Rand
	sources []*testutil.Source
	// liar tells that the first source may be on a branch of its own: two others outvote it.
	liar  bool
	story []string
}

// seeds is how many stories are told; `make soak` tells more.
var seeds = flag.Uint64("seeds", 8, "how many random stories TestTurmoil tells")

// TestTurmoil lets random things happen to a follower of two or three sources. No label is false, goes back or is ahead of
// L1's finality at any time, and once the trouble is over the follower is where an honest source is. A seed is one story.
func TestTurmoil(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &turmoil{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 0))}
				defer func() {
					if t.Failed() {
						t.Logf("The story:\n%s", strings.Join(w.story, "\n"))
					}
				}()
				w.begin()
				for range 12 {
					w.event()
					w.watch(20*time.Second + time.Duration(w.random.IntN(60))*time.Second)
				}
				w.heal()
				w.watch(2*time.Minute + finalityAfterAGap)
				w.requireFollowing()
				w.requireUnsafe()
			})
		})
	}
}

func (w *turmoil) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s "+format, append([]any{time.Since(w.start)}, args...)...))
}

func (w *turmoil) begin() {
	opts := []modelel.Option{modelel.SyncAfterTime(3*time.Second, time.Now)}
	if w.random.IntN(2) == 0 {
		w.say("the engine is an op-reth")
		opts = append(opts, modelel.Reth())
	}
	w.el = testutil.NewEngine(w.chain, modelel.NewNetwork(w.chain.L2().Blocks(0, 1000)...), opts...)
	cfg := Config{}
	w.liar = w.random.IntN(2) == 0
	for i := range 3 {
		w.sources = append(w.sources, w.honest(string(rune('a'+i))))
	}
	if w.liar {
		cfg.Quorum = 2
	}
	w.say("quorum %d", cfg.Quorum)
	w.follow(cfg, w.sources[0], w.sources[1], w.sources[2])
	w.watch(3 * time.Minute)
}

// watch is run, with a look at L1's finality too.
func (w *turmoil) watch(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.run(time.Second)
		require.LessOrEqual(w.t, w.labels().Finalized.Number, w.truth(w.l1Head()).Finalized.Number, "ahead of L1's finality")
	}
}

func (w *turmoil) event() {
	switch w.random.IntN(6) {
	case 0, 1, 2:
		w.changeSource()
	case 3:
		w.changeGossip()
	case 4:
		w.changeL1()
	default:
		w.changeEngine()
	}
}

// pick takes one of several things by chance and says which.
func pick[T any](w *turmoil, what string, names []string, things ...T) T {
	i := w.random.IntN(len(things))
	w.say("%s: %s", what, names[i])
	return things[i]
}

func (w *turmoil) changeSource() {
	i := max(0, w.random.IntN(2*len(w.sources))-len(w.sources)) // the first one most often: it is followed
	d, at := w.derivation(w.chain.L2()), w.l1Head
	honest := testutil.Honest(d, at)
	if w.liar && i == 0 {
		branch := w.chain.L2().Fork(w.forkName(), w.labels().LocalSafe.Number)
		w.say("source a is on another branch from %d on", w.labels().LocalSafe.Number)
		w.sources[0].Does(testutil.Honest(w.derivation(branch), at))
		return
	}
	w.sources[i].Does(pick(w, "source "+w.sources[i].Name(),
		[]string{"honest", "honest", "slow", "frozen", "lags", "a replica lags", "restarts", "rewound", "early with finality", "false times",
			"a kona", "a supernode", "cached", "down", "stalls"},
		honest, honest,
		testutil.Slow(3*time.Second, honest), testutil.Frozen(honest), testutil.Honest(d, testutil.Behind(3, at)),
		testutil.InTurn(honest, testutil.Honest(d, testutil.Behind(4, at))),
		testutil.Restarting(d, 10, 5*time.Second, at), testutil.Rewound(d, 10, 5*time.Second, at),
		testutil.EarlyFinality(honest), testutil.FalseTimes(-500, honest),
		testutil.Kona(d, testutil.Behind(2, at), at), testutil.Supernode(d, at, 40, 3*time.Minute),
		testutil.Cached(10*time.Second, honest), testutil.Down(), testutil.Say(nil)))
}

func (w *turmoil) forkName() string { return "x" + strings.Repeat("y", len(w.story)) }

func (w *turmoil) changeGossip() {
	on := testutil.OnTime(w.chain.L2())
	other := w.chain.L2().Fork(w.forkName(), w.l2Head())
	chance := rand.New(rand.NewPCG(w.random.Uint64(), 0)) // of its own: gossip comes in another goroutine
	gossip := pick(w, "gossip", []string{"on time", "late", "lossy", "out of order", "twice", "of another branch too", "silent"},
		on, testutil.Late(2, on), testutil.Missing(4, chance, on), testutil.OutOfOrder(on), testutil.Together(on, on),
		testutil.Together(on, testutil.OnTime(other)), testutil.Silence())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gossip = gossip
}

func (w *turmoil) changeL1() {
	state := pick(w, "L1", []string{"well", "well", "slow", "silent", "down", "behind", "a backend lags"},
		testutil.L1State{}, testutil.L1State{}, testutil.L1State{Delay: 2 * time.Second}, testutil.L1State{Stalled: true},
		testutil.L1State{Down: true}, testutil.L1State{Behind: 2},
		testutil.L1State{Backends: []testutil.L1Backend{{Branch: w.chain.L1()}, {Branch: w.chain.L1(), Behind: 3}}})
	state.Branch = w.chain.L1()
	w.l1.Set(func(s *testutil.L1State) { *s = state })
}

func (w *turmoil) changeEngine() {
	safe := w.labels().LocalSafe.Number
	pick(w, "the engine", []string{"restarts", "is killed and lost some blocks", "is down for a while", "forgets for a while"},
		w.el.Restart,
		func() { w.el.Kill(safe + uint64(w.random.IntN(3))) },
		func() { w.el.Line.Next(5+w.random.IntN(20), modelel.Drop()) },
		func() { w.el.Line.Next(3+w.random.IntN(10), modelel.Forget()) })()
}

// heal ends all trouble.
func (w *turmoil) heal() {
	w.say("the trouble is over")
	for _, source := range w.sources {
		source.Does(testutil.Honest(w.derivation(w.chain.L2()), w.l1Head))
	}
	w.mu.Lock()
	w.gossip = testutil.OnTime(w.chain.L2())
	w.mu.Unlock()
	w.l1.Set(func(s *testutil.L1State) { *s = testutil.L1State{Branch: w.chain.L1()} })
	w.el.Line.Heal()
	w.say("%s, engine %s", w.driver.State().Phase, w.el)
}
