//go:build !race

package e2e

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	conductorrpc "github.com/ethereum-optimism/optimism/op-conductor/rpc"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// conductor is what an op-conductor serves to its sequencer. It notes the blocks it is handed.
type conductor struct {
	mu        sync.Mutex
	leads     bool
	committed map[common.Hash]bool
}

// Both sides of the protocol are upstream's: the node's client uses this one.
var _ interface {
	Leader(ctx context.Context) (bool, error)
	CommitUnsafePayload(ctx context.Context, payload *eth.ExecutionPayloadEnvelope) error
} = (*conductorrpc.APIClient)(nil)

// Leader serves conductor_leader.
func (c *conductor) Leader(context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads, nil
}

// CommitUnsafePayload serves conductor_commitUnsafePayload.
func (c *conductor) CommitUnsafePayload(_ context.Context, payload *eth.ExecutionPayloadEnvelope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leads {
		return errors.New("node is not the leader")
	}
	c.committed[payload.ExecutionPayload.BlockHash] = true
	return nil
}

func (c *conductor) lead(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads = on
}

func (c *conductor) has(hash common.Hash) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.committed[hash]
}

// Every block is the conductor's before it is the node's head; without leadership there are no more, and the conductor
// can start the node again by the hash of its head.
func TestLightSequencerUnderAConductor(t *testing.T) {
	t.Parallel()
	// The light sequencer is alone: nothing of the devnet's other sequencer reaches it.
	s := startStack(t, func(o *stack.Options) { o.Batcher, o.P2P, o.DevP2P = false, false, false })
	c := &conductor{leads: true, committed: make(map[common.Hash]bool)}
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName(conductorrpc.RPCNamespace, c))
	endpoint := httptest.NewServer(server)
	t.Cleanup(endpoint.Close)
	light := addLight(t, s, stack.LightSpec{Name: "led", Extra: []string{"--conductor.enabled", "--conductor.rpc=" + endpoint.URL}})
	var enabled bool
	require.NoError(t, call(t, light, &enabled, "admin_conductorEnabled"))
	require.True(t, enabled)
	// With a conductor it waits to be started, whatever the flags say. It refuses until it knows its heads.
	waitFor(t, 10*time.Second, "start", func() bool {
		return call(t, light, nil, "admin_startSequencer", s.Rollup().Genesis.L2.Hash) == nil
	})
	waitFor(t, 30*time.Second, "blocks", func() bool { return heads(t, light)[mirror.Unsafe].Number > 5 })

	c.lead(false)
	time.Sleep(2 * time.Second)
	head := heads(t, light)[mirror.Unsafe]
	time.Sleep(3 * time.Second)
	require.Equal(t, head, heads(t, light)[mirror.Unsafe], "no block without leadership")
	for number := uint64(1); number <= head.Number; number++ {
		block, ok := light.EL().Canonical(number)
		require.True(t, ok)
		require.True(t, c.has(block.Hash), "block %d was not committed", number)
	}
	var stopped common.Hash
	require.NoError(t, call(t, light, &stopped, "admin_stopSequencer"))
	require.Equal(t, head.Hash, stopped)
	require.ErrorContains(t, call(t, light, nil, "admin_startSequencer", stopped), "not the leader")
	c.lead(true)
	require.NoError(t, call(t, light, nil, "admin_startSequencer", stopped))
	waitFor(t, 10*time.Second, "blocks again", func() bool { return heads(t, light)[mirror.Unsafe].Number > head.Number+3 })
	block, ok := light.EL().Canonical(head.Number)
	require.True(t, ok)
	require.Equal(t, head.Hash, block.Hash)
}
