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
	// ownChainBlocks is how many blocks of the local chain are remembered.
	ownChainBlocks = 4096
	// ownChainTimeout bounds a look-up in the engine.
	ownChainTimeout = 2 * time.Second
)

// ownChain knows the blocks of the local chain by number, to tell how the heads of sources stand to it and to each other. It learns the heads that the engine controller commits and asks the engine for others. It is safe for
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

// remembered is the block at a number without a call; ok is false if that is not known.
func (o *ownChain) remembered(number uint64) (at follow.Lookup, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ref := o.blocks[number%ownChainBlocks]
	switch {
	case number > o.head.Number || o.head.Hash == (common.Hash{}):
		return follow.NotFound(), true
	case ref.Number == number && ref.Hash != (common.Hash{}):
		return follow.Found(ref), true
	default:
		return follow.Failed(), false
	}
}

// read asks the engine for the block at a number. What it says counts only while it stands on the local chain: it may have
// moved to a sync target, or have lost its head.
func (o *ownChain) read(ctx context.Context, number uint64) follow.Lookup {
	o.mu.Lock()
	head := o.head
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, ownChainTimeout)
	defer cancel()
	ref, err := o.engine.L2BlockRefByNumber(ctx, number)
	if err != nil || ref.Number != number {
		return follow.Failed()
	}
	if at, err := o.engine.L2BlockRefByNumber(ctx, head.Number); err != nil || at != head {
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
