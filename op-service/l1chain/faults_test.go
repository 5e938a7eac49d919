package l1chain

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// faulty is an L1 that reorgs above its finality, behind an endpoint that hides many backends: of the L1 itself, some of them
// late or still on a fork that was left, of another network, and such that answer absurdities, nothing, or an error. While it
// is sound the L1 alone answers.
type faulty struct {
	*rig
	t       *rapid.T
	window  int
	honest  chain
	stale   []chain
	foreign chain
	sound   bool
	// ever has every block that was canonical at some time, final how many of them are final.
	ever  map[common.Hash]bool
	final uint64
	names byte
	// judging is whether heads may come in between a question and its answer.
	judging bool
	// polled is when the next regular question for the head is due.
	polled time.Time
}

const faultyAnchor = 30

func newFaulty(t *rapid.T) *faulty {
	f := &faulty{
		t: t, window: rapid.SampledFrom([]int{8, 24, 200}).Draw(t, "window"), honest: newChain('a', 60),
		foreign: newChain('t', rapid.SampledFrom([]uint64{40, 61, 400}).Draw(t, "testnet")),
		ever:    make(map[common.Hash]bool), final: 50, names: 'a',
	}
	f.rig = newRig(t, Config{
		Window: f.window, MaxBatch: rapid.IntRange(3, 9).Draw(t, "batch"), Keep: 16, RetryDelay: 1, Anchor: f.honest.id(faultyAnchor),
	}, nil)
	f.note()
	f.l1.choose = func(context.Context, []uint64) (chain, error) {
		backend := f.backend()
		if f.judging && rapid.IntRange(0, 3).Draw(t, "meanwhile") == 0 {
			f.judging = false // the view is not told of two heads at a time
			if rapid.Bool().Draw(t, "reorg") {
				f.reorg(t)
			}
			f.tell(t)
			f.label(t)
			f.judging = true
		}
		if backend == nil {
			return nil, errDown
		}
		return backend, nil
	}
	return f
}

// note takes in what is canonical now.
func (f *faulty) note() {
	for _, ref := range f.honest {
		f.ever[ref.Hash] = true
	}
}

// backend is whoever answers the next request; nil for an error.
func (f *faulty) backend() chain {
	if f.sound {
		return f.honest
	}
	switch rapid.SampledFrom([]string{"right", "right", "right", "late", "stale", "foreign", "down"}).Draw(f.t, "backend") {
	case "late":
		return f.honest[:len(f.honest)-rapid.SampledFrom([]int{1, 3, 12}).Draw(f.t, "late")]
	case "stale":
		if len(f.stale) > 0 {
			return f.stale[rapid.IntRange(0, len(f.stale)-1).Draw(f.t, "fork")]
		}
	case "foreign":
		return f.foreign
	case "down":
		return nil
	}
	return f.honest
}

// grow makes both networks longer.
func (f *faulty) grow(t *rapid.T) {
	blocks := rapid.SampledFrom([]uint64{1, 1, 1, 2, 5, 30}).Draw(t, "blocks")
	f.honest = f.honest.grow(f.names, f.honest.head().Number+blocks)
	f.foreign = f.foreign.grow('t', f.foreign.head().Number+blocks)
	f.note()
}

// reorg replaces blocks that are not final by more, as many, or fewer.
func (f *faulty) reorg(t *rapid.T) {
	head := f.honest.head().Number
	at := rapid.Uint64Range(max(f.final, head-min(head, 10)), head-1).Draw(t, "at")
	f.names++
	f.stale = append(f.stale, f.honest)
	f.honest = f.honest.fork(at, f.names, max(at+1, head+rapid.Uint64Range(0, 4).Draw(t, "length")-2))
	f.note()
}

// finalize moves finality.
func (f *faulty) finalize(t *rapid.T) {
	head := f.honest.head().Number
	f.final = max(f.final, head-min(head, rapid.Uint64Range(2, 20).Draw(t, "unfinal")))
}

// tell answers a question for the head, and counts what the view asks to take that in.
func (f *faulty) tell(t *rapid.T) {
	var ref eth.L1BlockRef
	if backend := f.backend(); backend != nil {
		ref = backend.head()
	}
	if !f.sound && rapid.IntRange(0, 5).Draw(t, "absurd") == 0 {
		number := rapid.SampledFrom([]uint64{0, 1, 29, 55, 100, 1 << 20, 1 << 63, 1<<64 - 1}).Draw(t, "number")
		ref = eth.L1BlockRef{Number: number, Hash: hashOf('z', number), ParentHash: hashOf('z', number-1), Time: number}
	}
	f.l1.taken()
	f.OnHead(context.Background(), ref)
	f.HeadAsked()
	batches := 2*f.window/f.cfg.MaxBatch + 1
	require.LessOrEqual(t, len(f.l1.taken()), batches+12*maxAttempts)
}

