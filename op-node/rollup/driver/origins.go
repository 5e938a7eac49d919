package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

const (
	// originPatience is how long a question for the next L1 origin waits for L1. An answer that comes later is there for
	// the block after.
	originPatience = 100 * time.Millisecond
	// originTimeout bounds the requests for one L1 origin.
	originTimeout = 10 * time.Second
)

// errOriginPending is the answer while L1 has not answered yet.
var errOriginPending = errors.New("waiting for L1")

// originBlocks offers L1 blocks as L1 origins, without making anybody wait for L1. The next origin is offered only once
// everything has been fetched that the first block with it takes: when L1 stalls, blocks go on with the origin before,
// instead of stopping half-way. And it is offered only if the own view does not know another block as canonical, so that
// blocks are built on the L1 that they are judged by. Safe for concurrent use.
type originBlocks struct {
	derive.L1Fetcher // remembers what it fetched
	view             l1View
	clock            clock.Clock
	ctx              context.Context

	mu sync.Mutex
	// next and current are the newest attempts to get the next origin, by number, and the one of the head, by hash.
	next, current *originFetch
	// known are the newest blocks that were got either way. When overdue blocks are made, the origin selector is asked
	// about heads on both sides of a change of origins in quick succession: what it had it must not have to wait for.
	known lru.BasicLRU[common.Hash, eth.L1BlockRef]
	wg    sync.WaitGroup
}

// knownOrigins is how many L1 blocks are remembered.
const knownOrigins = 16

// originFetch is an attempt to get one block. ref and err may be read when done is closed.
type originFetch struct {
	wanted eth.BlockID // of which one part is known
	done   chan struct{}
	ref    eth.L1BlockRef
	err    error
}

// newOriginBlocks offers the blocks of an L1 client. Requests end with ctx; wait for that with wait.
func newOriginBlocks(ctx context.Context, l1 derive.L1Fetcher, view l1View, clk clock.Clock) *originBlocks {
	return &originBlocks{L1Fetcher: l1, view: view, clock: clk, ctx: ctx,
		known: lru.NewBasicLRU[common.Hash, eth.L1BlockRef](knownOrigins)}
}

// L1BlockRefByNumber returns a canonical L1 block. It is ethereum.NotFound above the head of the own view.
func (o *originBlocks) L1BlockRefByNumber(ctx context.Context, number uint64) (eth.L1BlockRef, error) {
	if head := o.view.Refs().Head; head.Hash != (common.Hash{}) && number > head.Number {
		return eth.L1BlockRef{}, ethereum.NotFound
	}
	fetch, before := o.fetch(&o.next, eth.BlockID{Number: number}, o.getNext)
	if fetch != before {
		o.await(ctx, fetch)
	}
	return fetch.outcome(before)
}

// await waits a little for an attempt.
func (o *originBlocks) await(ctx context.Context, fetch *originFetch) {
	timer := o.clock.NewTimer(originPatience)
	defer timer.Stop()
	select {
	case <-fetch.done:
	case <-ctx.Done():
	case <-timer.Ch():
	}
}

// OnEvent gets the L1 origin of a head that did not come from here, before the origin selector asks for it. It
// implements event.Deriver.
func (o *originBlocks) OnEvent(ctx context.Context, ev event.Event) bool {
	x, ok := ev.(upstream.ForkchoiceUpdateEvent)
	if !ok {
		return false
	}
	o.prepare(ctx, x.UnsafeL2Head.L1Origin.Hash)
	return true
}

// prepare gets the L1 origin of a head, if it is not known, and waits a little for it.
func (o *originBlocks) prepare(ctx context.Context, hash common.Hash) {
	if _, known := o.recall(hash); known {
		return
	}
	if fetch, before := o.fetch(&o.current, eth.BlockID{Hash: hash}, o.getCurrent); fetch != before {
		o.await(ctx, fetch)
	}
}

// recall returns a block that was got lately.
func (o *originBlocks) recall(hash common.Hash) (eth.L1BlockRef, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known.Get(hash)
}

func (o *originBlocks) remember(ref eth.L1BlockRef) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known.Add(ref.Hash, ref)
}

