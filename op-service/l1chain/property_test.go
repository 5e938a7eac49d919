package l1chain

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// model is the obvious view: it has whole chains in memory. There are several forks above one finalized block, backends
// that are each on one of them, and a head signal that may come from any.
type model struct {
	*rig
	forks     []chain
	finalized uint64
	// backends are indices into forks; which of them answers a request is drawn.
	backends []int
	// flaky backends fail or lag at times.
	flaky   bool
	current chain // what the view should be on: the chain of its head
	names   byte
}

const modelWindow = 24

func newModel(t *rapid.T) *model {
	trunk := newChain('a', 40)
	m := &model{forks: []chain{trunk}, backends: []int{0}, names: 'a'}
	m.rig = newRig(t, Config{Window: modelWindow, MaxBatch: rapid.IntRange(1, 9).Draw(t, "batch"), Keep: 16, RetryDelay: 1}, trunk)
	m.l1.choose = func(context.Context, []uint64) (chain, error) {
		if m.flaky && rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
			return nil, errDown
		}
		backend := m.forks[rapid.SampledFrom(m.backends).Draw(t, "answers")]
		if m.flaky {
			return backend[:len(backend)-rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "lag")], nil
		}
		return backend, nil
	}
	return m
}

// grow makes a fork longer.
func (m *model) grow(t *rapid.T) {
	i := rapid.IntRange(0, len(m.forks)-1).Draw(t, "fork")
	c := m.forks[i]
	m.forks[i] = c.grow(c.head().Hash[0], c.head().Number+rapid.Uint64Range(1, 8).Draw(t, "blocks"))
}

// branch makes a fork that leaves another one above finality.
func (m *model) branch(t *rapid.T) {
	from := m.forks[rapid.IntRange(0, len(m.forks)-1).Draw(t, "from")]
	at := rapid.Uint64Range(m.finalized, from.head().Number-1).Draw(t, "at")
	m.names++
	m.forks = append(m.forks, from.fork(at, m.names, from.head().Number+rapid.Uint64Range(0, 3).Draw(t, "blocks")))
}

// balance chooses which forks the backends are on.
func (m *model) balance(t *rapid.T) {
	m.backends = rapid.SliceOfN(rapid.IntRange(0, len(m.forks)-1), 1, 3).Draw(t, "backends")
	m.flaky = rapid.Bool().Draw(t, "flaky")
}

// head signals the newest block of some backend, or an older one.
func (m *model) head(t *rapid.T) {
	c := m.forks[rapid.SampledFrom(m.backends).Draw(t, "backend")]
	lag := rapid.SampledFrom([]uint64{0, 0, 0, 1, 5}).Draw(t, "lag")
	signal := c[c.head().Number-lag]
	before := m.Window()
	change := m.OnHead(context.Background(), signal)
	after := m.Window()

	require.Equal(t, after.Head(), change.Head)
	require.Equal(t, before.Head() != after.Head(), change.Moved)
	switch {
	case !change.Moved:
		require.False(t, change.Reorged)
	case before.Len() == 0:
		m.current = c
	case signal.Number > before.Head().Number+modelWindow:
		require.False(t, change.Reorged, "nobody can tell")
		m.current = c
	default:
		require.Equal(t, signal, after.Head())
		require.Equal(t, !c[:signal.Number+1].has(before.Head().ID()), change.Reorged, "a reorg is a head whose chain lacks the last one")
		if change.Reorged && change.Ancestor != (eth.BlockID{}) {
			require.Equal(t, before.Head().Number-change.Ancestor.Number, change.Depth)
			require.True(t, c.has(change.Ancestor) && m.current.has(change.Ancestor))
			require.NotEqual(t, c[change.Ancestor.Number+1:][:1], m.current[change.Ancestor.Number+1:][:1], "not the newest")
		}
		m.current = c
	}
}

// finalize moves finality up on the fork that the view is on, as far as the window reaches; all other forks end.
func (m *model) finalize(t *rapid.T) {
	window := m.Window()
	if window.Len() == 0 {
		return
	}
	floor := max(m.finalized, window.Head().Number-min(window.Head().Number, modelWindow-2))
	if window.Head().Number < floor+4 {
		return
	}
	m.finalized = rapid.Uint64Range(floor, window.Head().Number-4).Draw(t, "finalized")
	label := m.current.id(m.finalized)
	m.OnFinalized(context.Background(), m.current[m.finalized])
	m.forks = slices.DeleteFunc(m.forks, func(c chain) bool { return !c.has(label) || c.head().Number <= m.finalized })
	if !slices.ContainsFunc(m.forks, func(c chain) bool { return c.has(window.Head().ID()) }) {
		m.forks = append(m.forks, m.current)
	}
	m.backends = []int{len(m.forks) - 1}
}

