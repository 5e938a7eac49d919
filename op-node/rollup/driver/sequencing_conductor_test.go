package driver_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
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

func (r *raft) CommitUnsafePayload(_ context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
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

// T31: a forced reset of 26 blocks while the conductor keeps the highest block ever committed.
func TestConductorAcrossAForcedReset(t *testing.T) {
	perform(t, func(s *stage) {
		r := newRaft()
		s.leader = r
		d := s.boot()
		target := s.diverge()
		s.give(target)
		s.wait(time.Second)
		dead := r.head()
		tip := target[len(target)-1].Ref
		s.source.says(target[0].Ref, s.own(6).Ref) // block 15, 25 blocks and more below
		s.until(20*time.Second, "the source's chain", func() bool { return s.status().LocalSafeL2 == target[0].Ref })
		require.NotEqual(s.t, tip, s.head())

		// Production goes on by itself, and the conductor's head is of the new chain as soon as that is the longer one.
		s.until(20*time.Second, "the conductor to be on the new chain", func() bool {
			head := r.head().ExecutionPayload
			own, err := s.el.L2BlockRefByNumber(context.Background(), uint64(head.BlockNumber))
			return err == nil && own.Hash == head.BlockHash && head.BlockNumber > dead.ExecutionPayload.BlockNumber
		})
		require.Equal(s.t, 1, s.counts.reorg("force_reset"))
		active, err := d.SequencerActive(context.Background())
		require.NoError(s.t, err)
		require.True(s.t, active)

		// Another leader for a moment; then this one again, as an op-conductor does it.
		r.set(func(r *raft) { r.leads = false })
		_, err = d.StopSequencer(context.Background())
		require.NoError(s.t, err)
		require.ErrorContains(s.t, d.StartSequencer(context.Background(), s.head().Hash), "not the leader")
		s.wait(5 * time.Second)
		d.OnUnsafeL2Payload(context.Background(), dead) // the old branch is offered again (T25)
		r.set(func(r *raft) { r.leads = true })
		s.wait(5 * time.Second)
		require.ErrorContains(s.t, d.StartSequencer(context.Background(), dead.ExecutionPayload.BlockHash), "does not match")
		require.NoError(s.t, d.StartSequencer(context.Background(), r.head().ExecutionPayload.BlockHash))
		before := s.head()
		s.wait(10 * time.Second)
		require.Greater(s.t, s.head().Number, before.Number+4)
		require.True(s.t, s.onChain(before))
		s.requireCommittedFirst(r)
	})
}

// Without the conductor nothing is published and nothing becomes the head; override leads all the same.
func TestConductorIsDown(t *testing.T) {
	perform(t, func(s *stage) {
		r := newRaft()
		s.leader = r
		d := s.boot()
		s.wait(20 * time.Second)
		require.True(s.t, func() bool { on, _ := d.ConductorEnabled(context.Background()); return on }())
		r.set(func(r *raft) { r.down = true })
		s.wait(3 * time.Second)
		held := s.head()
		s.wait(20 * time.Second)
		require.Equal(s.t, held, s.head())
		s.requireCommittedFirst(r)
		require.NoError(s.t, d.OverrideLeader(context.Background()))
		s.wait(10 * time.Second)
		require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "overdue blocks are made up for: %s", s)
		require.Equal(s.t, held.Hash, s.own(held.Number+1).Ref.ParentHash)
	})
}
