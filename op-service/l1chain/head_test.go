package l1chain

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

func TestOnHead(t *testing.T) {
	a := newChain('a', 60)
	sibling := a.fork(19, 'b', 30)
	deep := a.fork(13, 'b', 30)
	below := a.fork(5, 'b', 30)
	tests := []struct {
		name   string
		cfg    Config
		l1     chain // what L1 answers
		signal eth.L1BlockRef
		want   Change
		calls  [][]uint64
		window [2]uint64 // tail and head number
	}{
		{"next", Config{}, a, a[21], Change{Head: a[21], Moved: true}, nil, [2]uint64{10, 21}},
		{"same again", Config{}, a, a[20], Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"lagging backend", Config{}, a, a[15], Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"lagging backend, below the window", Config{}, a, a[3], Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"no hash", Config{}, a, eth.L1BlockRef{Number: 30}, Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"heads missed", Config{}, a, a[25], Change{Head: a[25], Moved: true},
			[][]uint64{{21, 22, 23, 24}}, [2]uint64{10, 25}},
		{"more heads missed than a batch holds", Config{MaxBatch: 3}, a, a[26], Change{Head: a[26], Moved: true},
			[][]uint64{{23, 24, 25}, {21, 22}}, [2]uint64{10, 26}},
		{"the window slides", Config{Window: 12}, a, a[22], Change{Head: a[22], Moved: true},
			[][]uint64{{21}}, [2]uint64{11, 22}},
		{"gap longer than the window", Config{Window: 11}, a, a[40], Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"sibling", Config{}, sibling, sibling[20],
			Change{Head: sibling[20], Moved: true, Reorged: true, Ancestor: a.id(19), Depth: 1}, nil, [2]uint64{10, 20}},
		{"child of a sibling", Config{}, sibling, sibling[21],
			Change{Head: sibling[21], Moved: true, Reorged: true, Ancestor: a.id(19), Depth: 1},
			[][]uint64{{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}, [2]uint64{10, 21}},
		{"reorg to a lower head", Config{}, deep, deep[14],
			Change{Head: a[20]}, nil, [2]uint64{10, 20}},
		{"reorg and heads missed", Config{MaxBatch: 4}, deep, deep[23],
			Change{Head: deep[23], Moved: true, Reorged: true, Ancestor: a.id(13), Depth: 7},
			[][]uint64{{21, 22}, {17, 18, 19, 20}, {13, 14, 15, 16}}, [2]uint64{10, 23}},
		{"reorg of all but the parent of the window", Config{}, a.fork(9, 'b', 30), a.fork(9, 'b', 20)[20],
			Change{Head: a.fork(9, 'b', 20)[20], Moved: true, Reorged: true, Ancestor: a.id(9), Depth: 11},
			[][]uint64{{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}}, [2]uint64{10, 20}},
		{"reorg below the window", Config{}, below, below[21],
			Change{Head: below[21], Moved: true, Reorged: true, Depth: 11},
			[][]uint64{{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}, [2]uint64{10, 21}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, test.cfg, a)
			r.follow(a, 10, 20)
			r.l1.serve(test.l1)
			require.Equal(t, test.want, r.OnHead(context.Background(), test.signal))
			require.Equal(t, test.calls, r.l1.taken())
			window := r.Window()
			require.Equal(t, test.window, [2]uint64{window.Tail().Number, window.Head().Number})
			requireLinked(t, window)
			require.Equal(t, test.want.Head, r.Refs().Head)
			if test.want.Reorged {
				require.Equal(t, []uint64{test.want.Depth}, r.metrics.depths)
			} else {
				require.Empty(t, r.metrics.depths)
			}
		})
	}
}

func TestFirstHead(t *testing.T) {
	a := newChain('a', 5)
	r := newRig(t, Config{}, a)
	require.Equal(t, Window{}, r.Window())
	require.Equal(t, follow.L1Unavailable, r.Window().Canonical(a.id(3)))
	require.Equal(t, Change{Head: a[5], Moved: true}, r.OnHead(context.Background(), a[5]))
	require.Empty(t, r.l1.taken())
	require.Equal(t, 1, r.Window().Len())
}

// A head that cannot be connected leaves the view as it was; that is said once, and the next head catches up.
func TestHeadThatCannotBeConnected(t *testing.T) {
	const holding, again = "Cannot follow the L1 head, holding the last one", "Following the L1 head again"
	a := newChain('a', 60)
	b := a.fork(15, 'b', 60)
	tests := []struct {
		name    string
		prepare func(*fakeL1)
		calls   int
	}{
		{"L1 is down", func(l1 *fakeL1) { l1.down() }, 1},
		{"another fork answers", func(l1 *fakeL1) { l1.serve(b) }, maxAttempts},
		{"a lagging backend answers", func(l1 *fakeL1) { l1.serve(a[:23]) }, maxAttempts},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, Config{}, a)
			r.follow(a, 10, 20)
			before := r.Window()
			test.prepare(r.l1)
			for range 3 {
				require.Equal(t, Change{Head: a[20]}, r.OnHead(context.Background(), a[25]))
				require.Len(t, r.l1.taken(), test.calls)
			}
			require.Equal(t, before, r.Window())
			require.Equal(t, 1, r.logged(holding))

			r.l1.serve(a)
			require.Equal(t, Change{Head: a[26], Moved: true}, r.OnHead(context.Background(), a[26]))
			require.Equal(t, [2]int{1, 1}, [2]int{r.logged(holding), r.logged(again)})
		})
	}
}

