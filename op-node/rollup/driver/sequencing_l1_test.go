package driver_test

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	optypes "github.com/ethereum-optimism/optimism/op-core/types"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// l1Endpoint is an L1 RPC endpoint, and a client that remembers headers and receipts by hash, as the real one does.
type l1Endpoint struct {
	mu     sync.Mutex
	branch *modelel.L1Branch
	start  time.Time
	// behind is how many blocks the endpoint lacks.
	behind uint64
	// stalled: calls hang until they are given up.
	stalled bool
	// delay is how long every call takes.
	delay time.Duration
	kept  map[common.Hash]bool
}

// l1Timeout is when the client gives a call up: before the node does, so that it is not left to chance who does.
const l1Timeout = 9700 * time.Millisecond

func (l *l1Endpoint) set(change func(*l1Endpoint)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// has tells whether a block is canonical.
func (l *l1Endpoint) has(id eth.BlockID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.branch.Block(id.Number).ID() == id
}

// call waits as a call does, and returns the branch and the head to answer from.
func (l *l1Endpoint) call(ctx context.Context) (*modelel.L1Branch, uint64, error) {
	l.mu.Lock()
	stalled, delay := l.stalled, l.delay
	l.mu.Unlock()
	if stalled {
		delay = time.Hour
	}
	ctx, cancel := context.WithTimeout(ctx, l1Timeout)
	defer cancel()
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(delay):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	head := uint64(time.Since(l.start) / l1BlockTime)
	return l.branch, head - min(head, l.behind), nil
}

// byHash finds a block that the endpoint has.
func (l *l1Endpoint) byHash(ctx context.Context, hash common.Hash) (modelel.L1Block, error) {
	l.mu.Lock()
	kept, branch := l.kept[hash], l.branch
	l.mu.Unlock()
	head := uint64(time.Since(l.start) / l1BlockTime)
	if !kept {
		var err error
		if branch, head, err = l.call(ctx); err != nil {
			return modelel.L1Block{}, err
		}
	}
	for _, b := range branch.Blocks(0, head) {
		if b.Ref.Hash == hash {
			l.set(func(l *l1Endpoint) { l.kept[hash] = true })
			return b, nil
		}
	}
	return modelel.L1Block{}, ethereum.NotFound
}

func (l *l1Endpoint) L1BlockRefByNumber(ctx context.Context, number uint64) (eth.L1BlockRef, error) {
	branch, head, err := l.call(ctx)
	switch {
	case err != nil:
		return eth.L1BlockRef{}, err
	case number > head:
		return eth.L1BlockRef{}, ethereum.NotFound
	}
	ref := branch.Block(number).Ref
	l.set(func(l *l1Endpoint) { l.kept[ref.Hash] = true })
	return ref, nil
}

func (l *l1Endpoint) L1BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L1BlockRef, error) {
	branch, head, err := l.call(ctx)
	if err != nil {
		return eth.L1BlockRef{}, err
	}
	if label == eth.Finalized {
		head -= min(head, 10)
	}
	return branch.Block(head).Ref, nil
}

func (l *l1Endpoint) L1BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L1BlockRef, error) {
	b, err := l.byHash(ctx, hash)
	return b.Ref, err
}

func (l *l1Endpoint) InfoByHash(ctx context.Context, hash common.Hash) (eth.BlockInfo, error) {
	b, err := l.byHash(ctx, hash)
	if err != nil {
		return nil, err
	}
	return b.Info, nil
}

func (l *l1Endpoint) FetchReceipts(ctx context.Context, hash common.Hash) (eth.BlockInfo, optypes.Receipts, error) {
	receipts := hash
	receipts[0] ^= 0xff
	l.mu.Lock()
	kept := l.kept[receipts]
	l.mu.Unlock()
	if !kept {
		if _, _, err := l.call(ctx); err != nil {
			return nil, nil, err
		}
		l.set(func(l *l1Endpoint) { l.kept[receipts] = true })
	}
	b, err := l.byHash(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	return b.Info, nil, nil
}

func (l *l1Endpoint) InfoAndTxsByHash(ctx context.Context, hash common.Hash) (eth.BlockInfo, types.Transactions, error) {
	b, err := l.byHash(ctx, hash)
	return b.Info, nil, err
}

// Fetch serves the view of L1.
func (l *l1Endpoint) Fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
	branch, head, err := l.call(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]eth.L1BlockRef, len(numbers))
	for i, n := range numbers {
		if n <= head {
			out[i] = branch.Block(n).Ref
		}
	}
	return out, nil
}
