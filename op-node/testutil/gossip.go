package testutil

import (
	"math/rand/v2"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// Gossip is what arrives when the block with a number is due: that block, most often. Numbers are asked for in order, each
// once.
type Gossip func(number uint64) []modelel.Block

// OnTime is gossip of a branch without trouble.
func OnTime(branch *modelel.Branch) Gossip {
	return func(number uint64) []modelel.Block { return []modelel.Block{branch.Block(number)} }
}

// Silence is no gossip.
func Silence() Gossip {
	return func(uint64) []modelel.Block { return nil }
}

// Late is gossip that arrives some blocks later.
func Late(blocks uint64, gossip Gossip) Gossip {
	return func(number uint64) []modelel.Block {
		if number <= blocks {
			return nil
		}
		return gossip(number - blocks)
	}
}

// Missing is gossip of which one in so many blocks gets lost, by chance, which is for this gossip alone.
func Missing(oneIn int, random *rand.Rand, gossip Gossip) Gossip {
	return func(number uint64) []modelel.Block {
		if random.IntN(oneIn) == 0 {
			return nil
		}
		return gossip(number)
	}
}

// OutOfOrder is gossip that comes in pairs, the second before the first.
func OutOfOrder(gossip Gossip) Gossip {
	var held []modelel.Block
	return func(number uint64) []modelel.Block {
		now := gossip(number)
		if held == nil {
			held = now
			return nil
		}
		both := append(now, held...)
		held = nil
		return both
	}
}

// Together is gossip of several: of other branches too, or the same twice.
func Together(all ...Gossip) Gossip {
	return func(number uint64) (blocks []modelel.Block) {
		for _, gossip := range all {
			blocks = append(blocks, gossip(number)...)
		}
		return blocks
	}
}
