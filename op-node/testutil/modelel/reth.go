package modelel

import (
	"maps"

	"github.com/ethereum/go-ethereum/common"
)

// Reth makes the engine behave as op-reth does where that is another client than op-geth, as its sources show
// (crates/engine/tree):
//
//   - Only canonical blocks, and the newest child of the head, are found by their hash: a branch that was executed and is
//     not canonical is not served, though a forkchoice update can make it so at once.
//   - A forkchoice update to a canonical block below the head is VALID and changes nothing: neither head nor labels.
//   - One to the zero hash fails with -38002 instead of being INVALID.
//   - One to a block that nobody announced makes it the target of a sync all the same, and peers are asked for it by hash.
//   - A payload whose parent is missing is kept, and executed when the parent is there; and a block that is the target of
//     a sync becomes canonical as soon as it is executed, without another update.
//   - A restart keeps the safe label as well as finalized, and loses what was executed and is not canonical.
//
// What is the same: the head moves before finalized, and that before safe, are looked at, so that an update that fails
// with -38002 leaves the head, and perhaps finalized, moved.
//
// Nothing compares these with an op-reth: there is none to be had as a Go module.
func Reth() Option { return func(el *EL) { el.reth = true } }

// shows tells whether op-reth serves a block by its hash.
func (el *EL) shows(hash common.Hash) bool {
	b, ok := el.blocks[hash]
	return ok && (el.canonical[b.Ref.Number] == hash || hash == el.pending && b.Ref.ParentHash == el.head)
}

// dropSides forgets the blocks that are not canonical.
func (el *EL) dropSides() {
	maps.DeleteFunc(el.blocks, func(hash common.Hash, b *stored) bool { return el.canonical[b.Ref.Number] != hash })
}

// connect goes on from a block that was executed: it may be the target of a sync, or the parent of a block that waits.
func (el *EL) connect(b Block) {
	if b.Ref.ParentHash == el.head {
		el.pending = b.Hash()
	}
	if el.sync != nil && el.sync.target.hash == b.Hash() {
		el.sync = nil
		el.setCanonical(b.Hash())
	}
	if child, ok := el.buffered.get(b.Hash()); ok {
		el.newPayload(child)
	}
}
