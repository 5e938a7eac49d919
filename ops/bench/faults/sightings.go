package faults

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/lightcl/op-node/ops/devnet/stack"
)

// sighting is what was seen of a follower since the last reset.
type sighting struct {
	// safeBack and l1Back are the most that the engine's safe label and the served current_l1 went back, in blocks; backs is
	// how often the safe label did.
	safeBack, l1Back uint64
	backs            int
	// answers are the statuses that were served, zero those of them with a label that is no block.
	answers, zero int
}

func (s sighting) zeros() float64 {
	if s.answers == 0 {
		return 0
	}
	return 100 * float64(s.zero) / float64(s.answers)
}

// sightings looks at a follower all the time.
type sightings struct {
	follower *stack.Follower

	mu            sync.Mutex
	now           sighting
	safe, highest uint64 // the safe label before, and the highest since the reset
	currentL1     uint64
}

const (
	labelInterval  = 10 * time.Millisecond
	statusInterval = 200 * time.Millisecond
)

func newSightings(f *stack.Follower) *sightings { return &sightings{follower: f} }

func (s *sightings) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, statusInterval) {
			s.status(ctx)
		}
	}()
	for sleep(ctx, labelInterval) {
		s.label()
	}
	<-done
}

func (s *sightings) label() {
	safe := s.follower.EL().Heads().Safe.Number
	s.mu.Lock()
	defer s.mu.Unlock()
	if safe < s.safe {
		s.now.backs++
	}
	s.safe, s.highest = safe, max(s.highest, safe)
	s.now.safeBack = max(s.now.safeBack, s.highest-safe)
}

func (s *sightings) status(ctx context.Context) {
	status, err := s.follower.SyncStatus(ctx)
	if err != nil {
		return // it is restarting
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.answers++
	for _, hash := range []common.Hash{status.UnsafeL2.Hash, status.SafeL2.Hash, status.LocalSafeL2.Hash, status.FinalizedL2.Hash,
		status.CurrentL1.Hash} {
		if hash == (common.Hash{}) {
			s.now.zero++
			break
		}
	}
	if status.CurrentL1.Number < s.currentL1 {
		s.now.l1Back = max(s.now.l1Back, s.currentL1-status.CurrentL1.Number)
	}
	s.currentL1 = max(s.currentL1, status.CurrentL1.Number)
}

// reset begins a phase.
func (s *sightings) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.highest, s.currentL1 = sighting{}, s.safe, 0
}

func (s *sightings) read() sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}
