package driver

import (
	"context"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/engine"
)

// SyncStatus is the status as it is served: L2 heads and current L1 of one snapshot, L1 refs of the own view.
func (d *Driver) SyncStatus(context.Context) (*eth.SyncStatus, error) {
	return d.status(d.controller.Snapshot()), nil
}

func (d *Driver) status(snap *engine.Snapshot) *eth.SyncStatus {
	l1 := d.l1.Refs()
	localSafe := snap.Heads.LocalSafe.L2BlockRef
	return &eth.SyncStatus{
		CurrentL1:          snap.CurrentL1,
		CurrentL1Finalized: l1.Finalized,
		HeadL1:             l1.Head,
		SafeL1:             l1.Safe,
		FinalizedL1:        l1.Finalized,
		UnsafeL2:           snap.Heads.Unsafe.L2BlockRef,
		SafeL2:             snap.Heads.Safe.L2BlockRef,
		FinalizedL2:        snap.Heads.Finalized.L2BlockRef,
		PendingSafeL2:      localSafe,
		LocalSafeL2:        localSafe,
	}
}

// observers are told of each snapshot, one after another.
type observers []interface{ OnSnapshot(snap *engine.Snapshot) }

// OnSnapshot passes a snapshot on.
func (o observers) OnSnapshot(snap *engine.Snapshot) {
	for _, observer := range o {
		observer.OnSnapshot(snap)
	}
}

// publisher has each snapshot served to those who wait for it (spec W5).
type publisher struct{ d *Driver }

// OnSnapshot publishes a snapshot.
func (p publisher) OnSnapshot(snap *engine.Snapshot) { p.d.feed.Publish(p.d.status(snap)) }

// BlockRefWithStatus returns an own canonical block with a status that fits it: the heads did not change while it was
// looked up, unless they change with every try. The status is there also when the look-up fails.
func (d *Driver) BlockRefWithStatus(ctx context.Context, number uint64) (eth.L2BlockRef, *eth.SyncStatus, error) {
	const tries = 3
	for try := 1; ; try++ {
		snap := d.controller.Snapshot()
		ref, err := d.engine.L2BlockRefByNumber(ctx, number)
		if settled := d.controller.Snapshot().Heads == snap.Heads || number <= snap.Heads.Finalized.Number; settled || try == tries {
			return ref, d.status(snap), err
		}
	}
}

// gauges shows each snapshot in the metrics. It is called by the engine controller alone.
type gauges struct {
	metrics Metrics
	own     *ownChain
	// again is called when statuses may be judged otherwise than before: the heads were read, or the engine showed that one is
	// of another branch.
	again func()
	// gone is called when L1 was found to be reorged away from under the labels.
	gone  func()
	shown engine.Snapshot
}

// OnSnapshot records the heads that changed.
func (g *gauges) OnSnapshot(snap *engine.Snapshot) {
	if g.shown.Phase == engine.PhaseLoading || !slices.Equal(g.shown.Aside, snap.Aside) {
		g.again()
	}
	if g.shown.GoneSince.IsZero() && !snap.GoneSince.IsZero() {
		g.gone()
	}
	if snap.Phase == engine.PhaseFollowing {
		g.own.onHead(snap.Heads.Unsafe.L2BlockRef)
	}
	show := func(name string, before, now eth.L2BlockRef) {
		if now != before && now.Hash != (common.Hash{}) {
			g.metrics.RecordL2Ref(name, now)
		}
	}
	show("l2_unsafe", g.shown.Heads.Unsafe.L2BlockRef, snap.Heads.Unsafe.L2BlockRef)
	show("l2_local_safe", g.shown.Heads.LocalSafe.L2BlockRef, snap.Heads.LocalSafe.L2BlockRef)
	show("l2_pending_safe", g.shown.Heads.LocalSafe.L2BlockRef, snap.Heads.LocalSafe.L2BlockRef)
	show("l2_safe", g.shown.Heads.Safe.L2BlockRef, snap.Heads.Safe.L2BlockRef)
	show("l2_finalized", g.shown.Heads.Finalized.L2BlockRef, snap.Heads.Finalized.L2BlockRef)
	if l1 := snap.CurrentL1; l1 != g.shown.CurrentL1 && l1.Hash != (common.Hash{}) {
		g.metrics.RecordL1Ref("l1_derived", l1)
	}
	g.shown = *snap
}
