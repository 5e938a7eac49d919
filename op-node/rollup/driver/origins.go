package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

const (
	// originPatience is how long a question for the next L1 origin waits for L1. An answer that comes later is there for
	// the block after.
	originPatience = 100 * time.Millisecond
	// originTimeout bounds the requests for one L1 origin.
	originTimeout = 10 * time.Second
)

// errOriginPending is the answer while L1 does not answer.
var errOriginPending = errors.New("waiting for L1")

// originBlocks offers L1 blocks as L1 origins. One is offered only once everything has been fetched that the first block
// with this origin takes: when L1 stalls, blocks go on with the origin before, instead of waiting half-way. And it is
// offered only if the own view does not know another block as canonical, so that blocks are built on the L1 that they
// are judged by. Safe for concurrent use.
type originBlocks struct {
	derive.L1Fetcher // remembers what it fetched
	view             l1View
	clock            clock.Clock
	ctx              context.Context

	mu     sync.Mutex
	latest *originFetch
	wg     sync.WaitGroup
}

// originFetch is the fetching of one block. ref and err may be read when done is closed.
type originFetch struct {
	number uint64
	done   chan struct{}
	ref    eth.L1BlockRef
	err    error
}

// newOriginBlocks offers the blocks of an L1 client. Requests end with ctx; wait for that with wait.
func newOriginBlocks(ctx context.Context, l1 derive.L1Fetcher, view l1View, clk clock.Clock) *originBlocks {
	return &originBlocks{L1Fetcher: l1, view: view, clock: clk, ctx: ctx}
}

// L1BlockRefByNumber returns a canonical L1 block. It is ethereum.NotFound above the head of the own view.
func (o *originBlocks) L1BlockRefByNumber(ctx context.Context, number uint64) (eth.L1BlockRef, error) {
	if head := o.view.Refs().Head; head.Hash != (common.Hash{}) && number > head.Number {
		return eth.L1BlockRef{}, ethereum.NotFound
	}
	fetch, fresh := o.fetch(number)
	if fresh {
		timer := o.clock.NewTimer(originPatience)
		defer timer.Stop()
		select {
		case <-fetch.done:
		case <-ctx.Done():
		case <-timer.Ch():
		}
	}
	select {
	case <-fetch.done:
		return fetch.ref, fetch.err
	default:
		return eth.L1BlockRef{}, fmt.Errorf("next L1 origin %d: %w", number, errOriginPending)
	}
}

// fetch returns the newest attempt to get the block, a fresh one if that was in vain.
func (o *originBlocks) fetch(number uint64) (f *originFetch, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.latest; f != nil && f.number == number && !o.vain(f) {
		return f, false
	}
	f = &originFetch{number: number, done: make(chan struct{})}
	o.latest = f
	o.wg.Go(func() {
		defer close(f.done)
		f.ref, f.err = o.get(number)
	})
	return f, true
}

// vain tells that an attempt failed, or that L1 moved on from its outcome.
func (o *originBlocks) vain(f *originFetch) bool {
	select {
	case <-f.done:
		return f.err != nil || o.view.Window().Canonical(f.ref.ID()) == follow.L1Mismatch
	default:
		return false
	}
}

// get asks L1 for the block and has the client remember what building on it takes.
func (o *originBlocks) get(number uint64) (eth.L1BlockRef, error) {
	ctx, cancel := context.WithTimeout(o.ctx, originTimeout)
	defer cancel()
	ref, err := o.L1Fetcher.L1BlockRefByNumber(ctx, number)
	if err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("next L1 origin %d: %w", number, err)
	}
	if o.view.Window().Canonical(ref.ID()) == follow.L1Mismatch {
		return eth.L1BlockRef{}, fmt.Errorf("next L1 origin: the L1 endpoint serves %s, which is not canonical: %w", ref, errOriginPending)
	}
	if _, _, err := o.L1Fetcher.FetchReceipts(ctx, ref.Hash); err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("receipts of the next L1 origin %s: %w", ref, err)
	}
	return ref, nil
}

// wait returns when all requests have ended, after ctx has.
func (o *originBlocks) wait() { o.wg.Wait() }
