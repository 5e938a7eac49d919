package follow

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Status is what one external consensus node reports in a single response of optimism_syncStatus. It is a claim, not a
// fact. A ref with a zero hash is unknown, whatever its number says.
type Status struct {
	// Safe is the (cross-)safe head.
	Safe eth.L2BlockRef
	// LocalSafe is the local-safe head; unknown means that the source does not tell the two apart.
	LocalSafe eth.L2BlockRef
	// Finalized is the finalized head; it may be unknown.
	Finalized eth.L2BlockRef
	// CurrentL1 is the L1 block that the source has derived from.
	CurrentL1 eth.L1BlockRef
}

// normalized fills an unknown local-safe head with the safe head (V1).
func (s Status) normalized() Status {
	if !known(s.LocalSafe.Hash) {
		s.LocalSafe = s.Safe
	}
	return s
}

// L1Answer is what a view of canonical L1 says of one block id.
type L1Answer uint8

const (
	// L1Unavailable is the answer when L1 could not be asked, or was not.
	L1Unavailable L1Answer = iota
	// L1Canonical means that exactly this block is canonical.
	L1Canonical
	// L1Mismatch means that another block is canonical at that number.
	L1Mismatch
	// L1Behind means that the number is above the head of the view.
	L1Behind
)

// L1Facts are the answers of one consistent L1 view. An id that is missing counts as L1Unavailable.
type L1Facts map[eth.BlockID]L1Answer

// The heads have a type each, so that no two can be swapped by accident.
type (
	// Unsafe is the tip of the chain that the own execution engine follows.
	Unsafe struct{ eth.L2BlockRef }
	// LocalSafe is a head derived from L1 whose cross-chain dependencies may be unverified.
	LocalSafe struct{ eth.L2BlockRef }
	// Safe is the cross-safe head, "safe" in the engine API and in RPC.
	Safe struct{ eth.L2BlockRef }
	// Finalized is the irreversible head.
	Finalized struct{ eth.L2BlockRef }
)

// Labels are the three heads whose authority is L1.
// Invariant of every value made by this package: finalized ≤ safe ≤ local-safe by number, unknown finalized aside.
type Labels struct {
	LocalSafe LocalSafe
	Safe      Safe
	Finalized Finalized
}

// Heads are the labels and the unsafe head above them.
type Heads struct {
	Unsafe Unsafe
	Labels
}

// Applied is what this node has applied last. V5 and V6 compare a new status with it. What Target.Applied says is kept
// whole when the target is committed.
type Applied struct {
	Labels
	// CurrentL1 is the current L1 block of the source when Labels were applied. It is unknown (zero hash) for labels
	// that were read from the execution engine at start.
	CurrentL1 eth.L1BlockRef
	// Revoked is the number of the L1 block at which heads were last revoked: what a source knew of before is void
	// (spec R5). It is zero if nothing was revoked since the start.
	Revoked uint64
}

// Chain is what the rules need to know of the rollup.
type Chain struct {
	// Genesis is the first L2 block of the rollup.
	Genesis eth.BlockID
	// GenesisTime is the timestamp of Genesis, in seconds.
	GenesisTime uint64
	// BlockTime is the time between two L2 blocks, in seconds; it is not zero.
	BlockTime uint64
}

// contains tells whether the ref can be a block of this chain: no block before genesis, genesis by hash, and the one
// timestamp that the number can have.
func (c Chain) contains(ref eth.L2BlockRef) bool {
	if ref.Number < c.Genesis.Number || ref.Time < c.GenesisTime {
		return false
	}
	age := ref.Time - c.GenesisTime
	if age%c.BlockTime != 0 || age/c.BlockTime != ref.Number-c.Genesis.Number {
		return false
	}
	return ref.Number != c.Genesis.Number || ref.Hash == c.Genesis.Hash
}

func known(hash common.Hash) bool { return hash != common.Hash{} }

// below tells whether a stands lower than b. The same height with another hash counts as lower, anything as lower than
// nothing does not: an unknown b is below everything.
func below(a, b eth.L2BlockRef) bool {
	if !known(b.Hash) {
		return false
	}
	return a.Number < b.Number || (a.Number == b.Number && a.Hash != b.Hash)
}
