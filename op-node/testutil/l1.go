package testutil

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	optypes "github.com/ethereum-optimism/optimism/op-core/types"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// L1 is a version of L1 up to a head: as it is, or as a node sees it.
type L1 struct {
	Branch *modelel.L1Branch
	Head   uint64
	// Down tells that nobody can be asked.
	Down bool
	// Final is the number of the block that is final; nil is the head.
	Final *uint64
}

// Finalized is the number of the block that is final.
func (l *L1) Finalized() uint64 {
	if l.Final != nil {
		return *l.Final
	}
	return l.Head
}

// Canonical answers as the view of L1 does. No block is without a hash.
func (l *L1) Canonical(id eth.BlockID) follow.L1Answer {
	switch {
	case l.Down, id.Hash == common.Hash{}:
		return follow.L1Unavailable
	case id.Number > l.Head:
		return follow.L1Behind
	case l.Branch.Block(id.Number).ID() == id:
		return follow.L1Canonical
	default:
		return follow.L1Mismatch
	}
}

// Ref is what a view of L1 has of a block: no more than its id, here.
func (l *L1) Ref(id eth.BlockID) eth.L1BlockRef { return L1Ref(id) }

// Ask does nothing: all that can be known is known.
func (*L1) Ask(eth.BlockID) {}

// L1Ref is a reference to an L1 block of which the id is known.
func L1Ref(id eth.BlockID) eth.L1BlockRef { return eth.L1BlockRef{Hash: id.Hash, Number: id.Number} }

// L1Endpoint is an L1 whose head follows the time, behind an RPC endpoint, and a client that remembers headers and receipts
// by hash, as the one in production does. It is safe for concurrent use.
type L1Endpoint struct {
	start     time.Time
	blockTime time.Duration

	mu    sync.Mutex
	state L1State
	kept  map[common.Hash]bool
	calls int
	next  int // backend
}

// L1State is how an [L1Endpoint] is doing; it is changed with [L1Endpoint.Set].
type L1State struct {
	// Branch is the version of L1 that is canonical.
	Branch *modelel.L1Branch
	// Behind is how many blocks the endpoint lacks, Final how many blocks below its head are not final.
	Behind, Final uint64
	// Delay is how long every call takes.
	Delay time.Duration
	// Stalled calls hang until they are given up; those to an endpoint that is Down fail at once.
	Stalled, Down bool
	// Backends answer in turn, as behind a load balancer; without any, the endpoint itself does.
	Backends []L1Backend
	// Absurd replaces the blocks that labels stand for, as of an endpoint that has lost its mind.
	Absurd func(ref eth.L1BlockRef) eth.L1BlockRef
}

// L1Backend is one of several behind an endpoint: another version of L1, or a part of it.
type L1Backend struct {
	Branch *modelel.L1Branch
	Behind uint64
}

// l1Timeout is when the client gives a call up: before a node does, so that it is not left to chance who does.
const l1Timeout = 9700 * time.Millisecond

// errL1Down is the transport error of an endpoint that is down.
var errL1Down = modelel.ErrDropped

// NewL1Endpoint makes an L1 that begins now, with the main branch of a chain.
func NewL1Endpoint(chain *modelel.Chain, blockTime time.Duration) *L1Endpoint {
	return &L1Endpoint{
		start: time.Now(), blockTime: blockTime, state: L1State{Branch: chain.L1(), Final: 10}, kept: make(map[common.Hash]bool),
	}
}

