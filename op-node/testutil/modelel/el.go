package modelel

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Engine is what the decorators of this package can stand in front of.
type Engine = engine.ExecEngine

// EL is a model of op-geth. Calls to it are answered one after the other, each at once and completely; nothing happens
// between them except what a test asks for. It is safe for concurrent use.
//
// Its state falls into what op-geth keeps on disk (blocks, the canonical chain, latest, finalized) and what it keeps in
// memory (everything else), see [EL.Restart].
type EL struct {
	cfg   *rollup.Config
	net   *Network // nil: no peers
	pace  pace
	log   *Log
	names func(common.Hash) string

	mu sync.Mutex

	// On disk.
	blocks    map[common.Hash]*stored
	canonical map[uint64]common.Hash
	head      common.Hash
	finalized common.Hash // zero: none yet
	snap      bool        // snap sync has yet to finish
	reth      bool        // behaves as op-reth does, see Reth

	// In memory.
	safe     common.Hash // zero: none yet
	headers  fifo[common.Hash, header]
	invalid  map[common.Hash]header // tip of a bad chain -> its first bad block
	hits     map[common.Hash]int    // how often that bad block was met
	building fifo[eth.PayloadID, *eth.ExecutionPayloadEnvelope]
	sync     *syncRun                                         // nil: not syncing
	buffered fifo[common.Hash, *eth.ExecutionPayloadEnvelope] // by parent; op-reth only
	pending  common.Hash                                      // the newest block that was put on the head; op-reth only

	// What tests arranged; survives everything.
	bad map[common.Hash]bool // blocks that fail execution
}

// stored is a block as the database has it.
type stored struct {
	Block
	stateless bool // the state after the block was lost
}

// header is what is remembered of a block that was announced and is not in the database.
type header struct {
	hash, parent common.Hash
	number       uint64
}

// Option adjusts an [EL].
type Option func(*EL)

// WithNetwork connects the engine to peers. It can then sync to blocks that it was not given, and other engines can
// sync to its canonical chain.
func WithNetwork(n *Network) Option { return func(el *EL) { el.net = n } }

// SnapSync starts the engine as op-geth starts with an empty database and --syncmode=snap: until an EL sync has
// completed, payloads are not executed and no block but genesis is served.
func SnapSync() Option { return func(el *EL) { el.snap = true } }

// SyncAfterCalls lets an EL sync finish just before the n-th engine_forkchoiceUpdated or engine_newPayload after the
// one that started it. Without this option or [SyncAfterTime], only [EL.CompleteSync] finishes a sync.
func SyncAfterCalls(n int) Option { return func(el *EL) { el.pace.calls = n } }

// SyncAfterTime lets an EL sync finish a while after it was started, by the given clock.
func SyncAfterTime(d time.Duration, now func() time.Time) Option {
	return func(el *EL) { el.pace.time, el.pace.now = d, now }
}

// Named sets how blocks are called in the call log.
func Named(names func(common.Hash) string) Option { return func(el *EL) { el.names = names } }

// New makes an engine whose database contains the given genesis block.
func New(cfg *rollup.Config, genesis *eth.ExecutionPayloadEnvelope, opts ...Option) *EL {
	hash := genesis.ExecutionPayload.BlockHash
	el := &EL{
		cfg:       cfg,
		names:     shortHash,
		blocks:    make(map[common.Hash]*stored),
		canonical: map[uint64]common.Hash{uint64(genesis.ExecutionPayload.BlockNumber): hash},
		head:      hash,
		bad:       make(map[common.Hash]bool),
	}
	for _, opt := range opts {
		opt(el)
	}
	el.log = newLog(el.names)
	ref, err := derive.PayloadToBlockRef(cfg, genesis.ExecutionPayload)
	if err != nil {
		panic(fmt.Sprintf("modelel: genesis: %v", err))
	}
	el.blocks[hash] = &stored{Block: Block{Ref: ref, Envelope: genesis}}
	el.forget()
	return el
}

// Log is the record of the calls that reached this engine.
func (el *EL) Log() *Log { return el.log }

// L2BlockRefByLabel returns latest, safe or finalized; a label that was never set is ethereum.NotFound.
func (el *EL) L2BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (ref eth.L2BlockRef, err error) {
	defer func() { el.log.lookup(ByLabel, string(label), ref, err) }()
	b, err := el.byLabel(ctx, label)
	return b.Ref, err
}

// L2BlockRefByHash returns any block in the database, canonical or not.
func (el *EL) L2BlockRefByHash(ctx context.Context, hash common.Hash) (ref eth.L2BlockRef, err error) {
	defer func() { el.log.lookup(ByHash, el.names(hash), ref, err) }()
	b, err := el.byHash(ctx, hash)
	return b.Ref, err
}

