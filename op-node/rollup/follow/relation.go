package follow

import (
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// LocalChain is what is known of the local chain, by number, at one moment. A number that is missing was not looked up;
// Failed is the look-up of one that the execution engine did not answer.
type LocalChain map[uint64]Lookup

// has tells that a block is known to be on the local chain.
func (c LocalChain) has(ref eth.L2BlockRef) bool {
	at, found := c[ref.Number].Block()
	return found && at.Hash == ref.Hash
}

// lacks tells that another block is known to be on the local chain where this one would be.
func (c LocalChain) lacks(ref eth.L2BlockRef) bool {
	at, found := c[ref.Number].Block()
	return found && at.Hash != ref.Hash
}

// Relation is how the local-safe head of a status stands to the applied one (spec Relation).
type Relation uint8

const (
	// RelationUnknown: the local chain has to be read first, or L1 to be asked.
	RelationUnknown Relation = iota
	// Same: it is the applied head, or nothing was applied.
	Same
	// Ahead: it is higher, and claims to contain the applied head.
	Ahead
	// Behind: it is lower, on the local chain.
	Behind
	// Aside: it is another block at the applied head's height or below, or was shown not to contain that.
	Aside
)

// String names the relation.
func (r Relation) String() string {
	return [...]string{"unknown", "same", "ahead", "behind", "aside"}[r]
}

// relate finds the relation of a status to what is applied. With RelationUnknown the local chain is to be read at the
// number of the local-safe head. incoherent tells that the head is on the
// local chain, and another head of the status is not.
func relate(s Status, facts Facts, prev Applied) (relation Relation, incoherent bool) {
	head, applied := s.LocalSafe, prev.LocalSafe.L2BlockRef
	if !known(applied.Hash) {
		return Ahead, false
	}
	local := facts.Local.with(prev.Labels)
	// Up to the applied head the local chain is what was derived, and not just proposed.
	other := slices.ContainsFunc(s.heads(), func(ref eth.L2BlockRef) bool { return ref.Number <= applied.Number && local.lacks(ref) })
	switch {
	case other && local.has(head):
		return RelationUnknown, true
	case head.Hash == applied.Hash:
		return Same, false
	case other:
		return Aside, false
	}
	if head.Number > applied.Number {
		for _, ref := range facts.Aside {
			if ref.Hash == head.Hash {
				return Aside, false
			}
		}
		return Ahead, false
	}
	_, looked := local[head.Number]
	switch {
	case local.has(head):
		return Behind, false
	case !looked && known(prev.CurrentL1.Hash) && s.CurrentL1.Number <= prev.CurrentL1.Number:
		return Behind, false // as a source that lags is; the engine is not asked about each of its heads
	default:
		return RelationUnknown, false
	}
}

// with adds the applied labels, which are on the local chain.
func (c LocalChain) with(labels Labels) LocalChain {
	all := make(LocalChain, len(c)+3)
	for number, at := range c {
		all[number] = at
	}
	for _, ref := range labels.claims() {
		if known(ref.Hash) {
			all[ref.Number] = Found(ref)
		}
	}
	return all
}
