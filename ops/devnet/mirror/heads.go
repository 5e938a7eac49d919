package mirror

import (
	"fmt"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/common"
)

// Label names one head of a sync status.
type Label int

// The labels a follower mirrors, in the order they are shown.
const (
	Unsafe Label = iota
	LocalSafe
	Safe
	Finalized
	CurrentL1
	labels // how many there are
)

// Labels are all of them.
func Labels() []Label { return []Label{Unsafe, LocalSafe, Safe, Finalized, CurrentL1} }

// String is the label as optimism_syncStatus spells it, without the chain.
func (l Label) String() string {
	switch l {
	case Unsafe:
		return "unsafe"
	case LocalSafe:
		return "local_safe"
	case Safe:
		return "safe"
	case Finalized:
		return "finalized"
	case CurrentL1:
		return "current_l1"
	}
	return fmt.Sprintf("label(%d)", int(l))
}

// chain says whose blocks the label names.
func (l Label) chain() chainID {
	if l == CurrentL1 {
		return chainL1
	}
	return chainL2
}

type chainID int

const (
	chainL1 chainID = iota
	chainL2
	chains
)

// Ref is a block by number and hash. A zero hash means unknown.
type Ref struct {
	Number uint64
	Hash   common.Hash
}

// Known reports whether the ref names a block.
func (r Ref) Known() bool { return r.Hash != (common.Hash{}) }

// String is the number and the beginning of the hash, or a dash.
func (r Ref) String() string {
	if !r.Known() {
		return "-"
	}
	return fmt.Sprintf("%d:%x", r.Number, r.Hash[:3])
}

// Heads are a node's labels at one moment.
type Heads [labels]Ref

// HeadsOf reads the labels from a sync status.
func HeadsOf(s *eth.SyncStatus) Heads {
	l2 := func(r eth.L2BlockRef) Ref { return Ref{Number: r.Number, Hash: r.Hash} }
	return Heads{
		Unsafe:    l2(s.UnsafeL2),
		LocalSafe: l2(s.LocalSafeL2),
		Safe:      l2(s.SafeL2),
		Finalized: l2(s.FinalizedL2),
		CurrentL1: {Number: s.CurrentL1.Number, Hash: s.CurrentL1.Hash},
	}
}

// disorder names the first pair of labels that contradict finalized <= safe <= local-safe <= unsafe, by number and,
// where the numbers are equal, by hash. Unknown labels contradict nothing.
func (h Heads) disorder() (what string, ok bool) {
	ladder := []Label{Finalized, Safe, LocalSafe, Unsafe}
	for i, low := range ladder {
		for _, high := range ladder[i+1:] {
			a, b := h[low], h[high]
			if !a.Known() || !b.Known() {
				continue
			}
			if a.Number > b.Number {
				return fmt.Sprintf("%s %s above %s %s", low, a, high, b), true
			}
			if a.Number == b.Number && a.Hash != b.Hash {
				return fmt.Sprintf("%s %s is not %s %s", low, a, high, b), true
			}
		}
	}
	return "", false
}