// L2BlockRefByNumber returns the canonical block with the given number.
func (el *EL) L2BlockRefByNumber(ctx context.Context, num uint64) (ref eth.L2BlockRef, err error) {
	defer func() { el.log.lookup(ByNumber, fmt.Sprint(num), ref, err) }()
	b, err := el.byNumber(ctx, num)
	return b.Ref, err
}

// PayloadByLabel is L2BlockRefByLabel for the whole block. It is not logged.
func (el *EL) PayloadByLabel(ctx context.Context, label eth.BlockLabel) (*eth.ExecutionPayloadEnvelope, error) {
	b, err := el.byLabel(ctx, label)
	return b.Envelope, err
}

// PayloadByHash is L2BlockRefByHash for the whole block. It is not logged.
func (el *EL) PayloadByHash(ctx context.Context, hash common.Hash) (*eth.ExecutionPayloadEnvelope, error) {
	b, err := el.byHash(ctx, hash)
	return b.Envelope, err
}

// PayloadByNumber is L2BlockRefByNumber for the whole block. It is not logged.
func (el *EL) PayloadByNumber(ctx context.Context, num uint64) (*eth.ExecutionPayloadEnvelope, error) {
	b, err := el.byNumber(ctx, num)
	return b.Envelope, err
}

// SystemConfigByL2Hash returns the system configuration that a block carries. It is not logged.
func (el *EL) SystemConfigByL2Hash(ctx context.Context, hash common.Hash) (eth.SystemConfig, error) {
	b, err := el.byHash(ctx, hash)
	if err != nil {
		return eth.SystemConfig{}, err
	}
	return derive.PayloadToSystemConfig(el.cfg, b.Envelope.ExecutionPayload)
}

func (el *EL) byLabel(ctx context.Context, label eth.BlockLabel) (Block, error) {
	return el.find(ctx, string(label), func() (common.Hash, error) {
		switch label {
		case eth.Unsafe:
			return el.head, nil
		case eth.Safe:
			return el.safe, nil
		case eth.Finalized:
			return el.finalized, nil
		default:
			return common.Hash{}, fmt.Errorf("label %q is not modelled", label)
		}
	})
}

func (el *EL) byHash(ctx context.Context, hash common.Hash) (Block, error) {
	return el.find(ctx, el.names(hash), func() (common.Hash, error) {
		if el.reth && !el.shows(hash) {
			return common.Hash{}, nil
		}
		return hash, nil
	})
}

func (el *EL) byNumber(ctx context.Context, num uint64) (Block, error) {
	return el.find(ctx, fmt.Sprint(num), func() (common.Hash, error) { return el.canonical[num], nil })
}

func (el *EL) find(ctx context.Context, what string, which func() (common.Hash, error)) (Block, error) {
	el.mu.Lock()
	defer el.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Block{}, err
	}
	el.settle(false)
	hash, err := which()
	if err != nil {
		return Block{}, err
	}
	b, ok := el.blocks[hash]
	if !ok {
		return Block{}, fmt.Errorf("block %s: %w", what, ethereum.NotFound)
	}
	return b.Block, nil
}

// Heads are the labels of an engine. A label that was never set is the zero reference.
type Heads struct {
	Latest, Safe, Finalized eth.L2BlockRef
}

// Heads returns the labels as they are now. It is not logged.
func (el *EL) Heads() Heads {
	el.mu.Lock()
	defer el.mu.Unlock()
	el.settle(false)
	return Heads{Latest: el.ref(el.head), Safe: el.ref(el.safe), Finalized: el.ref(el.finalized)}
}

// String shows the labels by the names that the engine has for its blocks.
func (el *EL) String() string {
	h := el.Heads()
	return fmt.Sprintf("latest=%s safe=%s finalized=%s", el.names(h.Latest.Hash), el.names(h.Safe.Hash), el.names(h.Finalized.Hash))
}

// Has says whether a block is in the database.
func (el *EL) Has(hash common.Hash) bool {
	el.mu.Lock()
	defer el.mu.Unlock()
	el.settle(false)
	_, ok := el.blocks[hash]
	return ok
}

func (el *EL) ref(hash common.Hash) eth.L2BlockRef {
	if b, ok := el.blocks[hash]; ok {
		return b.Ref
	}
	return eth.L2BlockRef{}
}

// Load puts blocks into the database without a call, parents first, and makes the last one the head. A block whose
// parent is missing is a mistake in a test and panics.
func (el *EL) Load(blocks ...Block) {
	el.mu.Lock()
	defer el.mu.Unlock()
	for _, b := range blocks {
		if _, ok := el.blocks[b.Ref.ParentHash]; !ok && b.Hash() != el.cfg.Genesis.L2.Hash {
			panic(fmt.Sprintf("modelel: parent of %s is not loaded", el.names(b.Hash())))
		}
		el.store(b)
	}
	if len(blocks) > 0 {
		el.snap = false
		el.setCanonical(blocks[len(blocks)-1].Hash())
	}
}

