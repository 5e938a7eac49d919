package follow

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// The tests play on one chain: genesis 0 at time 1000, a block every 2 s, and an L1 block for every ten L2 blocks.
// A fork is a letter; blocks of one fork hang together.

var chain = Chain{Genesis: eth.BlockID{Hash: hash('l', 0), Number: 0}, GenesisTime: 1000, BlockTime: 2}

// hash makes a hash of a letter and a number.
func hash(letter byte, number uint64) (h common.Hash) {
	h[0] = letter
	binary.BigEndian.PutUint64(h[24:], number+1)
	return h
}

// l1 is an L1 block of a fork.
func l1(fork byte, number uint64) eth.L1BlockRef {
	return eth.L1BlockRef{Hash: hash(fork, number), Number: number, ParentHash: hash(fork, number-1), Time: 500 + 12*number}
}

// l2 is an L2 block of the main fork, with its L1 origin on L1 fork 'L'.
func l2(number uint64) eth.L2BlockRef { return l2on('l', number) }

func l2on(fork byte, number uint64) eth.L2BlockRef {
	ref := eth.L2BlockRef{
		Hash: hash(fork, number), Number: number, Time: 1000 + 2*number,
		L1Origin: l1('L', number/10).ID(), SequenceNumber: number % 10,
	}
	if number > 0 {
		ref.ParentHash = hash(fork, number-1)
	}
	return ref
}

// status is what an honest source says.
func status(localSafe, safe, finalized, currentL1 uint64) Status {
	return Status{LocalSafe: l2(localSafe), Safe: l2(safe), Finalized: l2(finalized), CurrentL1: l1('L', currentL1)}
}

func applied(localSafe, safe, finalized, currentL1 uint64) Applied {
	return Applied{Labels: labels(localSafe, safe, finalized), CurrentL1: l1('L', currentL1)}
}

func labels(localSafe, safe, finalized uint64) Labels {
	return Labels{LocalSafe{l2(localSafe)}, Safe{l2(safe)}, Finalized{l2(finalized)}}
}

// l1World answers like a view whose canonical chain is fork 'L' up to its head, except for what is overridden.
type l1World struct {
	head     uint64
	override map[eth.BlockID]L1Answer
	// unfinished is how much of L1 is not final.
	unfinished uint64
	start      uint64
	local      LocalChain
	aside      []eth.L2BlockRef
	pairs      Pairs
}

// localUpTo is a local chain that consists of the main fork up to a number, all of it known.
func localUpTo(head uint64) LocalChain {
	local := make(LocalChain)
	for n := range head + 1 {
		local[n] = Found(l2(n))
	}
	return local
}

func (w l1World) facts(ids []eth.BlockID) L1Facts {
	facts := make(L1Facts, len(ids))
	for _, id := range ids {
		switch answer, ok := w.override[id]; {
		case ok:
			facts[id] = answer
		case id.Number > w.head:
			facts[id] = L1Behind
		case id == l1('L', id.Number).ID():
			facts[id] = L1Canonical
		default:
			facts[id] = L1Mismatch
		}
	}
	return facts
}

// validate runs a status through the gate as the driver does.
func validate(s Status, w l1World, prev Applied) Verdict {
	facts := Facts{Chain: chain, L1Final: w.head - w.unfinished, L1Start: w.start, Local: w.local, Aside: w.aside, Pairs: w.pairs}
	facts.L1 = w.facts(facts.L1Refs(s, prev))
	return Validate(s, facts, prev)
}
