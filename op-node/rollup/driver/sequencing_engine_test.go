package driver_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// An engine comes back without its newest blocks, and no peer has them. What this node handed in itself it hands in again:
// nothing that was published is lost, whether it is above the local-safe head or below.
func TestLightSequencerGivesTheEngineItsTipBack(t *testing.T) {
	for name, lost := range map[string]uint64{"above local-safe": 3, "below local-safe": 10} {
		t.Run(name, func(t *testing.T) {
			for offset := time.Duration(0); offset < blockTime; offset += 500 * time.Millisecond {
				perform(t, func(s *stage) {
					s.front = &cached{Engine: s.engine, refs: make(map[common.Hash]eth.L2BlockRef)}
					s.boot()
					s.keepUp(6)
					s.wait(60*time.Second + offset)
					begin, before := time.Now(), s.status()
					s.el.Rewind(s.el.Heads().Latest.Number - lost)
					s.wait(20 * time.Second)
					require.True(s.t, s.onChain(before.UnsafeL2), "offset %s: %s", offset, s)
					require.GreaterOrEqual(s.t, s.status().SafeL2.Number, before.SafeL2.Number+6)
					require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "offset %s", offset)
					require.Zero(s.t, s.counts.reorg("force_reset")+s.counts.reorg("walk_back"))
				})
			}
		})
	}
}

// cached answers by hash from memory, as upstream's client of the engine does.
type cached struct {
	modelel.Engine
	mu   sync.Mutex
	refs map[common.Hash]eth.L2BlockRef
}

func (c *cached) keep(ref eth.L2BlockRef, err error) (eth.L2BlockRef, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.refs[ref.Hash] = ref
	}
	return ref, err
}

func (c *cached) L2BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L2BlockRef, error) {
	c.mu.Lock()
	ref, ok := c.refs[hash]
	c.mu.Unlock()
	if ok {
		return ref, nil
	}
	return c.keep(c.Engine.L2BlockRefByHash(ctx, hash))
}

func (c *cached) L2BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L2BlockRef, error) {
	return c.keep(c.Engine.L2BlockRefByLabel(ctx, label))
}

func (c *cached) L2BlockRefByNumber(ctx context.Context, number uint64) (eth.L2BlockRef, error) {
	return c.keep(c.Engine.L2BlockRefByNumber(ctx, number))
}

func (c *cached) NewPayload(ctx context.Context, p *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	status, err := c.Engine.NewPayload(ctx, p, root)
	if err == nil && status.Status == eth.ExecutionValid {
		_, _ = c.L2BlockRefByHash(ctx, p.BlockHash) // the builder of attributes reads what it builds on
	}
	return status, err
}