// SetLabels sets safe and finalized without a call; a zero hash leaves a label unset.
func (el *EL) SetLabels(safe, finalized common.Hash) {
	el.mu.Lock()
	defer el.mu.Unlock()
	el.safe, el.finalized = safe, finalized
}

// MarkInvalid makes the execution of a block fail from now on. A block that is in the database already stays valid, as
// it would in op-geth.
func (el *EL) MarkInvalid(hash common.Hash) {
	el.mu.Lock()
	defer el.mu.Unlock()
	el.bad[hash] = true
}

// DropState loses the state after a block, so that a payload on top of it is ACCEPTED and not executed. A forkchoice
// update to the block brings the state back.
func (el *EL) DropState(hash common.Hash) {
	el.mu.Lock()
	defer el.mu.Unlock()
	if b, ok := el.blocks[hash]; ok {
		b.stateless = true
	}
}

// Restart stops and starts the engine. What op-geth keeps in memory is gone: the EL sync, headers and bad blocks it
// was told of, payloads being built, and the safe label, which becomes finalized. For op-reth see [Reth].
func (el *EL) Restart() {
	el.mu.Lock()
	defer el.mu.Unlock()
	el.forget()
	if el.reth {
		el.dropSides()
		return
	}
	el.safe = el.finalized
}

// Rewind is op-geth's debug_setHead: a head above the number is replaced by its ancestor with the number, and then all
// blocks above that are deleted, on all branches, together with labels that pointed there. Safe becomes finalized in
// any case.
func (el *EL) Rewind(number uint64) {
	el.mu.Lock()
	defer el.mu.Unlock()
	if el.blocks[el.head].Ref.Number > number {
		el.setCanonical(el.canonical[number])
		maps.DeleteFunc(el.blocks, func(_ common.Hash, b *stored) bool { return b.Ref.Number > number })
		for _, label := range []*common.Hash{&el.safe, &el.finalized} {
			if _, ok := el.blocks[*label]; !ok {
				*label = common.Hash{}
			}
		}
	}
	if el.finalized != (common.Hash{}) && !el.reth {
		el.safe = el.finalized
	}
}

// forget empties the engine's memory. mu must be held, as for everything below.
func (el *EL) forget() {
	el.headers = fifo[common.Hash, header]{limit: maxHeaders}
	el.building = fifo[eth.PayloadID, *eth.ExecutionPayloadEnvelope]{limit: maxPayloads}
	el.invalid = make(map[common.Hash]header)
	el.hits = make(map[common.Hash]int)
	el.sync = nil
	el.buffered = fifo[common.Hash, *eth.ExecutionPayloadEnvelope]{limit: maxHeaders}
	el.pending = common.Hash{}
}

// store puts a block into the database.
func (el *EL) store(b Block) { el.blocks[b.Hash()] = &stored{Block: b} }

// setCanonical makes a block in the database the head, and the chain below it canonical. Peers can have the canonical
// chain, and nothing else.
func (el *EL) setCanonical(hash common.Hash) {
	b := el.blocks[hash]
	b.stateless = false
	for n := el.blocks[el.head].Ref.Number; n > b.Ref.Number; n-- {
		el.replace(n, common.Hash{})
	}
	el.head = hash
	for el.canonical[b.Ref.Number] != b.Hash() {
		el.replace(b.Ref.Number, b.Hash())
		if b.Ref.Number == el.cfg.Genesis.L2.Number {
			return
		}
		b = el.blocks[b.Ref.ParentHash]
	}
}

// replace makes a block, or none for the zero hash, the canonical one with a number.
func (el *EL) replace(number uint64, hash common.Hash) {
	if old, ok := el.canonical[number]; ok && el.net != nil {
		el.net.lose(el.blocks[old].Block)
	}
	if hash == (common.Hash{}) {
		delete(el.canonical, number)
		return
	}
	el.canonical[number] = hash
	if el.net != nil {
		el.net.gain(el.blocks[hash].Block)
	}
}

// fifo remembers a limited number of things by key, and the newest of those with equal keys.
type fifo[K comparable, V any] struct {
	limit int
	items []fifoItem[K, V]
}

type fifoItem[K comparable, V any] struct {
	key   K
	value V
}

func (q *fifo[K, V]) put(key K, value V) {
	q.items = append(q.items, fifoItem[K, V]{key, value})
	if len(q.items) > q.limit {
		q.items = q.items[1:]
	}
}

func (q *fifo[K, V]) get(key K) (V, bool) {
	for i := len(q.items) - 1; i >= 0; i-- {
		if q.items[i].key == key {
			return q.items[i].value, true
		}
	}
	var none V
	return none, false
}
