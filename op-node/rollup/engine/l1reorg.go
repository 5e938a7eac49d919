package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// This file is about an L1 that was reorged (spec G1 to G4). Unsafe blocks whose L1 origin is gone are given up at once, and
// only they. The labels wait a block time for the sources to say what is left of them, half of that if blocks have to wait as
// well; then they go back to what was derived of the L1 that is left. A node that started on a fork which L1 left while it was down is no other case.

// errAsksL1 tells that L1 has to be asked first.
var errAsksL1 = errors.New("L1 is asked for older blocks")

// runRewind gives up what rests on L1 blocks that are gone.
func (c *Controller) runRewind(ctx context.Context) error {
	if c.state.phase != PhaseFollowing || c.state.lost != nil {
		return nil
	}
	c.askL1()
	want, currentL1, pairs := c.state.heads, c.state.currentL1, c.state.pairs
	back, err := c.labelsLeft(ctx, &want.Labels, &currentL1, &pairs)
	if err == nil {
		want.Unsafe, err = c.unsafeLeft(ctx, want)
	}
	if errors.Is(err, errAsksL1) {
		return nil // L1's answer brings the next rewind
	} else if err != nil {
		return err
	}
	if want == c.state.heads && !back {
		return nil
	}
	return c.goBackTo(ctx, want, currentL1, pairs)
}

// askL1 has L1 asked for blocks that matter and that the view does not know, as after a start.
func (c *Controller) askL1() {
	for _, id := range append(c.l1OfLabels(), c.state.heads.Unsafe.L1Origin) {
		if (id.Hash != common.Hash{}) && c.l1.Canonical(id) == follow.L1Unavailable {
			c.l1.Ask(id)
		}
	}
}

// l1OfLabels are the L1 blocks that the labels rest on. What is final is not given up.
func (c *Controller) l1OfLabels() []eth.BlockID {
	heads := c.state.heads
	ids := []eth.BlockID{c.state.currentL1.ID()}
	for _, label := range []eth.L2BlockRef{heads.LocalSafe.L2BlockRef, heads.Safe.L2BlockRef} {
		if label.Number > heads.Finalized.Number {
			ids = append(ids, label.L1Origin)
		}
	}
	return ids
}

// goneL1 is an L1 block that the labels rest on and that is gone.
func (c *Controller) goneL1() (eth.BlockID, bool) {
	for _, id := range c.l1OfLabels() {
		if (id.Hash != common.Hash{}) && c.l1.Canonical(id) == follow.L1Mismatch {
			return id, true
		}
	}
	return eth.BlockID{}, false
}

// labelsLeft finds what is left of the labels, if L1 blocks that they rest on have been gone for a block time: the newest
// pair whose current L1 is canonical; without one the newest local block with a canonical origin, and that origin. It tells
// whether the labels go back.
func (c *Controller) labelsLeft(ctx context.Context, labels *follow.Labels, currentL1 *eth.L1BlockRef, pairs *follow.Pairs) (bool, error) {
	gone, lost := c.goneL1()
	now := c.clock.Now()
	switch {
	case !lost:
		c.state.goneSince = time.Time{}
		return false, nil
	case c.state.goneSince.IsZero():
		c.state.goneSince = now
		c.log.Warn("L1 was reorged away from under the labels, asking the sources", "l1", gone, "current_l1", c.state.currentL1,
			"local_safe", c.state.heads.LocalSafe)
		c.publish()
	}
	grace := time.Duration(c.cfg.Rollup.BlockTime) * time.Second
	if c.l1.Canonical(labels.LocalSafe.L1Origin) == follow.L1Mismatch {
		grace /= 2 // no block can be made or taken in meanwhile
	}
	if due := c.state.goneSince.Add(grace); now.Before(due) {
		if at := &c.timers[KindRewind].at; at.IsZero() || at.After(due) {
			*at = due
		}
		return false, nil
	}
	final := labels.Finalized.L2BlockRef
	pair, upTo, ok := pairs.Canonical(c.l1.Canonical)
	if ok && pair.LocalSafe.Number <= labels.LocalSafe.Number {
		*currentL1, *pairs = pair.CurrentL1, upTo
		labels.LocalSafe.L2BlockRef = higher(pair.LocalSafe.L2BlockRef, final)
		labels.Safe.L2BlockRef = higher(pair.Safe.L2BlockRef, final)
		return true, nil
	}
	last, err := c.newestWithOrigin(ctx, final.Number, labels.LocalSafe.L2BlockRef)
	if err != nil {
		return false, err
	}
	*currentL1, *pairs = c.l1.Ref(last.L1Origin), upTo
	labels.LocalSafe.L2BlockRef = last
	if labels.Safe.Number > last.Number {
		labels.Safe.L2BlockRef = last
	}
	if c.state.gone == (eth.BlockID{}) {
		c.state.gone = gone
	}
	return *labels != c.state.heads.Labels || *currentL1 != c.state.currentL1, nil
}

