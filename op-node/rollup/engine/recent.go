package engine

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// recentBlocks is how many blocks the controller remembers: more than the distance from unsafe to finalized on a
// healthy chain, so that a label is found there without a call. About half a megabyte.
const recentBlocks = 4096

// recent remembers blocks of the own canonical chain by number, the youngest of those that share a slot. Everything in
// it was VALID on the chain of the present unsafe head: whoever moves the head off the chain calls cut.
type recent struct {
	slots [recentBlocks]eth.L2BlockRef
}

func (r *recent) at(number uint64) (eth.L2BlockRef, bool) {
	ref := r.slots[number%recentBlocks]
	return ref, ref.Number == number && ref.Hash != common.Hash{}
}

func (r *recent) put(ref eth.L2BlockRef) {
	if slot := &r.slots[ref.Number%recentBlocks]; slot.Hash == (common.Hash{}) || slot.Number <= ref.Number {
		*slot = ref
	}
}

// putHeads remembers all four heads.
func (r *recent) putHeads(heads follow.Heads) {
	r.put(heads.Finalized.L2BlockRef)
	r.put(heads.Safe.L2BlockRef)
	r.put(heads.LocalSafe.L2BlockRef)
	r.put(heads.Unsafe.L2BlockRef)
}

// cut forgets every block above the number.
func (r *recent) cut(above uint64) {
	for i := range r.slots {
		if r.slots[i].Number > above {
			r.slots[i] = eth.L2BlockRef{}
		}
	}
}

// clear forgets everything: the chain changed at an unknown depth.
func (r *recent) clear() { r.slots = [recentBlocks]eth.L2BlockRef{} }
