package l1chain

import (
	"context"
	"errors"
	"slices"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Change is what a head signal did to the view.
type Change struct {
	// Head is the head of the view after the signal.
	Head eth.L1BlockRef
	// Moved tells whether it is another one than before.
	Moved bool
	// Reorged tells that blocks which were canonical are no longer so.
	Reorged bool
	// Ancestor is the newest block that the forks before and after have in common. It is zero without a reorg, and
	// after one that went below the window.
	Ancestor eth.BlockID
	// Depth is how many blocks the reorg replaced, at least; there are more if Ancestor is unknown.
	Depth uint64
}

// OnHead takes an answer of L1 about its head; repetitions count too. Heads missed in between are asked for, and the head
// counts once everything between it and the view is known and linked; if that fails, the view stays as it was until the
// next answer.
//
// A head that the view has already is no news: it comes from a backend that lags. One that is lower than the view's and not
// in it, or so far above it that the window does not reach, is believed only when further answers agree (spec C5). What
// does not link to the window is besides compared with Config.Anchor and the finalized block: a chain without them is
// refused. After a gap longer than the window the view starts anew, and does not know whether there was a reorg.
func (v *View) OnHead(ctx context.Context, ref eth.L1BlockRef) Change {
	change := Change{Head: v.Window().Head()}
	if unknown(ref.ID()) {
		return change
	}
	believed, err := v.believes(ctx, ref)
	if err == nil && believed {
		if change, err = v.connect(ctx, ref); err == nil {
			v.rival = rival{}
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return change
	case err != nil && !v.detached:
		v.log.Warn("Cannot follow the L1 head, holding the last one", "head", change.Head, "signal", ref, "err", err)
	case err == nil && believed && v.detached:
		v.log.Info("Following the L1 head again", "head", change.Head)
	}
	if err != nil || believed {
		v.detached = err != nil
	}
	if change.Reorged {
		v.metrics.RecordL1ReorgDepth(change.Depth)
	}
	return change
}

// connect makes ref the head of the view. It collects the blocks below ref until they reach the window.
func (v *View) connect(ctx context.Context, ref eth.L1BlockRef) (Change, error) {
	blocks, certified := []eth.L1BlockRef{ref}, false
	for attempt := 0; ; {
		change, missing, err := v.place(blocks, certified)
		if errors.Is(err, errUncertified) {
			if err := v.certify(ctx, ref); err != nil {
				return change, err
			}
			certified = true
			continue
		}
		if err != nil || len(missing) == 0 {
			return change, err
		}
		below, err := v.fetch(ctx, missing)
		if err != nil {
			return change, err
		}
		if linked(below, blocks[0]) {
			blocks = slices.Concat(below, blocks)
			continue
		}
		if attempt++; attempt == maxAttempts {
			return change, errUnlinked
		}
	}
}

// place makes the last of the blocks, which ascend and are linked, the head of the view if they reach it. If they do
// not, it returns the numbers below them that are needed next. Where nothing of the window is left it wants the head to be
// certified.
func (v *View) place(blocks []eth.L1BlockRef, certified bool) (Change, []uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.window
	ref := blocks[len(blocks)-1]
	for len(blocks) > 1 && old.holds(blocks[0].ID()) {
		blocks = blocks[1:]
	}
	lowest := blocks[0]
	stay := Change{Head: old.Head()}
	anew := old.Len() == 0 || ref.Number < old.Tail().Number || v.far(ref)
	switch {
	case old.holds(ref.ID()):
		return stay, nil, nil
	case !anew && old.holds(lowest.ParentID()):
		if lowest.Number <= v.finalized.Number && old.holds(v.finalized.ID()) {
			return stay, nil, errFinalityConflict
		}
		return v.advance(blocks), nil, nil
	case (anew || lowest.Number <= old.Tail().Number) && !certified:
		return stay, nil, errUncertified
	case anew:
		return v.restart(ref), nil, nil
	case lowest.Number <= old.Tail().Number:
		return v.replace(blocks), nil, nil
	}
	floor := old.Tail().Number
	if lowest.Number-1 > old.Head().Number {
		floor = old.Head().Number + 1
	}
	return stay, v.below(lowest.Number, floor), nil
}

// far tells whether a head is so far above the view that not even the window could be filled in between.
func (v *View) far(ref eth.L1BlockRef) bool {
	head := v.window.Head().Number
	return ref.Number > head && ref.Number-head > uint64(v.cfg.Window)
}

// below lists, ascending, as many numbers under top as one batch holds, but none under floor.
func (v *View) below(top, floor uint64) []uint64 {
	from := floor
	if batch := uint64(v.cfg.MaxBatch); top-floor > batch {
		from = top - batch
	}
	numbers := make([]uint64, 0, top-from)
	for number := from; number < top; number++ {
		numbers = append(numbers, number)
	}
	return numbers
}

// advance puts the blocks onto their parent, which the window holds. It is a reorg if the parent is not the head.
func (v *View) advance(blocks []eth.L1BlockRef) Change {
	old, ancestor := v.window, blocks[0].ParentID()
	v.window = old.onto(ancestor.Number, blocks, v.cfg.Window)
	change := Change{Head: v.window.Head(), Moved: true}
	if ancestor != old.Head().ID() {
		change.Reorged = true
		change.Ancestor = ancestor
		change.Depth = old.Head().Number - ancestor.Number
		v.reorgs++
		v.tentative.Purge()
		if v.safe.Number > ancestor.Number {
			ref, _ := v.window.at(ancestor.Number)
			v.safe = highest(ref, v.finalized)
		}
	}
	v.checkLabels()
	v.askFinality()
	return change
}

// replace makes the blocks the window, which is what a reorg to below the window leaves.
func (v *View) replace(blocks []eth.L1BlockRef) Change {
	old := v.window
	v.anew(blocks)
	v.safe = v.finalized
	return Change{Head: v.window.Head(), Moved: true, Reorged: true, Depth: uint64(old.Len())}
}

// restart makes the block the window: there is none, or it is too far away to tell how the two are related, but that it is
// a reorg if it is lower.
func (v *View) restart(ref eth.L1BlockRef) Change {
	old := v.window
	v.anew([]eth.L1BlockRef{ref})
	if v.safe.Number > ref.Number {
		v.safe = v.finalized
	}
	change := Change{Head: ref, Moved: true}
	if ref.Number < old.Head().Number {
		change.Reorged, change.Depth = true, uint64(old.Len())
	}
	return change
}

func (v *View) anew(blocks []eth.L1BlockRef) {
	v.window = Window{refs: newest(blocks, v.cfg.Window)}
	v.reorgs++
	v.tentative.Purge()
	v.askFinality()
}

func highest(a, b eth.L1BlockRef) eth.L1BlockRef {
	if a.Number > b.Number {
		return a
	}
	return b
}
