package follow

import (
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Word is what one source said last that was accepted, by the measure of what it had said before: it may be at odds with
// what is applied.
type Word struct {
	// Rank is the place of the source in the list that the operator gave, from 0.
	Rank int
	// Labels are the heads that it named.
	Labels Labels
}

// Contradictions lists the pairs of ranks whose sources contradict each other, ascending: those that are seen to by what
// they said last, and those of before until both are on the own chain. So a source that is ahead of the own chain for a
// moment, where nothing is known, does not end a contradiction. A source without a word takes no part.
func Contradictions(before [][2]int, words []Word, chain OwnChain) [][2]int {
	onChain := func(w Word) bool {
		head := w.Labels.LocalSafe.L2BlockRef
		return chain(head.Number) == Found(head)
	}
	var pairs [][2]int
	for i, a := range words {
		for _, b := range words[i+1:] {
			pair := [2]int{min(a.Rank, b.Rank), max(a.Rank, b.Rank)}
			if contradict(a.Labels, b.Labels, chain) || slices.Contains(before, pair) && !(onChain(a) && onChain(b)) {
				pairs = append(pairs, pair)
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	return pairs
}

// contradict tells that the heads of two sources are not on one chain: two blocks of the same number, or one on the own
// chain and the other, not above it, off it.
func contradict(a, b Labels, chain OwnChain) bool {
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

// off tells that x is on the own chain and y, not above it, is not.
func off(x, y eth.L2BlockRef, chain OwnChain) bool {
	if y.Number > x.Number || chain(x.Number) != Found(x) {
		return false
	}
	block, found := chain(y.Number).Block()
	return found && block.Hash != y.Hash
}