// One answer from a backend on another fork costs another request, and nothing else.
func TestFlippingBackendIsAskedAgain(t *testing.T) {
	a := newChain('a', 60)
	b := a.fork(15, 'b', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	r.l1.rotate(b, a)
	require.Equal(t, Change{Head: a[25], Moved: true}, r.OnHead(context.Background(), a[25]))
	require.Len(t, r.l1.taken(), 2)
	require.Equal(t, follow.L1Mismatch, r.Window().Canonical(b.id(23)))
	require.Equal(t, follow.L1Canonical, r.Window().Canonical(a.id(23)))
}

func TestStoppingIsNoReasonToWarn(t *testing.T) {
	a := newChain('a', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.l1.down()
	require.Equal(t, Change{Head: a[20]}, r.OnHead(ctx, a[25]))
	require.Empty(t, r.logs.messages)
}

func TestLabels(t *testing.T) {
	ctx := context.Background()
	a := newChain('a', 60)
	b := a.fork(15, 'b', 60)
	r := newRig(t, Config{}, a)
	r.OnFinalized(ctx, a[5])
	r.OnSafe(ctx, a[8])
	require.Zero(t, r.Refs(), "labels that are heard of before the first head belong nowhere")
	r.follow(a, 10, 20)
	r.OnFinalized(ctx, a[5])
	r.OnSafe(ctx, a[8])
	require.Equal(t, Refs{Head: a[20], Safe: a[8], Finalized: a[5]}, r.Refs())

	r.OnSafe(ctx, a[17])
	r.OnFinalized(ctx, a[12])
	want := Refs{Head: a[20], Safe: a[17], Finalized: a[12]}
	for name, stray := range map[string]eth.L1BlockRef{
		"older": a[11], "of another fork": b[18], "above the head": a[21], "without a hash": {Number: 19},
	} {
		r.OnSafe(ctx, stray)
		r.OnFinalized(ctx, stray)
		require.Equal(t, want, r.Refs(), "a label %s is left out", name)
	}

	r.l1.serve(b)
	r.OnHead(ctx, b[21])
	require.Equal(t, Refs{Head: b[21], Safe: a[15], Finalized: a[12]}, r.Refs(), "a reorg takes safe back to the ancestor")

	below := a.fork(2, 'c', 60)
	r.l1.serve(below)
	require.Equal(t, Change{Head: b[21]}, r.OnHead(ctx, below[22]), "no head takes the finalized block away")
	require.Equal(t, 1, r.logged("Cannot follow the L1 head, holding the last one"))
	conflict := a.fork(11, 'c', 60)
	r.l1.serve(conflict)
	require.Equal(t, Change{Head: b[21]}, r.OnHead(ctx, conflict[22]))
	onto := a.fork(12, 'c', 60)
	r.l1.serve(onto)
	require.True(t, r.OnHead(ctx, onto[22]).Reorged, "right above it a reorg is possible")
	require.Equal(t, Refs{Head: onto[22], Safe: a[12], Finalized: a[12]}, r.Refs())
}

// After a reorg to below the window, nothing but finality is left to say that a safe block is canonical.
func TestSafeAfterReorgBelowWindow(t *testing.T) {
	ctx := context.Background()
	a := newChain('a', 60)
	b := a.fork(5, 'b', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	r.OnFinalized(ctx, a[4])
	r.OnSafe(ctx, a[17])
	r.l1.serve(b)
	require.True(t, r.OnHead(ctx, b[21]).Reorged)
	require.Equal(t, Refs{Head: b[21], Safe: a[4], Finalized: a[4]}, r.Refs())
}

// A finalized label that came in because one answer was pieced together from two backends gives way to the window of blocks.
func TestForeignFinalizedLabelIsDropped(t *testing.T) {
	const dropped = "The finalized L1 block is not in the chain of the L1 head, dropping the label"
	ctx := context.Background()
	a, foreign := newChain('a', 60), newChain('x', 60)
	r := newRig(t, Config{}, append(append(chain{}, foreign[:18]...), a[18:]...))
	r.follow(a, 20, 20)
	require.True(t, r.OnFinalized(ctx, foreign[15]))
	r.OnSafe(ctx, foreign[16])
	r.l1.serve(a)
	r.Judge(ctx, a.id(18))
	require.Equal(t, Refs{Head: a[20], Safe: foreign[16], Finalized: foreign[15]}, r.Refs(), "nothing tells yet")
	require.Equal(t, follow.L1Facts{a.id(16): follow.L1Canonical}, r.Judge(ctx, a.id(16)))
	require.Equal(t, Refs{Head: a[20]}, r.Refs())
	require.Equal(t, 1, r.logged(dropped))
}

func requireLinked(t require.TestingT, w Window) {
	for i := 1; i < len(w.refs); i++ {
		require.Equal(t, w.refs[i-1].ID(), w.refs[i].ParentID(), "block %d", w.refs[i].Number)
	}
}
