package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/retry"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-service/secret"
)

const (
	conductorAttempts = 2
	conductorPause    = 50 * time.Millisecond
)

// conductorClient asks an op-conductor whether this sequencer leads, and hands it each block before it is published. The connection
// is made with the first call: the conductor waits for the node, so it may come up later. Safe for concurrent use.
type conductorClient struct {
	cfg      config.Conductor
	recorder rpc.Recorder
	hide     *secret.Hider
	log      log.Logger

	overridden atomic.Bool

	mu   sync.Mutex // guards conn
	conn *rpc.Client
}

var _ conductor.SequencerConductor = (*conductorClient)(nil)

// newConductor returns the conductor that the configuration asks for, or one that always lets this sequencer lead.
func (n *Node) newConductor() conductor.SequencerConductor {
	if !n.cfg.Conductor.Enabled {
		return new(conductor.NoOpConductor)
	}
	return &conductorClient{cfg: n.cfg.Conductor, recorder: n.metrics.NewRecorder("conductor"), hide: n.hide, log: n.log}
}

// Enabled implements conductor.SequencerConductor.
func (c *conductorClient) Enabled(context.Context) bool { return true }

// Leader tells whether this sequencer leads.
func (c *conductorClient) Leader(ctx context.Context) (leads bool, err error) {
	if c.overridden.Load() {
		return true, nil
	}
	if err := c.call(ctx, &leads, "conductor_leader"); err != nil {
		return false, fmt.Errorf("failed to check conductor for leadership: %w", err)
	}
	return leads, nil
}

// CommitUnsafePayload hands a block to the consensus of the conductors.
func (c *conductorClient) CommitUnsafePayload(ctx context.Context, payload *eth.ExecutionPayloadEnvelope) error {
	if c.overridden.Load() {
		return nil
	}
	return c.call(ctx, nil, "conductor_commitUnsafePayload", payload)
}

// OverrideLeader makes this sequencer lead without asking from now on, for a disaster in which there is no majority of conductors.
func (c *conductorClient) OverrideLeader(context.Context) error {
	c.overridden.Store(true)
	return nil
}

// Close ends the connection. A later call makes a new one.
func (c *conductorClient) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// call makes a request within the time limit, once more if it fails. It does not use upstream's client for it: with that come the
// consensus of the conductors and a database that nobody maintains.
func (c *conductorClient) call(ctx context.Context, result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	err := retry.Do0(ctx, conductorAttempts, retry.Fixed(conductorPause), func() error {
		conn, err := c.dial(ctx)
		if err != nil {
			return err
		}
		return conn.CallContext(ctx, result, method, args...)
	})
	return c.hide.Error(err)
}

func (c *conductorClient) dial(ctx context.Context) (*rpc.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	conn, err := rpc.DialOptions(ctx, c.cfg.URL, rpc.WithRecorder(c.recorder))
	if err != nil {
		return nil, fmt.Errorf("failed to dial conductor RPC (--conductor.rpc=%s): %w", secret.Shown(c.cfg.URL), err)
	}
	c.log.Info("Connected to the conductor", "url", secret.Shown(c.cfg.URL))
	c.conn = conn
	return conn, nil
}
