package driver_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// raft is an op-conductor, as far as a sequencer sees it, and the consensus behind it: it keeps the highest block that
// was committed.
type raft struct {
	mu         sync.Mutex
	leads      bool
	overridden bool
	down       bool
	latest     *eth.ExecutionPayloadEnvelope
	committed  map[common.Hash]time.Time
	// delay is how long a commit takes.
	delay time.Duration
}

var _ conductor.SequencerConductor = (*raft)(nil)

func newRaft() *raft { return &raft{leads: true, committed: make(map[common.Hash]time.Time)} }

func (r *raft) Enabled(context.Context) bool { return true }

func (r *raft) Leader(context.Context) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down && !r.overridden {
		return false, errors.New("connection refused")
	}
	return r.leads || r.overridden, nil
}

func (r *raft) CommitUnsafePayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
	r.mu.Lock()
	delay := r.delay
	r.mu.Unlock()
	if delay > 0 {
		if err := clock.SystemClock.SleepCtx(ctx, delay); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.overridden:
		return nil
	case r.down:
		return errors.New("connection refused")
	case !r.leads:
		return errors.New("node is not the leader")
	}
	r.committed[envelope.ExecutionPayload.BlockHash] = time.Now()
	if r.latest == nil || r.latest.ExecutionPayload.BlockNumber < envelope.ExecutionPayload.BlockNumber {
		r.latest = envelope
	}
	return nil
}

func (r *raft) OverrideLeader(context.Context) error {
	r.set(func(r *raft) { r.overridden = true })
	return nil
}

func (*raft) Close() {}

func (r *raft) set(change func(*raft)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *raft) committedAt(hash common.Hash) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.committed[hash]
	return at, ok
}

func (r *raft) head() *eth.ExecutionPayloadEnvelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

// requireCommittedFirst checks that nothing was published, or became the head, that the conductor had not taken.
func (s *stage) requireCommittedFirst(r *raft) {
	s.t.Helper()
	for _, b := range s.net.since(s.start) {
		at, ok := r.committedAt(b.ref.Hash)
		require.True(s.t, ok, "block %s was published and not committed", b.ref)
		require.False(s.t, at.After(b.at))
	}
}
