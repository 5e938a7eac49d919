package modelel

import "sync"

// line is a chain that grows on demand: asking for a block makes it and everything below it. A line that forks off
// another shares that one's blocks up to the fork point. Its blocks are numbered from zero, as is its root's genesis.
type line[B any] struct {
	mu     *sync.Mutex // shared by all lines of one chain
	name   string
	base   *line[B] // nil for the root line
	first  uint64   // number of blocks[0]
	blocks []B
	next   func(parent B) B // called with mu held
}

// at returns the block with the given number. mu must be held.
func (l *line[B]) at(number uint64) B {
	if number < l.first {
		return l.base.at(number)
	}
	for uint64(len(l.blocks)) <= number-l.first {
		l.blocks = append(l.blocks, l.next(l.tip()))
	}
	return l.blocks[number-l.first]
}

func (l *line[B]) tip() B {
	if len(l.blocks) == 0 {
		return l.base.at(l.first - 1)
	}
	return l.blocks[len(l.blocks)-1]
}

func (l *line[B]) between(from, to uint64) []B {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []B
	for n := from; n <= to; n++ {
		out = append(out, l.at(n))
	}
	return out
}

// L1Branch is one version of L1. It has no end: blocks are made when asked for, always the same ones.
type L1Branch struct {
	line  line[L1Block]
	chain *Chain
}

// Name is the name the branch was forked under; the main branch has the empty name.
func (b *L1Branch) Name() string { return b.line.name }

// Block returns the block with the given number.
func (b *L1Branch) Block(number uint64) L1Block {
	b.line.mu.Lock()
	defer b.line.mu.Unlock()
	return b.line.at(number)
}

// Blocks returns the blocks from and to, both included.
func (b *L1Branch) Blocks(from, to uint64) []L1Block { return b.line.between(from, to) }

// Fork starts another version of L1 that shares the blocks up to and including last. The name, lower-case letters, is
// the branch's for good and must be new to the chain.
func (b *L1Branch) Fork(name string, last uint64) *L1Branch {
	return b.chain.forkL1(b, name, last)
}

// Branch is one version of L2. It has no end: blocks are made when asked for, always the same ones.
type Branch struct {
	line  line[Block]
	chain *Chain
	l1    *L1Branch
}

// Name is the name the branch was forked under; the main branch has the empty name.
func (b *Branch) Name() string { return b.line.name }

// L1 is the version of L1 that the branch's own blocks take their origins from.
func (b *Branch) L1() *L1Branch { return b.l1 }

// Block returns the block with the given number.
func (b *Branch) Block(number uint64) Block {
	b.line.mu.Lock()
	defer b.line.mu.Unlock()
	return b.line.at(number)
}

// Blocks returns the blocks from and to, both included.
func (b *Branch) Blocks(from, to uint64) []Block { return b.line.between(from, to) }

// Fork starts another version of L2 that shares the blocks up to and including last, and takes the origins of its own
// blocks from the same L1. The name, lower-case letters, is the branch's for good and must be new to the chain.
func (b *Branch) Fork(name string, last uint64) *Branch {
	return b.chain.forkL2(b, name, last, b.l1)
}

// ForkOn is Fork with the origins of the new blocks taken from another version of L1, as after an L1 reorg. The
// caller sees to it that the origin of the last shared block is on that version, if the result is to be valid.
func (b *Branch) ForkOn(l1 *L1Branch, name string, last uint64) *Branch {
	return b.chain.forkL2(b, name, last, l1)
}