func higher(a, b eth.L2BlockRef) eth.L2BlockRef {
	if a.Number > b.Number {
		return a
	}
	return b
}

// unsafeLeft is the newest block of the local chain whose L1 origin is not gone, never below the labels.
func (c *Controller) unsafeLeft(ctx context.Context, want follow.Heads) (follow.Unsafe, error) {
	if head := want.Unsafe.L2BlockRef; head.Number > want.LocalSafe.Number && c.l1.Canonical(head.L1Origin) == follow.L1Mismatch {
		last, err := c.newestWithOrigin(ctx, want.LocalSafe.Number, head)
		return follow.Unsafe{L2BlockRef: last}, err
	}
	return want.Unsafe, nil
}

// newestWithOrigin is the newest block of the local chain, from a floor up to a head, whose L1 origin is not gone; the floor
// itself if there is none. L1 origins grow along the chain, so the blocks that lost theirs are its end.
func (c *Controller) newestWithOrigin(ctx context.Context, floor uint64, head eth.L2BlockRef) (eth.L2BlockRef, error) {
	if head.Number <= floor {
		return head, nil
	}
	var failed error
	lost := sort.Search(int(head.Number-floor), func(i int) bool {
		ref, ok := c.ownBlock(ctx, floor+1+uint64(i), &failed)
		if !ok {
			return false
		}
		answer := c.l1.Canonical(ref.L1Origin)
		if answer == follow.L1Unavailable {
			c.l1.Ask(ref.L1Origin)
			failed = errAsksL1
		}
		return answer == follow.L1Mismatch
	})
	last, ok := c.ownBlock(ctx, floor+uint64(lost), &failed)
	switch {
	case errors.Is(failed, errAsksL1):
		return last, failed
	case failed != nil || !ok:
		return last, temporary(fmt.Errorf("find the newest block with a canonical L1 origin: %w", failed))
	}
	return last, nil
}

// goBackTo gives up blocks, labels, or both, in one forkchoice update. A sequencer goes on by the new head: to confirm a
// reset that it did not ask for would cost it a block time.
func (c *Controller) goBackTo(ctx context.Context, want follow.Heads, currentL1 eth.L1BlockRef, pairs follow.Pairs) error {
	before := c.state.heads
	switch got, err := c.synchronize(ctx, want); got {
	case answerValid:
	case answerSyncing:
		return reset(fmt.Errorf("go back to %s: the engine says %s", want.Unsafe, got))
	case answerInconsistent:
		return reset(fmt.Errorf("go back to %s: %w", want.Unsafe, err))
	default:
		return temporary(fmt.Errorf("go back to %s: %w", want.Unsafe, err))
	}
	if want.Labels != before.Labels || currentL1 != c.state.currentL1 {
		c.log.Warn("Took the labels back to what is left of L1", "old_local_safe", before.LocalSafe, "local_safe", want.LocalSafe,
			"safe", want.Safe, "old_current_l1", c.state.currentL1, "current_l1", currentL1)
		c.state.currentL1, c.state.pairs, c.state.staged, c.state.goneSince = currentL1, pairs, nil, time.Time{}
	}
	if want.Unsafe != before.Unsafe {
		c.log.Warn("Walked back unsafe blocks whose L1 origin was reorged out", "old_unsafe", before.Unsafe, "unsafe", want.Unsafe,
			"blocks", before.Unsafe.Number-want.Unsafe.Number)
		c.metrics.RecordFollowSourceReorg("walk_back")
		c.diverge(ctx)
		c.recent.cut(want.Unsafe.Number)
	}
	c.commit(want)
	if want.Unsafe != before.Unsafe {
		c.inbox.readopt()
		c.post(KindInsert)
	}
	return nil
}

// ownBlock is a block of the own chain; ok is false, and the first failure kept, if the engine does not give it.
func (c *Controller) ownBlock(ctx context.Context, number uint64, failed *error) (eth.L2BlockRef, bool) {
	if *failed != nil {
		return eth.L2BlockRef{}, false
	}
	at, err := c.blockAt(ctx, number)
	if err != nil {
		*failed = err
		return eth.L2BlockRef{}, false
	}
	ref, found := at.Block()
	if !found {
		*failed = fmt.Errorf("the engine does not have its block %d", number)
	}
	return ref, found
}
