package follow

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// tree is all blocks there are, by hash. Nobody has such a view; the plan has to do with less.
type tree []eth.L2BlockRef

func drawTree(t *rapid.T) tree {
	blocks := tree{l2(0)}
	for i := range rapid.IntRange(4, 24).Draw(t, "blocks") {
		parent := blocks[max(0, len(blocks)-rapid.SampledFrom([]int{1, 1, 1, 1, 2, 4, 9}).Draw(t, "grows on"))]
		number := parent.Number + 1
		blocks = append(blocks, eth.L2BlockRef{
			Hash: hash(byte(i+1), number), Number: number, ParentHash: parent.Hash, Time: 1000 + 2*number,
			L1Origin: l1('L', number/3).ID(),
		})
	}
	return blocks
}

func (t tree) draw(r *rapid.T, name string) eth.L2BlockRef { return rapid.SampledFrom(t).Draw(r, name) }

func (t tree) parent(ref eth.L2BlockRef) (eth.L2BlockRef, bool) {
	for _, b := range t {
		if b.Hash == ref.ParentHash {
			return b, true
		}
	}
	return eth.L2BlockRef{}, false
}

// at is the block with a number on the chain that ends in tip.
func (t tree) at(tip eth.L2BlockRef, number uint64) (eth.L2BlockRef, bool) {
	for ok := tip.Number >= number; ok; tip, ok = t.parent(tip) {
		if tip.Number == number {
			return tip, true
		}
	}
	return eth.L2BlockRef{}, false
}

func (t tree) on(tip, ref eth.L2BlockRef) bool {
	have, ok := t.at(tip, ref.Number)
	return ok && have == ref
}

// drawHeads is a chain with its labels.
func (t tree) drawHeads(r *rapid.T) Heads {
	unsafe := t.draw(r, "unsafe")
	below := func(tip eth.L2BlockRef, name string) eth.L2BlockRef {
		ref, _ := t.at(tip, rapid.Uint64Range(0, tip.Number).Draw(r, name))
		return ref
	}
	localSafe := below(unsafe, "own local-safe")
	safe := below(localSafe, "own safe")
	return Heads{Unsafe{unsafe}, Labels{LocalSafe{localSafe}, Safe{safe}, Finalized{below(safe, "own finalized")}}}
}

// drawTarget is any labels that V2 lets through: ordered by number, of one chain or not.
func (t tree) drawTarget(r *rapid.T) Target {
	var l Labels
	if rapid.IntRange(0, 3).Draw(r, "mixed") > 0 {
		l = t.drawHeads(r).Labels
	} else {
		l = Labels{LocalSafe{t.draw(r, "local-safe")}, Safe{t.draw(r, "safe")}, Finalized{t.draw(r, "finalized")}}
	}
	if rapid.IntRange(0, 15).Draw(r, "forged origin") == 0 {
		l.LocalSafe.L1Origin = l1('L', 99).ID()
	}
	return Target{labels: l}
}

// obviousPlan decides with the whole tree in view.
func (t tree) obviousPlan(heads Heads, target Target) (Heads, Reason) {
	next := target.labels
	if next == heads.Labels {
		return heads, None
	}
	if have, ok := t.at(heads.Unsafe.L2BlockRef, next.LocalSafe.Number); ok && have.Hash == next.LocalSafe.Hash {
		for _, ref := range []eth.L2BlockRef{next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef, next.Finalized.L2BlockRef} {
			if !t.on(heads.Unsafe.L2BlockRef, ref) {
				return heads, Incoherent
			}
		}
		return Heads{heads.Unsafe, next}, None
	}
	if !t.crossesNothing(heads, next) {
		return heads, FinalizedConflict
	}
	return Heads{Unsafe{next.LocalSafe.L2BlockRef}, next}, None
}

func (t tree) crossesNothing(heads Heads, next Labels) bool {
	return t.on(next.Finalized.L2BlockRef, heads.Finalized.L2BlockRef)
}

// TestPlanAgainstObvious: with no more than the facts it asks for, the plan is the one of somebody who sees all blocks.
func TestPlanAgainstObvious(t *testing.T) {
	var cases [CaseRefused + 1]int
	rapid.Check(t, func(t *rapid.T) {
		tree := drawTree(t)
		heads := tree.drawHeads(t)
		target := tree.drawTarget(t)
		next := target.labels
		if below(next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef) || below(next.Safe.L2BlockRef, next.Finalized.L2BlockRef) {
			return // V2 does not let it through
		}
		var local Local
		need := Needs(heads, target)
		if need.Chain {
			at := func(number uint64) Lookup {
				if ref, ok := tree.at(heads.Unsafe.L2BlockRef, number); ok {
					return Found(ref)
				}
				return NotFound()
			}
			local.LocalSafe, local.Safe, local.Finalized = at(next.LocalSafe.Number), at(next.Safe.Number), at(next.Finalized.Number)
		}
		if need.Ancestry {
			local.OverFinalized = AncestryBroken
			if tree.crossesNothing(heads, next) {
				local.OverFinalized = AncestryHolds
			}
		}
		want, reason := tree.obviousPlan(heads, target)
		got := Plan(heads, target, local)
		require.Equal(t, reason, got.Reason)
		require.Equal(t, want, got.Heads)
		require.Equal(t, got.Heads != heads, got.Action == ActionUpdate, "an update is sent exactly if something changes")
		cases[got.Case]++

		coherent := tree.on(next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef) && tree.on(next.Safe.L2BlockRef, next.Finalized.L2BlockRef)
		if coherent {
			require.True(t, tree.on(got.Heads.Unsafe.L2BlockRef, got.Heads.LocalSafe.L2BlockRef), "I4")
			require.True(t, tree.on(got.Heads.LocalSafe.L2BlockRef, got.Heads.Safe.L2BlockRef), "I4")
			require.True(t, tree.on(got.Heads.Safe.L2BlockRef, got.Heads.Finalized.L2BlockRef), "I4")
		}
	})
	for _, c := range []Case{CaseAhead, CaseConsolidate, CaseReorg, CaseRefused} {
		require.NotZero(t, cases[c], "never planned: %s", c)
	}
}

// TestPlanWithoutFacts: a fact that is missing moves nothing, it delays.
func TestPlanWithoutFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := drawTree(t)
		heads := tree.drawHeads(t)
		target := tree.drawTarget(t)
		if target.labels.LocalSafe.Number > heads.Unsafe.Number || target.labels == heads.Labels {
			return // needs no look-up
		}
		got := Plan(heads, target, Local{})
		require.Equal(t, HeadPlan{Case: CaseQueryFailed, Heads: heads, Reason: EngineUnavailable}, got)
		staged := Plan(heads, target, Local{LocalSafe: NotFound()})
		require.Equal(t, ActionStage, staged.Action)
		require.Equal(t, heads.Unsafe, staged.Heads.Unsafe, "insertion is never disturbed")
	})
}