// L1BlockRefByHash returns an L1 block, canonical or not. It does not wait at all: the origin selector asks with its lock
// held, which the making of blocks waits for.
func (o *originBlocks) L1BlockRefByHash(_ context.Context, hash common.Hash) (eth.L1BlockRef, error) {
	if ref, ok := o.recall(hash); ok {
		return ref, nil
	}
	fetch, before := o.fetch(&o.current, eth.BlockID{Hash: hash}, o.getCurrent)
	return fetch.outcome(before)
}

// outcome is what came of an attempt so far; while that is nothing, what came of the one before.
func (f *originFetch) outcome(before *originFetch) (eth.L1BlockRef, error) {
	select {
	case <-f.done:
		return f.ref, f.err
	default:
	}
	if before != nil && before != f && before.err != nil {
		return eth.L1BlockRef{}, before.err
	}
	return eth.L1BlockRef{}, fmt.Errorf("L1 origin %s: %w", f.wanted, errOriginPending)
}

// fetch returns the newest attempt to get a block, a new one if that was in vain, and what it comes after.
func (o *originBlocks) fetch(slot **originFetch, wanted eth.BlockID, get func(context.Context, eth.BlockID) (eth.L1BlockRef, error)) (now, before *originFetch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before = *slot
	if before != nil && before.wanted != wanted {
		before = nil
	}
	if before != nil && !o.vain(before) {
		return before, before
	}
	now = &originFetch{wanted: wanted, done: make(chan struct{})}
	*slot = now
	o.wg.Go(func() {
		defer close(now.done)
		ctx, cancel := context.WithTimeout(o.ctx, originTimeout)
		defer cancel()
		if now.ref, now.err = get(ctx, wanted); now.err == nil {
			o.remember(now.ref)
		}
	})
	return now, before
}

// vain tells that an attempt failed, or that L1 moved on from its outcome.
func (o *originBlocks) vain(f *originFetch) bool {
	select {
	case <-f.done:
		return f.err != nil || (f.wanted.Hash == common.Hash{} && o.gone(f.ref))
	default:
		return false
	}
}

func (o *originBlocks) gone(ref eth.L1BlockRef) bool {
	return o.view.Window().Canonical(ref.ID()) == follow.L1Mismatch
}

// getNext asks L1 for a block and has the client remember what it takes to build on it.
func (o *originBlocks) getNext(ctx context.Context, wanted eth.BlockID) (eth.L1BlockRef, error) {
	ref, err := o.L1Fetcher.L1BlockRefByNumber(ctx, wanted.Number)
	if err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("next L1 origin %d: %w", wanted.Number, err)
	}
	if o.gone(ref) {
		return eth.L1BlockRef{}, fmt.Errorf("next L1 origin: the L1 endpoint serves %s, which is not canonical: %w", ref, errOriginPending)
	}
	if _, _, err := o.L1Fetcher.FetchReceipts(ctx, ref.Hash); err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("receipts of the next L1 origin %s: %w", ref, err)
	}
	return ref, nil
}

func (o *originBlocks) getCurrent(ctx context.Context, wanted eth.BlockID) (eth.L1BlockRef, error) {
	ref, err := o.L1Fetcher.L1BlockRefByHash(ctx, wanted.Hash)
	if err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("L1 origin %s of the head: %w", wanted.Hash, err)
	}
	return ref, nil
}

// wait returns when all requests have ended, after ctx has.
func (o *originBlocks) wait() { o.wg.Wait() }

// originSelector chooses L1 origins that L1 has. Upstream's selector keeps the next one for as long as the head stays on
// the one before: after an L1 reorg it would go on to offer what is gone.
type originSelector struct {
	*sequencing.L1OriginSelector
	blocks *originBlocks
}

// FindL1Origin is the L1 origin of the block after a head.
func (s *originSelector) FindL1Origin(ctx context.Context, head eth.L2BlockRef) (eth.L1BlockRef, error) {
	origin, err := s.L1OriginSelector.FindL1Origin(ctx, head)
	if err != nil && !errors.Is(err, sequencing.ErrNextL1OriginOrphaned) || !s.blocks.gone(origin) {
		return origin, err
	}
	s.ResetOrigins()
	s.blocks.prepare(ctx, head.L1Origin.Hash)
	return s.L1OriginSelector.FindL1Origin(ctx, head)
}
