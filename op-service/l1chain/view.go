package l1chain

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// fetcher answers, aligned with the numbers, which blocks are canonical there; a zero ref for a number it does not have.
type fetcher interface {
	Fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error)
}

type recorder interface {
	// RecordL1ViewHits counts block ids that were answered from memory.
	RecordL1ViewHits(n int)
	// RecordL1ViewMisses counts block ids for which L1 had to be asked.
	RecordL1ViewMisses(n int)
	// RecordL1ReorgDepth tells how many blocks an L1 reorg replaced.
	RecordL1ReorgDepth(depth uint64)
}

type clock interface {
	Now() time.Time
}

// NullMetrics records nothing.
type NullMetrics struct{}

// RecordL1ViewHits does nothing.
func (NullMetrics) RecordL1ViewHits(int) {}

// RecordL1ViewMisses does nothing.
func (NullMetrics) RecordL1ViewMisses(int) {}

// RecordL1ReorgDepth does nothing.
func (NullMetrics) RecordL1ReorgDepth(uint64) {}

// maxAttempts is how often in a row L1 is asked again when its answer does not link to the view, as happens when another
// backend answers than the one that the head came from.
const maxAttempts = 3

var (
	errUnlinked         = errors.New("the L1 endpoint answers with blocks that do not link to its own head")
	errFinalityConflict = errors.New("the chain of the new L1 head lacks the finalized L1 block")
	errOtherNetwork     = errors.New("the chain of the new L1 head is that of another network: it lacks the L1 block that the rollup starts from")
	// errUncertified is between place and connect.
	errUncertified = errors.New("the head has yet to be certified")
)

// View is what the node takes for canonical L1.
//
// OnHead must be called from one goroutine; everything else may be called from any, at any time. No call waits for
// another one's L1 request, but a Judge that has to ask L1 itself for that of an earlier Judge, and likewise a LookUp. The start of a node is
// quick if it does not wait for the first signals: ask for the latest and the finalized block once and pass them on.
type View struct {
	cfg     Config
	fetcher fetcher
	log     log.Logger
	metrics recorder
	clock   clock

	// detached is whether the last head could not be connected, rival is a head that is not believed yet. Only OnHead
	// touches them.
	detached bool
	rival    rival

	// judging and lookups are where Judge and LookUp ask L1.
	judging, lookups *desk

	mu     sync.Mutex // held for work in memory only, never during a request
	window Window
	// reorgs counts the times that blocks were dropped from the window, so that answers of before are recognized.
	reorgs          uint64
	safe, finalized eth.L1BlockRef
	// final has canonical hashes at or below finality, for good. tentative has those that were above finality and below
	// the reach of the window when they were asked for; a reorg makes them void.
	final, tentative lru.BasicLRU[uint64, remembered]
	wants            wants
}

// New makes an empty view. It starts no goroutine and calls nobody.
func New(cfg Config, fetcher fetcher, log log.Logger, metrics recorder, clock clock) (*View, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &View{
		cfg:       cfg,
		fetcher:   fetcher,
		log:       log,
		metrics:   metrics,
		clock:     clock,
		judging:   newDesk(),
		lookups:   newDesk(),
		final:     lru.NewBasicLRU[uint64, remembered](cfg.Keep),
		tentative: lru.NewBasicLRU[uint64, remembered](cfg.Keep),
		wants:     newWants(),
	}, nil
}

// Refs are the L1 blocks with a label. A zero ref is one that the view has not heard of yet.
type Refs struct {
	Head, Safe, Finalized eth.L1BlockRef
}

// Refs returns the labelled blocks as they are now, of one fork as far as the window reaches down to them.
func (v *View) Refs() Refs {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Refs{Head: v.window.Head(), Safe: v.safe, Finalized: v.finalized}
}

// Window returns the newest canonical blocks as they are now.
func (v *View) Window() Window {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.window
}

// OnSafe takes the block that L1 labels safe. One that contradicts the window, is above its head, or is older than the
// one known comes from a backend that lags or stands on another fork, and is left out. One below the window counts if L1
// has it on one chain with the window: L1 is asked for that.
func (v *View) OnSafe(ctx context.Context, ref eth.L1BlockRef) { v.onLabel(ctx, ref, &v.safe) }

// OnFinalized takes the block that L1 labels finalized; the same kinds are left out as by OnSafe. It tells whether finality
// moved. A block that is left out only because the view has no head yet, or because L1 did not answer, makes the view want
// L1's finality with the next head.
func (v *View) OnFinalized(ctx context.Context, ref eth.L1BlockRef) bool {
	moved, answered := v.onLabel(ctx, ref, &v.finalized)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case moved:
		v.wants.finality = 0
	case !answered:
		v.wants.finality = max(v.wants.finality, ref.Number)
	}
	return moved
}

// onLabel moves a label forward to a block that is on the chain of the window. It tells whether that could be found out.
func (v *View) onLabel(ctx context.Context, ref eth.L1BlockRef, label *eth.L1BlockRef) (moved, answered bool) {
	v.mu.Lock()
	news := !unknown(ref.ID()) && ref.Number > label.Number
	answer := v.window.Canonical(ref.ID())
	v.mu.Unlock()
	if !news || answer == follow.L1Mismatch || answer == follow.L1Behind {
		return false, true
	}
	if answer == follow.L1Unavailable && !v.beneath(ctx, ref.ID()) {
		return false, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if answer := v.window.Canonical(ref.ID()); answer == follow.L1Mismatch || answer == follow.L1Behind || ref.Number <= label.Number {
		return false, true
	}
	*label = ref
	return true, true
}

// beneath asks L1 whether a block is on the chain of the window, beneath it.
func (v *View) beneath(ctx context.Context, id eth.BlockID) bool {
	for range maxAttempts {
		v.mu.Lock()
		link, reorgs := v.window.link(), v.reorgs
		v.mu.Unlock()
		if unknown(link) {
			return false
		}
		refs, err := v.fetch(ctx, []uint64{id.Number, link.Number})
		if err != nil {
			return false
		}
		v.mu.Lock()
		same := v.reorgs == reorgs
		v.mu.Unlock()
		if same && refs[1].ID() == link {
			return refs[0].ID() == id
		}
	}
	return false
}

// fetch asks L1 for blocks by number, with as many requests as it takes, each with a timeout of its own. With an error come
// the refs that there are, if the rest was merely refused.
func (v *View) fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
	all := make([]eth.L1BlockRef, 0, len(numbers))
	for batch := range slices.Chunk(numbers, v.cfg.MaxBatch) {
		refs, err := v.fetchBatch(ctx, batch)
		if err != nil {
			return append(all, refs...), err
		}
		if len(refs) != len(batch) {
			return nil, errors.New("the number of answers is not the number of questions")
		}
		all = append(all, refs...)
	}
	return all, nil
}

func (v *View) fetchBatch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.FetchTimeout)
	defer cancel()
	return v.fetcher.Fetch(ctx, numbers)
}
