package modelel

import (
	"math"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Network is the blocks that the peers of an engine can deliver: those published, and the canonical chains of engines
// that share the network. A block that peers know of and do not have in their canonical chain cannot be synced to: peers
// are asked for headers by number. (Worse, op-geth drops peers whose answers do not lead to its target; the model does
// not.) A Network is safe for concurrent use.
type Network struct {
	mu     sync.Mutex
	blocks map[common.Hash]*shared
}

// shared is a block that somebody can deliver.
type shared struct {
	Block
	published bool
	holders   int // engines that have it in their canonical chain
}

// NewNetwork makes a network of peers that have the given blocks.
func NewNetwork(blocks ...Block) *Network {
	n := &Network{blocks: make(map[common.Hash]*shared)}
	n.Publish(blocks...)
	return n
}

// Publish lets peers have more blocks.
func (n *Network) Publish(blocks ...Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range blocks {
		n.entry(b).published = true
	}
}

// Withdraw takes blocks away from everybody.
func (n *Network) Withdraw(blocks ...Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range blocks {
		delete(n.blocks, b.Hash())
	}
}

func (n *Network) gain(b Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entry(b).holders++
}

func (n *Network) lose(b Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.blocks[b.Hash()]
	if !ok {
		return // withdrawn
	}
	e.holders--
	if e.holders <= 0 && !e.published {
		delete(n.blocks, b.Hash())
	}
}

func (n *Network) get(hash common.Hash) (Block, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.blocks[hash]
	if !ok {
		return Block{}, false
	}
	return e.Block, true
}

func (n *Network) entry(b Block) *shared {
	e, ok := n.blocks[b.Hash()]
	if !ok {
		e = &shared{Block: b}
		n.blocks[b.Hash()] = e
	}
	return e
}

// pace says when an EL sync finishes by itself; the zero value says never.
type pace struct {
	calls int
	time  time.Duration
	now   func() time.Time
}

// syncRun is an EL sync under way.
type syncRun struct {
	target  header
	calls   int // engine calls since the one that started it
	started time.Time
}

// startSync makes a block the target of the EL sync. To name the current target again changes nothing.
func (el *EL) startSync(target header) {
	if el.sync != nil && el.sync.target == target {
		return
	}
	el.sync = &syncRun{target: target}
	if el.pace.now != nil {
		el.sync.started = el.pace.now()
	}
}

// extendSync moves the target of a running sync to a block on top of it.
func (el *EL) extendSync(h header) {
	if el.sync != nil && el.sync.target.hash == h.parent {
		el.sync.target = h
	}
}

// settle finishes a sync whose time has come. Every call passes here first; writing ones count.
func (el *EL) settle(writing bool) {
	if el.sync == nil {
		return
	}
	if writing {
		el.sync.calls++
	}
	byCalls := el.pace.calls > 0 && el.sync.calls >= el.pace.calls
	byTime := el.pace.now != nil && el.pace.now().Sub(el.sync.started) >= el.pace.time
	if byCalls || byTime {
		el.advanceSync(math.MaxInt)
	}
}

// Syncing returns the target of the EL sync that is under way, if there is one.
func (el *EL) Syncing() (target common.Hash, ok bool) {
	el.mu.Lock()
	defer el.mu.Unlock()
	if el.sync == nil {
		return common.Hash{}, false
	}
	return el.sync.target.hash, true
}

// CompleteSync gives a running EL sync the time it needs and says whether the target was reached. Blocks that are
// fetched become canonical, up to the first one that no peer has or that is invalid; labels stay where they are. A sync
// that cannot reach its target goes on for ever.
func (el *EL) CompleteSync() bool { return el.AdvanceSync(math.MaxInt) }

// AdvanceSync is [EL.CompleteSync] for the next blocks only, as many as given. A snap sync shows nothing of what it has
// before it has all of it.
func (el *EL) AdvanceSync(blocks int) bool {
	el.mu.Lock()
	defer el.mu.Unlock()
	return el.sync != nil && el.advanceSync(blocks)
}

func (el *EL) advanceSync(blocks int) bool {
	if el.net == nil {
		return false
	}
	if h, known := el.header(el.sync.target.hash); known && el.reth {
		el.sync.target = h // of which only the hash was known, perhaps
	}
	target := el.sync.target
	path, ok := el.missing(target)
	if !ok || el.snap && blocks < len(path) {
		return false
	}
	for ; len(path) > 0 && blocks > 0; blocks-- {
		b, found := el.net.get(path[len(path)-1])
		if !found {
			return false
		}
		block, err := el.execute(el.blocks[b.Ref.ParentHash].Block, b.Envelope)
		if err != nil {
			el.abandonSync(headerOf(b))
			return false
		}
		el.store(block)
		el.setCanonical(block.Hash())
		path = path[:len(path)-1]
	}
	if len(path) > 0 {
		return false
	}
	el.sync, el.snap = nil, false
	if el.canonical[target.number] != target.hash { // else the chain is past it already: blocks came in by payloads
		el.setCanonical(target.hash)
	}
	return true
}

// abandonSync gives up a sync that met a bad block, and remembers that its target is bad.
func (el *EL) abandonSync(bad header) {
	el.invalid[el.sync.target.hash] = bad
	el.hits[bad.hash]++
	el.sync = nil
}

// missing lists the blocks from the target down to the first one in the database. It fails where nobody can say what
// comes next.
func (el *EL) missing(target header) (path []common.Hash, ok bool) {
	for h := target; ; {
		if _, have := el.blocks[h.hash]; have {
			return path, true
		}
		path = append(path, h.hash)
		if _, have := el.blocks[h.parent]; have {
			return path, true
		}
		if h, ok = el.header(h.parent); !ok {
			return nil, false
		}
	}
}

// header finds a header among those that were announced and those that peers have.
func (el *EL) header(hash common.Hash) (header, bool) {
	if h, ok := el.headers.get(hash); ok {
		return h, true
	}
	if el.net == nil {
		return header{}, false
	}
	b, ok := el.net.get(hash)
	return headerOf(b), ok
}

func headerOf(b Block) header {
	return header{hash: b.Hash(), parent: b.Ref.ParentHash, number: b.Ref.Number}
}
