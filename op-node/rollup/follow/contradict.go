package follow

import (
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Word is what one source said last that passed V1–V4: it may be at odds with what is applied.
type Word struct {
	// Rank is the place of the source in the list that the operator gave, from 0.
	Rank int
	// Labels are the heads that it named.
	Labels Labels
}

// WordOf is the word of a source that says a status.
func WordOf(rank int, status Status) Word {
	s := status.normalized()
	return Word{Rank: rank, Labels: Labels{LocalSafe{s.LocalSafe}, Safe{s.Safe}, Finalized{s.Finalized}}}
}

// Contradictions lists the pairs of ranks whose sources contradict each other, ascending: those that are seen to by what
// they said last, and those of before until both are on the local chain. So a source that is ahead of the local chain for a
// moment, where nothing is known, does not end a contradiction. A source without a word takes no part.
func Contradictions(before [][2]int, words []Word, chain LocalChain) [][2]int {
	var pairs [][2]int
	for i, a := range words {
		for _, b := range words[i+1:] {
			pair := [2]int{min(a.Rank, b.Rank), max(a.Rank, b.Rank)}
			over := chain.has(a.Labels.LocalSafe.L2BlockRef) && chain.has(b.Labels.LocalSafe.L2BlockRef)
			if contradict(a.Labels, b.Labels, chain) || slices.Contains(before, pair) && !over {
				pairs = append(pairs, pair)
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return pairs
}

// contradict tells that the heads of two sources are not on one chain: two blocks of the same number, or one on the local
// chain and the other, not above it, off it.
func contradict(a, b Labels, chain LocalChain) bool {
	for _, x := range a.claims() {
		for _, y := range b.claims() {
			if !known(x.Hash) || !known(y.Hash) {
				continue
			}
			if sameHeightOtherHash(x, y) || off(x, y, chain) || off(y, x, chain) {
				return true
			}
		}
	}
	return false
}

// off tells that x is on the local chain and y, not above it, is not.
func off(x, y eth.L2BlockRef, chain LocalChain) bool {
	return y.Number <= x.Number && chain.has(x) && chain.lacks(y)
}