// label says what is final, or safe, as some backend has it.
func (f *faulty) label(t *rapid.T) {
	backend := f.backend()
	if backend == nil {
		return
	}
	final := f.final
	if backend[faultyAnchor] != f.honest[faultyAnchor] || final > backend.head().Number {
		final = backend.head().Number - 10
	} else if backend[final] != f.honest[final] { // it left the others before they finalized
		for ; backend[final] != f.honest[final]; final-- {
		}
	}
	f.OnFinalized(context.Background(), backend[final])
	f.OnSafe(context.Background(), backend[min(final+4, backend.head().Number)])
}

// judge asks about blocks of all kinds of chains.
func (f *faulty) judge(t *rapid.T) {
	var ids []eth.BlockID
	for range rapid.IntRange(1, 5).Draw(t, "ids") {
		chains := append([]chain{f.honest, f.honest, f.foreign}, f.stale...)
		c := chains[rapid.IntRange(0, len(chains)-1).Draw(t, "of")]
		ids = append(ids, c.id(rapid.Uint64Range(0, c.head().Number).Draw(t, "block")))
	}
	f.clock.advance(10)
	ask := f.Judge
	if rapid.Bool().Draw(t, "aside") {
		ask = f.LookUp
	}
	final := f.Refs().Finalized.Number
	f.judging = !f.sound
	facts := ask(context.Background(), ids...)
	f.judging = false
	for id, answer := range facts {
		require.False(t, answer == canonical && !f.ever[id.Hash], "%s was never canonical", id)
		if f.honest.has(id) && id.Number <= final {
			require.NotEqual(t, mismatch, answer, "%s is final", id)
		}
		if answer == canonical && f.Refs().Head == f.honest.head() {
			require.True(t, f.honest.has(id), "%s is of a fork that was left", id)
		}
	}
}

// check holds after every step: whatever the view has was canonical, and final what it says is.
func (f *faulty) check(t *rapid.T) {
	requireLinked(t, f.Window())
	for _, ref := range f.Window().refs {
		require.True(t, f.ever[ref.Hash], "%s was never canonical", ref)
	}
	refs := f.Refs()
	require.True(t, unknown(refs.Safe.ID()) || f.ever[refs.Safe.Hash], "safe")
	if !unknown(refs.Finalized.ID()) {
		require.LessOrEqual(t, refs.Finalized.Number, f.final)
		require.True(t, f.honest.has(refs.Finalized.ID()), "finalized")
	}
}

// recover ends the faults: the view is right after three answers, and all it says.
func (f *faulty) recover(t *rapid.T) {
	f.sound = true
	defer func() { f.sound = false }()
	for range 3 {
		f.honest = f.honest.grow(f.names, f.honest.head().Number+rapid.Uint64Range(0, 1).Draw(t, "blocks"))
		f.note()
		f.tell(t)
	}
	if f.Refs().Head != f.honest.head() { // far above: that takes a chain that grows
		f.honest = f.honest.grow(f.names, f.honest.head().Number+1)
		f.note()
		f.tell(t)
	}
	require.Equal(t, f.honest.head(), f.Refs().Head)
	f.label(t)
	require.Equal(t, f.honest.id(f.final), f.Refs().Finalized.ID())
	f.clock.advance(time.Second)
	for number := range f.honest.head().Number {
		f.clock.advance(time.Second)
		require.Equal(t, canonical, f.Judge(context.Background(), f.honest.id(number))[f.honest.id(number)], number)
	}
}

// minute lets a minute pass in which L1 is polled every 12 s, and asked whenever the view says so, while sources name all
// kinds of blocks.
func (f *faulty) minute(t *rapid.T) {
	sources := rapid.IntRange(0, 3).Draw(t, "sources")
	asked := 0
	for end := f.clock.Now().Add(time.Minute); f.clock.Now().Before(end); {
		for i := range sources {
			f.WantHead(string(rune('A'+i)), f.honest.head().Number+rapid.SampledFrom([]uint64{0, 1, 1 << 40}).Draw(t, "named"))
		}
		next := f.polled
		if at, wanted := f.HeadDue(); wanted && at.Before(next) {
			next = at
		}
		f.clock.advance(max(next.Sub(f.clock.Now()), time.Millisecond))
		if !f.clock.Now().Before(f.polled) {
			f.polled = f.clock.Now().Add(12 * time.Second)
		}
		f.tell(t)
		asked++
	}
	most := 6 * (1 + maxDoubts) // polls, each with the doubts that follow
	for range sources {
		most += 1 + int(time.Minute/maxSpacing) + 6*len([]time.Duration{250, 500, 1000, 2000, 4000}) // each is confirmed six times at most
	}
	require.LessOrEqual(t, asked, most)
}

// TestViewAgainstFaults (spec C5, C6, I1, I8).
func TestViewAgainstFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFaulty(t)
		t.Repeat(map[string]func(*rapid.T){
			"grow": f.grow, "reorg": f.reorg, "finalize": f.finalize, "label": f.label, "recover": f.recover, "minute": f.minute,
			"tell": f.tell, "tell2": f.tell, "tell3": f.tell, "judge": f.judge, "judge2": f.judge, "": f.check,
		})
	})
}
