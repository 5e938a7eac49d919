package stack

import (
	"context"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup/driver"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
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

// l1Signal says that an L1 block has a label now; unsafe is the head.
type l1Signal struct {
	label eth.BlockLabel
	block eth.L1BlockRef
}

// String implements event.Event.
func (l1Signal) String() string { return "l1-signal" }

// l1Signals passes L1 blocks to the driver from within its event loop: the status tracker's L1 methods take no lock
// of their own against the tracker's handling of events.
type l1Signals struct{ driver *driver.Driver }

// OnEvent implements event.Deriver.
func (s l1Signals) OnEvent(ctx context.Context, ev event.Event) bool {
	signal, ok := ev.(l1Signal)
	if !ok {
		return false
	}
	switch signal.label {
	case eth.Unsafe:
		// The tracker first: what the others ask of L1 is answered by it.
		s.driver.SyncDeriver.L1Tracker.OnL1Unsafe(signal.block)
		s.driver.StatusTracker.OnL1Unsafe(signal.block)
		s.driver.SyncDeriver.OnL1Unsafe(ctx)
	case eth.Safe:
		s.driver.StatusTracker.OnL1Safe(signal.block)
	case eth.Finalized:
		s.driver.StatusTracker.OnL1Finalized(signal.block)
		s.driver.Finalizer.OnL1Finalized(signal.block)
		s.driver.SyncDeriver.OnL1Finalized(ctx)
	}
	return true
}

// watchL1 tells the driver of each new L1 head and of what became safe and finalized on L1.
func (b *builder) watchL1(life context.Context, events event.Registry, l1 *sources.L1Client, drv *driver.Driver) {
	events.Register("l1-signals", l1Signals{driver: drv})
	emitter := events.Register("l1-source", nil) // what emits from outside the event loop must not be run by it too
	on := func(label eth.BlockLabel) eth.HeadSignalFn {
		return func(_ context.Context, block eth.L1BlockRef) {
			emitter.Emit(life, l1Signal{label: label, block: block})
		}
	}
	heads := gethevent.ResubscribeErr(resubscribeMax, func(_ context.Context, err error) (gethevent.Subscription, error) {
		if err != nil && life.Err() == nil {
			b.log.Warn("L1 heads: subscribing again", "err", err)
		}
		return eth.WatchHeadChanges(life, l1, on(eth.Unsafe))
	})
	subs := []ethereum.Subscription{
		heads,
		eth.PollBlockChanges(b.log, l1, on(eth.Safe), eth.Safe, l1LabelPoll, l1LabelTimeout),
		eth.PollBlockChanges(b.log, l1, on(eth.Finalized), eth.Finalized, l1LabelPoll, l1LabelTimeout),
	}
	b.cleanup.AddFunc("L1 signals of "+b.spec.name, func() {
		for _, sub := range subs {
			sub.Unsubscribe()
		}
	})
}
