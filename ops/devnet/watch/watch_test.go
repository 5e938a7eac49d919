package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/stretchr/testify/require"
)

// counter is a node whose unsafe head grows with each look.
type counter struct {
	name  string
	looks uint64
	hang  bool
}

func (c *counter) Name() string { return c.name }

func (c *counter) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	if c.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.looks++
	return &eth.SyncStatus{UnsafeL2: eth.L2BlockRef{Number: c.looks}}, nil
}

func TestPollLooksAtEachNodeOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		quick, stuck := &counter{name: "quick"}, &counter{name: "stuck", hang: true}
		looks := Poll(ctx, 100*time.Millisecond, quick, stuck)
		begin := time.Now()
		var seen uint64
		for {
			look := <-looks
			if look.Node == "stuck" {
				require.ErrorIs(t, look.Err, context.DeadlineExceeded)
				require.Equal(t, callTimeout, look.At.Sub(begin))
				break
			}
			seen++
			require.Equal(t, seen, look.Status.UnsafeL2.Number)
		}
		require.InDelta(t, 20, float64(seen), 1)
		cancel()
		for range looks { // it is closed, so nothing is left running
		}
		require.True(t, errors.Is(ctx.Err(), context.Canceled))
	})
}
