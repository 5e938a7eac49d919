package modelel

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Network is the blocks that the peers of an engine have. Engines that share a network are each other's peers. It is
// safe for concurrent use.
type Network struct {
	mu     sync.Mutex
	blocks map[common.Hash]Block
}

// NewNetwork makes a network of peers that have the given blocks.
func NewNetwork(blocks ...Block) *Network {
	n := &Network{blocks: make(map[common.Hash]Block)}
	n.Publish(blocks...)
	return n
}

// Publish lets peers have more blocks.
func (n *Network) Publish(blocks ...Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range blocks {
		n.blocks[b.Hash()] = b
	}
}

// Withdraw takes blocks away from the peers.
func (n *Network) Withdraw(blocks ...Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range blocks {
		delete(n.blocks, b.Hash())
	}
}

func (n *Network) get(hash common.Hash) (Block, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, ok := n.blocks[hash]
	return b, ok
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
		el.finishSync()
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
func (el *EL) CompleteSync() bool {
	el.mu.Lock()
	defer el.mu.Unlock()
	return el.sync != nil && el.finishSync()
}

func (el *EL) finishSync() bool {
	path, ok := el.missing(el.sync.target)
	if !ok {
		return false
	}
	target := el.sync.target
	for i := len(path) - 1; i >= 0; i-- {
		b, found := el.net.get(path[i])
		if !found {
			return false
		}
		block, err := el.execute(b.Envelope)
		if err != nil {
			h := header{hash: b.Hash(), parent: b.Ref.ParentHash, number: b.Ref.Number}
			el.invalid[target.hash] = h
			el.hits[h.hash]++
			el.sync = nil
			return false
		}
		el.store(block)
		el.snap = false
		el.setCanonical(block.Hash())
	}
	el.sync = nil
	el.setCanonical(target.hash)
	return true
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
			return path, el.net != nil
		}
		parent, known := el.headers.get(h.parent)
		if !known {
			if el.net == nil {
				return nil, false
			}
			b, found := el.net.get(h.parent)
			if !found {
				return nil, false
			}
			parent = header{hash: b.Hash(), parent: b.Ref.ParentHash, number: b.Ref.Number}
		}
		h = parent
	}
}
