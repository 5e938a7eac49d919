package testutil

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Conductor is an op-conductor, as far as a sequencer sees it, and the consensus behind it: it keeps the highest block
// that was committed. It is safe for concurrent use.
type Conductor struct {
	mu        sync.Mutex
	state     ConductorState
	latest    *eth.ExecutionPayloadEnvelope
	committed map[common.Hash]time.Time
}

// ConductorState is how a [Conductor] is doing; it is changed with [Conductor.Set].
type ConductorState struct {
	// Leads tells that this node is the leader; Down that the conductor cannot be reached; Overridden that it is not asked.
	Leads, Down, Overridden bool
	// Delay is how long a commit takes.
	Delay time.Duration
}

var _ conductor.SequencerConductor = (*Conductor)(nil)

// NewConductor makes a conductor of the leader.
func NewConductor() *Conductor {
	return &Conductor{state: ConductorState{Leads: true}, committed: make(map[common.Hash]time.Time)}
}

// Set changes how the conductor is doing.
func (c *Conductor) Set(change func(*ConductorState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

// State is how the conductor is doing.
func (c *Conductor) State() ConductorState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// CommittedAt is when a block was committed.
func (c *Conductor) CommittedAt(hash common.Hash) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.committed[hash]
	return at, ok
}

// Head is the highest block that was committed; nil if none was.
func (c *Conductor) Head() *eth.ExecutionPayloadEnvelope {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest
}

// Enabled implements conductor.SequencerConductor, as do the methods below.
func (c *Conductor) Enabled(context.Context) bool { return true }

// Leader tells whether the node may make blocks.
func (c *Conductor) Leader(context.Context) (bool, error) {
	state := c.State()
	if state.Down && !state.Overridden {
		return false, errConductorDown
	}
	return state.Leads || state.Overridden, nil
}

var errConductorDown = errors.New("connection refused")

// CommitUnsafePayload keeps a block of the leader.
func (c *Conductor) CommitUnsafePayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
	if delay := c.State().Delay; delay > 0 {
		if err := clock.SystemClock.SleepCtx(ctx, delay); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state.Overridden:
		return nil
	case c.state.Down:
		return errConductorDown
	case !c.state.Leads:
		return errors.New("node is not the leader")
	}
	c.committed[envelope.ExecutionPayload.BlockHash] = time.Now()
	if c.latest == nil || c.latest.ExecutionPayload.BlockNumber < envelope.ExecutionPayload.BlockNumber {
		c.latest = envelope
	}
	return nil
}

// OverrideLeader lets the node make blocks whatever the conductor says.
func (c *Conductor) OverrideLeader(context.Context) error {
	c.Set(func(s *ConductorState) { s.Overridden = true })
	return nil
}

// Close does nothing.
func (*Conductor) Close() {}
