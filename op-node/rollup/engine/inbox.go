package engine

import (
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const (
	// inboxBytes bounds the memory of payloads that wait.
	inboxBytes = 500 << 20
	// maxOrphans bounds how many payloads of another branch are remembered.
	maxOrphans = 128
)

// inbox holds the unsafe payloads that wait, by number. All methods may be called from any goroutine.
type inbox struct {
	mu      sync.Mutex
	waiting *upstream.PayloadsQueue
	// orphans are payloads near the head that do not build on it. They belong to another branch, which becomes ours if
	// the head is taken back (walk-back, reorg); then readopt offers them again.
	orphans []*eth.ExecutionPayloadEnvelope
}

func newInbox(logger log.Logger) *inbox {
	return &inbox{waiting: upstream.NewPayloadsQueue(logger, inboxBytes, payloadBytes)}
}

// payloadBytes estimates the memory of a payload: transactions, a slice header for each, and a kilobyte for the rest.
func payloadBytes(envelope *eth.ExecutionPayloadEnvelope) uint64 {
	size := uint64(1000)
	for _, tx := range envelope.ExecutionPayload.Transactions {
		size += 24 + uint64(len(tx))
	}
	return size
}

// add keeps a payload. It refuses one that waits already and one that does not fit.
func (b *inbox) add(envelope *eth.ExecutionPayloadEnvelope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.Push(envelope)
}

// next drops the payloads that cannot extend the head any more and returns the lowest of the others. It extends the
// head directly unless gap is true.
func (b *inbox) next(head eth.L2BlockRef) (envelope *eth.ExecutionPayloadEnvelope, gap bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		envelope = b.waiting.Peek()
		if envelope == nil {
			return nil, false
		}
		payload := envelope.ExecutionPayload
		number := uint64(payload.BlockNumber)
		switch {
		case number > head.Number+1:
			return envelope, true
		case number == head.Number+1 && payload.ParentHash == head.Hash:
			return envelope, false
		case payload.BlockHash != head.Hash:
			b.orphan(envelope)
		}
		b.waiting.Pop()
	}
}

// above drops the payloads up to the number and returns the lowest of the others.
func (b *inbox) above(number uint64) *eth.ExecutionPayloadEnvelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		envelope := b.waiting.Peek()
		if envelope == nil || uint64(envelope.ExecutionPayload.BlockNumber) > number {
			return envelope
		}
		b.waiting.Pop()
	}
}

// drop forgets a payload, if it is still the lowest.
func (b *inbox) drop(envelope *eth.ExecutionPayloadEnvelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.Peek() == envelope {
		b.waiting.Pop()
	}
}

// readopt offers the payloads of other branches again, after the head went back.
func (b *inbox) readopt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, envelope := range b.orphans {
		// The only refusals are a duplicate and a full queue; neither loses anything that would be missed.
		_ = b.waiting.Push(envelope)
	}
	b.orphans = nil
}

// branch lists the payloads of another branch that lead to a block, the lowest first. They stay where they are.
func (b *inbox) branch(tip common.Hash) []*eth.ExecutionPayloadEnvelope {
	b.mu.Lock()
	defer b.mu.Unlock()
	byHash := make(map[common.Hash]*eth.ExecutionPayloadEnvelope, len(b.orphans))
	for _, envelope := range b.orphans {
		byHash[envelope.ExecutionPayload.BlockHash] = envelope
	}
	var path []*eth.ExecutionPayloadEnvelope
	for envelope := byHash[tip]; envelope != nil; envelope = byHash[envelope.ExecutionPayload.ParentHash] {
		path = append(path, envelope)
	}
	slices.Reverse(path)
	return path
}

func (b *inbox) orphan(envelope *eth.ExecutionPayloadEnvelope) {
	if len(b.orphans) == maxOrphans {
		b.orphans = append(b.orphans[:0], b.orphans[1:]...)
	}
	b.orphans = append(b.orphans, envelope)
}

// load tells what waits: count, bytes, and the id of the lowest.
func (b *inbox) load() (length, bytes uint64, next eth.BlockID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if envelope := b.waiting.Peek(); envelope != nil {
		next = envelope.ExecutionPayload.ID()
	}
	return uint64(b.waiting.Len()), b.waiting.MemSize(), next
}