// judge asks for blocks of all forks and compares every answer with the chain of the head.
func (m *model) judge(t *rapid.T) {
	window := m.Window()
	var ids []eth.BlockID
	for range rapid.IntRange(1, 6).Draw(t, "ids") {
		c := m.forks[rapid.IntRange(0, len(m.forks)-1).Draw(t, "of")]
		ids = append(ids, c.id(rapid.Uint64Range(0, c.head().Number).Draw(t, "block")))
	}
	m.clock.advance(10)
	facts := m.Judge(context.Background(), ids...)
	require.Len(t, facts, len(slices.Compact(slices.SortedFunc(slices.Values(ids), byNumberAndHash))))
	agreed := !m.flaky && window.Len() > 0 && m.agreed()
	for _, id := range ids {
		switch answer := facts[id]; {
		case window.Len() == 0:
			require.Equal(t, notAsked, answer)
		case id.Number > window.Head().Number:
			require.Equal(t, behind, answer)
		case answer == notAsked:
			require.False(t, agreed, "%s could be told", id)
		case id.Number > m.finalized && window.Head().Number-id.Number >= modelWindow:
			// Nothing links such an answer to the head.
		default:
			require.Equal(t, verdict(m.current.has(id)), answer, "%s with head %s", id, window.Head())
		}
	}
	m.flaky, m.backends = false, m.backends[:1]
	before := maps.Clone(facts)
	maps.DeleteFunc(before, func(_ eth.BlockID, answer follow.L1Answer) bool { return answer == notAsked })
	m.l1.taken()
	known := slices.Collect(maps.Keys(before))
	require.Equal(t, before, m.Judge(context.Background(), known...))
	require.Empty(t, m.l1.taken(), "what is known is not asked for again")
}

// agreed tells whether every backend is on the chain of the view.
func (m *model) agreed() bool {
	return !slices.ContainsFunc(m.backends, func(i int) bool { return !m.forks[i].has(m.current.head().ID()) })
}

// check holds after every step: the window is a run of one chain that ends in the head, and the labels are on it.
func (m *model) check(t *rapid.T) {
	window := m.Window()
	if window.Len() == 0 {
		return
	}
	requireLinked(t, window)
	require.LessOrEqual(t, window.Len(), modelWindow)
	for _, ref := range window.refs {
		require.Equal(t, m.current[ref.Number], ref)
	}
	refs := m.Refs()
	require.True(t, unknown(refs.Finalized.ID()) || m.current.has(refs.Finalized.ID()))
	if _, reached := window.hashAt(refs.Safe.Number); reached && !unknown(refs.Safe.ID()) {
		require.True(t, m.current.has(refs.Safe.ID()))
	}
}

// safe labels a block of any fork as safe.
func (m *model) safe(t *rapid.T) {
	c := m.forks[rapid.SampledFrom(m.backends).Draw(t, "backend")]
	if window := m.Window(); window.Len() > 0 {
		from := min(window.Tail().Number, c.head().Number)
		m.OnSafe(context.Background(), c[rapid.Uint64Range(from, c.head().Number).Draw(t, "safe")])
	}
}

func TestViewAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"grow":     m.grow,
			"branch":   m.branch,
			"balance":  m.balance,
			"head":     m.head,
			"head2":    m.head,
			"finalize": m.finalize,
			"safe":     m.safe,
			"judge":    m.judge,
			"judge2":   m.judge,
			"":         m.check,
		})
	})
}

func byNumberAndHash(a, b eth.BlockID) int {
	if a.Number != b.Number {
		return int(a.Number) - int(b.Number)
	}
	return a.Hash.Cmp(b.Hash)
}

// Heads of two forks come in while many ask: no set of answers is of two forks, and no window is.
func TestConcurrentUse(t *testing.T) {
	const tail, split, top = 100, 130, 170
	a := newChain('a', top)
	b := a.fork(split, 'b', top)
	ctx := context.Background()
	r := newRig(t, Config{Window: 60}, a)
	r.l1.rotate(a, b)
	r.OnFinalized(ctx, a[90])
	r.OnHead(ctx, a[tail])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 4 {
		wg.Go(func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				number := split + 1 + (i+uint64(worker))%(top-split)
				facts := r.Judge(ctx, a.id(number), b.id(number), a.id(tail-5), a.id(80), b.id(split+1), a.id(split+1))
				if facts[a.id(number)] == canonical && (facts[b.id(number)] == canonical || facts[b.id(split+1)] == canonical) ||
					facts[b.id(number)] == canonical && facts[a.id(split+1)] == canonical {
					t.Errorf("answers of two forks: %v", facts)
				}
				window := r.Window()
				for k := 1; k < len(window.refs); k++ {
					if window.refs[k].ParentHash != window.refs[k-1].Hash {
						t.Errorf("window of two forks at %d", window.refs[k].Number)
					}
				}
				r.Refs()
			}
		})
	}
	var forks [2]common.Hash
	for number := uint64(tail); number <= top; number++ {
		for i, c := range []chain{a, b} {
			forks[i] = r.OnHead(ctx, c[number]).Head.Hash
			r.OnSafe(ctx, c[number-3])
		}
	}
	close(stop)
	wg.Wait()
	require.NotEqual(t, forks[0], forks[1])
}