// Set changes how the endpoint is doing.
func (l *L1Endpoint) Set(change func(*L1State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
}

// State is how the endpoint is doing.
func (l *L1Endpoint) State() L1State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Branch is the version of L1 that is canonical.
func (l *L1Endpoint) Branch() *modelel.L1Branch { return l.State().Branch }

// Head is the number of the newest block of L1, whatever the endpoint says.
func (l *L1Endpoint) Head() uint64 { return uint64(time.Since(l.start) / l.blockTime) }

// Has tells whether a block is canonical.
func (l *L1Endpoint) Has(id eth.BlockID) bool { return l.Branch().Block(id.Number).ID() == id }

// Calls is how many calls reached the endpoint.
func (l *L1Endpoint) Calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// call waits as a call does, and returns the branch and the head to answer from.
func (l *L1Endpoint) call(ctx context.Context) (*modelel.L1Branch, uint64, error) {
	state := l.State()
	delay := state.Delay
	if state.Stalled {
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
	l.calls++
	if l.state.Down {
		return nil, 0, errL1Down
	}
	from := L1Backend{l.state.Branch, l.state.Behind}
	if n := len(l.state.Backends); n > 0 {
		from = l.state.Backends[l.next%n]
		l.next++
	}
	head := l.Head()
	return from.Branch, head - min(head, from.Behind), nil
}

func (l *L1Endpoint) has(key common.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept[key]
}

func (l *L1Endpoint) keep(key common.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[key] = true
}

// byHash finds a block that the endpoint has, or the client.
func (l *L1Endpoint) byHash(ctx context.Context, hash common.Hash) (modelel.L1Block, error) {
	branch, head := l.Branch(), l.Head()
	if !l.has(hash) {
		var err error
		if branch, head, err = l.call(ctx); err != nil {
			return modelel.L1Block{}, err
		}
	}
	for _, b := range branch.Blocks(0, head) {
		if b.Ref.Hash == hash {
			l.keep(hash)
			return b, nil
		}
	}
	return modelel.L1Block{}, ethereum.NotFound
}

// L1BlockRefByNumber, and the methods below, are upstream's client of L1.
func (l *L1Endpoint) L1BlockRefByNumber(ctx context.Context, number uint64) (eth.L1BlockRef, error) {
	branch, head, err := l.call(ctx)
	switch {
	case err != nil:
		return eth.L1BlockRef{}, err
	case number > head:
		return eth.L1BlockRef{}, ethereum.NotFound
	}
	ref := branch.Block(number).Ref
	l.keep(ref.Hash)
	return ref, nil
}

// L1BlockRefByLabel returns the head, or the block that is final.
func (l *L1Endpoint) L1BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L1BlockRef, error) {
	branch, head, err := l.call(ctx)
	if err != nil {
		return eth.L1BlockRef{}, err
	}
	state := l.State()
	if label == eth.Finalized {
		head -= min(head, state.Final)
	}
	ref := branch.Block(head).Ref
	if state.Absurd != nil {
		ref = state.Absurd(ref)
	}
	return ref, nil
}

// L1BlockRefByHash asks only for blocks that the client does not know.
func (l *L1Endpoint) L1BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L1BlockRef, error) {
	b, err := l.byHash(ctx, hash)
	return b.Ref, err
}

// InfoByHash asks only for blocks that the client does not know.
func (l *L1Endpoint) InfoByHash(ctx context.Context, hash common.Hash) (eth.BlockInfo, error) {
	b, err := l.byHash(ctx, hash)
	if err != nil {
		return nil, err
	}
	return b.Info, nil
}

// FetchReceipts finds no receipts in any block.
func (l *L1Endpoint) FetchReceipts(ctx context.Context, hash common.Hash) (eth.BlockInfo, optypes.Receipts, error) {
	receipts := hash
	receipts[0] ^= 0xff
	if !l.has(receipts) {
		if _, _, err := l.call(ctx); err != nil {
			return nil, nil, err
		}
		l.keep(receipts)
	}
	b, err := l.byHash(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	return b.Info, nil, nil
}

// InfoAndTxsByHash finds no transactions in any block.
func (l *L1Endpoint) InfoAndTxsByHash(ctx context.Context, hash common.Hash) (eth.BlockInfo, types.Transactions, error) {
	b, err := l.byHash(ctx, hash)
	return b.Info, nil, err
}

// Fetch serves the view of L1.
func (l *L1Endpoint) Fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
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
