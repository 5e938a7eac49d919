package live

import (
	"context"
	"sync"
	"time"

	"github.com/lightcl/op-node/ops/bench/lag"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// sampleInterval is how often the labels are looked at. They are read in memory, by no call that would show in a count.
const sampleInterval = 2 * time.Millisecond

// histories are those of one node.
type histories struct{ unsafe, safe, finalized lag.History }

// sampler watches what the source shows and which labels the engines have.
type sampler struct {
	source *stack.Node
	leader histories

	mu      sync.Mutex
	engines []*stack.EL
	heads   []*histories
}

func newSampler(source *stack.Node) *sampler { return &sampler{source: source} }

// add watches one more engine.
func (s *sampler) add(el *stack.EL) *histories {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := new(histories)
	s.engines, s.heads = append(s.engines, el), append(s.heads, h)
	return h
}

func (s *sampler) run(ctx context.Context) {
	for wait(ctx, sampleInterval) {
		s.sample(ctx)
	}
}

func (s *sampler) sample(ctx context.Context) {
	now := time.Now()
	if status, err := s.source.SyncStatus(ctx); err == nil {
		s.leader.unsafe.Show(status.UnsafeL2.Number, now)
		s.leader.safe.Show(status.SafeL2.Number, now)
		s.leader.finalized.Show(status.FinalizedL2.Number, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, el := range s.engines {
		heads, now := el.Heads(), time.Now()
		s.heads[i].unsafe.Show(heads.Unsafe.Number, now)
		s.heads[i].safe.Show(heads.Safe.Number, now)
		s.heads[i].finalized.Show(heads.Finalized.Number, now)
	}
}
