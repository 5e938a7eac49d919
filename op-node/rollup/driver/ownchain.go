package driver

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

const (
	// ownChainBlocks is how many blocks the own chain remembers.
	ownChainBlocks = 4096
	// ownChainTimeout bounds a look-up in the engine.
	ownChainTimeout = 2 * time.Second
)

// ownChain knows the blocks of the own canonical chain by number, to tell which heads of several sources are ancestors
// of each other. It learns the heads that the engine controller commits and asks the engine for others. It is safe for
// concurrent use.
type ownChain struct {
	engine upstream.ExecEngine

	mu     sync.Mutex
	blocks [ownChainBlocks]eth.L2BlockRef
	head   eth.L2BlockRef
}

// onHead takes a new unsafe head. Unless it is the child of the last one, nothing above its parent is known to be on the
// chain any more.
func (o *ownChain) onHead(head eth.L2BlockRef) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if head == o.head {
		return
	}
	if head.ParentHash != o.head.Hash {
		o.blocks = [ownChainBlocks]eth.L2BlockRef{}
	}
	o.head = head
	o.put(head)
}

func (o *ownChain) put(ref eth.L2BlockRef) { o.blocks[ref.Number%ownChainBlocks] = ref }

// at is the own block at a number, as far as it is known.
func (o *ownChain) at(ctx context.Context, number uint64) follow.Lookup {
	o.mu.Lock()
	ref, head := o.blocks[number%ownChainBlocks], o.head
	o.mu.Unlock()
	switch {
	case number > head.Number || head.Hash == (common.Hash{}):
		return follow.NotFound()
	case ref.Number == number && ref.Hash != (common.Hash{}):
		return follow.Found(ref)
	}
	ctx, cancel := context.WithTimeout(ctx, ownChainTimeout)
	defer cancel()
	ref, err := o.engine.L2BlockRefByNumber(ctx, number)
	if err != nil {
		return follow.Failed()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.head != head {
		return follow.Failed() // the chain may have changed meanwhile
	}
	o.put(ref)
	return follow.Found(ref)
}
