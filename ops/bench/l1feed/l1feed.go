// Package l1feed tells a rollup driver of L1, as op-node does: heads by subscription, labels by polling.
package l1feed

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"
)

const (
	// labelInterval is what the devnet's nodes are told by --l1.epoch-poll-interval.
	labelInterval = time.Second
	labelTimeout  = 5 * time.Second
	resubscribe   = 2 * time.Second
)

// driver is whom the feed tells.
type driver interface {
	OnL1Head(ctx context.Context, ref eth.L1BlockRef)
	OnL1Safe(ctx context.Context, ref eth.L1BlockRef)
	OnL1Finalized(ctx context.Context, ref eth.L1BlockRef)
}

// Start asks for the head once and then feeds the driver until the returned function is called.
func Start(ctx context.Context, l1 *sources.L1Client, logger log.Logger, to driver) (stop func()) {
	if head, err := l1.L1BlockRefByLabel(ctx, eth.Unsafe); err == nil {
		to.OnL1Head(ctx, head)
	}
	heads := event.ResubscribeErr(resubscribe, func(ctx context.Context, _ error) (event.Subscription, error) {
		return eth.WatchHeadChanges(ctx, l1, to.OnL1Head)
	})
	safe := eth.PollBlockChanges(logger, l1, to.OnL1Safe, eth.Safe, labelInterval, labelTimeout)
	final := eth.PollBlockChanges(logger, l1, to.OnL1Finalized, eth.Finalized, labelInterval, labelTimeout)
	return func() {
		heads.Unsubscribe()
		safe.Unsubscribe()
		final.Unsubscribe()
	}
}
