package stack

import (
	"context"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"
	"github.com/ethereum/go-ethereum"
	gethevent "github.com/ethereum/go-ethereum/event"
)

const (
	// l1LabelPoll is how often a node asks L1 for its safe and finalized blocks.
	l1LabelPoll    = time.Second
	l1LabelTimeout = 5 * time.Second
	resubscribeMax = 2 * time.Second
)

// watchL1 tells the driver of each new head and of what became safe and finalized on L1.
func (b *builder) watchL1(life context.Context, l1 *sources.L1Client, drv *driver.Driver) {
	onHead := func(ctx context.Context, head eth.L1BlockRef) {
		// The tracker first: what the others ask of L1 is answered by it.
		drv.SyncDeriver.L1Tracker.OnL1Unsafe(head)
		drv.StatusTracker.OnL1Unsafe(head)
		drv.SyncDeriver.OnL1Unsafe(ctx)
	}
	onSafe := func(_ context.Context, block eth.L1BlockRef) { drv.StatusTracker.OnL1Safe(block) }
	onFinal := func(ctx context.Context, block eth.L1BlockRef) {
		drv.StatusTracker.OnL1Finalized(block)
		drv.Finalizer.OnL1Finalized(block)
		drv.SyncDeriver.OnL1Finalized(ctx)
	}
	heads := gethevent.ResubscribeErr(resubscribeMax, func(_ context.Context, err error) (gethevent.Subscription, error) {
		if err != nil && life.Err() == nil {
			b.log.Warn("L1 heads: subscribing again", "err", err)
		}
		return eth.WatchHeadChanges(life, l1, onHead)
	})
	subs := []ethereum.Subscription{
		heads,
		eth.PollBlockChanges(b.log, l1, onSafe, eth.Safe, l1LabelPoll, l1LabelTimeout),
		eth.PollBlockChanges(b.log, l1, onFinal, eth.Finalized, l1LabelPoll, l1LabelTimeout),
	}
	b.cleanup.AddFunc("L1 signals of "+b.spec.name, func() {
		for _, sub := range subs {
			sub.Unsubscribe()
		}
	})
}
