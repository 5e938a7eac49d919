package l1chain

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Window is a run of the newest canonical L1 blocks. The zero value is the empty window of a view that has not heard of
// a head yet.
//
//   - W1: numbers are consecutive, and each block's parent hash is the hash of the block before it.
//   - W2: it never changes. A view that moves on makes another one.
type Window struct {
	refs []eth.L1BlockRef
}

// Canonical answers from memory alone whether the block is canonical. Below the parent of the oldest block, in an empty
// window and for a zero hash the answer is L1Unavailable; above the newest block L1Behind.
func (w Window) Canonical(id eth.BlockID) follow.L1Answer {
	if len(w.refs) == 0 || unknown(id) {
		return follow.L1Unavailable
	}
	if id.Number > w.Head().Number {
		return follow.L1Behind
	}
	hash, ok := w.hashAt(id.Number)
	if !ok {
		return follow.L1Unavailable
	}
	return verdict(hash == id.Hash)
}

// Head is the newest block, zero in an empty window.
func (w Window) Head() eth.L1BlockRef {
	if len(w.refs) == 0 {
		return eth.L1BlockRef{}
	}
	return w.refs[len(w.refs)-1]
}

// Tail is the oldest block, zero in an empty window.
func (w Window) Tail() eth.L1BlockRef {
	if len(w.refs) == 0 {
		return eth.L1BlockRef{}
	}
	return w.refs[0]
}

// Len is the number of blocks.
func (w Window) Len() int { return len(w.refs) }

// Ref is the block itself, if exactly this one is in the window.
func (w Window) Ref(id eth.BlockID) (eth.L1BlockRef, bool) {
	ref, ok := w.at(id.Number)
	return ref, ok && ref.Hash == id.Hash
}

func (w Window) at(number uint64) (eth.L1BlockRef, bool) {
	if len(w.refs) == 0 || number < w.Tail().Number || number > w.Head().Number {
		return eth.L1BlockRef{}, false
	}
	return w.refs[number-w.Tail().Number], true
}

// hashAt is the hash of the canonical block, if that is in the window or the parent of its tail.
func (w Window) hashAt(number uint64) (common.Hash, bool) {
	if ref, ok := w.at(number); ok {
		return ref.Hash, true
	}
	if parent := w.Tail().ParentID(); !unknown(parent) && parent.Number == number {
		return parent.Hash, true
	}
	return common.Hash{}, false
}

// holds tells whether exactly this block is in the window, or the parent of its tail.
func (w Window) holds(id eth.BlockID) bool {
	hash, ok := w.hashAt(id.Number)
	return ok && hash == id.Hash
}

// link is the lowest block whose hash is known: what an answer has to hold to be of the chain of this window. It is zero in
// an empty window.
func (w Window) link() eth.BlockID {
	if parent := w.Tail().ParentID(); !unknown(parent) {
		return parent
	}
	return w.Tail().ID()
}

// onto returns the window that ends in blocks, which ascend and link to an ancestor that this window holds. Blocks after
// the ancestor are dropped, and the oldest if there are more than limit.
//
// Appending may share memory with w: only one goroutine calls onto, always on its newest window, and readers of older
// windows see no further than their own length.
func (w Window) onto(ancestor uint64, blocks []eth.L1BlockRef, limit int) Window {
	refs := w.refs
	if keep := ancestor + 1 - w.Tail().Number; keep < uint64(len(refs)) {
		refs = slices.Clip(refs[:keep])
	}
	return Window{refs: newest(append(refs, blocks...), limit)}
}

// under returns the window that starts with blocks, which ascend and link to the tail of this window.
func (w Window) under(blocks []eth.L1BlockRef) Window {
	return Window{refs: slices.Concat(blocks, w.refs)}
}

func newest(refs []eth.L1BlockRef, limit int) []eth.L1BlockRef {
	return refs[max(0, len(refs)-limit):]
}

// linked tells whether the blocks ascend, each the child of the one before, and end in the parent of next.
func linked(blocks []eth.L1BlockRef, next eth.L1BlockRef) bool {
	for _, block := range slices.Backward(blocks) {
		if next.Number == 0 || block.ID() != next.ParentID() {
			return false
		}
		next = block
	}
	return true
}

func verdict(same bool) follow.L1Answer {
	if same {
		return follow.L1Canonical
	}
	return follow.L1Mismatch
}

func unknown(id eth.BlockID) bool { return id.Hash == eth.BlockID{}.Hash }
