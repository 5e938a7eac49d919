package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// maxAncestry bounds how many blocks of a branch are walked to find out what it contains (spec R11). What lies deeper is read
// by number once the engine is on that branch, and before anything is committed.
const maxAncestry = 64

// finalizedIsKept tells that the target's chain is sure to contain the own finalized block: it was proven, it follows from
// the applied local-safe head being contained, or the engine will check it because it is the finalized block of the update
// itself.
func (c *Controller) finalizedIsKept(target follow.Target, local follow.Local) bool {
	own := c.state.heads.Finalized
	return local.OverFinalized == follow.AncestryHolds || own.Hash == common.Hash{} || target.Labels().Finalized == own ||
		c.impliesFinalized(target)
}

// impliesFinalized tells that the target has to contain the applied local-safe head, and with it what is final.
func (c *Controller) impliesFinalized(target follow.Target) bool {
	applied, continues := c.continues(target)
	return continues && c.state.final.Number <= applied.Number
}

// overFinalized finds out whether a target's chain contains the own finalized block. Where the engine does not have that
// chain yet, a finalized block of the target on the own chain will do: the engine checks that it is the target's.
func (c *Controller) overFinalized(ctx context.Context, next follow.Labels) (follow.Ancestry, error) {
	own, finalized := c.state.final.L2BlockRef, next.Finalized.L2BlockRef
	if !c.fetching() {
		if over, _, err := c.descends(ctx, next.LocalSafe.Hash, own); err != nil || over != follow.AncestryUnknown {
			return over, err
		}
	}
	if finalized == own || finalized.Number > c.state.heads.Unsafe.Number {
		return follow.AncestryUnknown, nil
	}
	at, err := c.blockAt(ctx, finalized.Number)
	if err == nil && at == follow.Found(finalized) {
		return follow.AncestryHolds, nil
	}
	return follow.AncestryUnknown, err
}

// fetching tells that the engine was given a target that it does not have. It moves to the target by itself once it has
// that, so that there is no use in finding out first what it will say to it.
func (c *Controller) fetching() bool { return c.state.pending != nil && c.state.pending.target != nil }

// descends walks from a block down to its ancestors, the highest first, and tells whether each is met; missed is the first
// that is not. It stops at the local chain, where the rest can be looked up.
func (c *Controller) descends(ctx context.Context, from common.Hash, ancestors ...eth.L2BlockRef) (over follow.Ancestry, missed eth.L2BlockRef, err error) {
	hash := from
	for range maxAncestry {
		ref, found, err := c.blockByHash(ctx, hash)
		if err != nil || !found {
			return follow.AncestryUnknown, missed, err
		}
		for len(ancestors) > 0 && ref.Number <= ancestors[0].Number {
			if ref != ancestors[0] {
				return follow.AncestryBroken, ancestors[0], nil
			}
			ancestors = ancestors[1:]
		}
		if own, ok := c.recent.at(ref.Number); len(ancestors) == 0 || ok && own == ref {
			return c.onLocalChain(ctx, ancestors...)
		}
		hash = ref.ParentHash
	}
	return follow.AncestryUnknown, missed, nil
}

// onLocalChain tells whether blocks not above the own unsafe head are all on the local chain.
func (c *Controller) onLocalChain(ctx context.Context, refs ...eth.L2BlockRef) (over follow.Ancestry, missed eth.L2BlockRef, err error) {
	for _, ref := range refs {
		at, err := c.blockAt(ctx, ref.Number)
		if local, ok := at.Block(); !ok {
			return follow.AncestryUnknown, missed, err
		} else if local != ref {
			return follow.AncestryBroken, ref, nil
		}
	}
	return follow.AncestryHolds, missed, nil
}

// checkClaims compares the refs of a target, and the applied local-safe head if the target has to contain it, with the
// chain below its local-safe head, if the engine has that already: op-geth would find that they do not belong together only
// after it moved its head. proven is false if the engine does not have them.
func (c *Controller) checkClaims(ctx context.Context, target follow.Target) (proven bool, reason follow.Reason, err error) {
	next := target.Labels()
	claims := []eth.L2BlockRef{next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef}
	if (next.Finalized.Hash != common.Hash{}) {
		claims = append(claims, next.Finalized.L2BlockRef)
	}
	applied, continues := c.continues(target)
	if continues {
		claims = append(claims, applied)
		slices.SortStableFunc(claims, func(a, b eth.L2BlockRef) int { return cmp.Compare(b.Number, a.Number) })
	}
	switch chain, missed, err := c.descends(ctx, next.LocalSafe.Hash, claims...); {
	case err != nil:
		return false, follow.None, err
	case chain == follow.AncestryBroken && continues && missed == applied:
		return false, c.shownAside(target), nil
	case chain == follow.AncestryBroken:
		return false, follow.Incoherent, nil
	default:
		return chain == follow.AncestryHolds, follow.None, nil
	}
}

// continues is the applied local-safe head, if the target has to contain that.
func (c *Controller) continues(target follow.Target) (applied eth.L2BlockRef, ok bool) {
	applied = c.state.heads.LocalSafe.L2BlockRef
	_, ok = target.Contains()
	return applied, ok && applied.Hash != common.Hash{}
}

// maxAside bounds how many heads are remembered that do not contain the applied local-safe head.
const maxAside = 16

// shownAside remembers that the local-safe head of a target does not contain the applied one, for as long as that stays on
// its branch, and says what this makes of the target: the status that it came from is judged again (spec R11).
func (c *Controller) shownAside(target follow.Target) follow.Reason {
	aside := append(slices.Clone(c.state.aside), target.Labels().LocalSafe.L2BlockRef)
	c.state.aside = aside[max(0, len(aside)-maxAside):]
	if target.CurrentL1().Number > c.state.currentL1.Number {
		return follow.Unconfirmed
	}
	return follow.Regressed
}

// isOwn tells whether a block is on the engine's chain; a look-up that fails counts as no.
func (c *Controller) isOwn(ctx context.Context, ref eth.L2BlockRef) bool {
	have, err := c.lookUp(ctx, ref.Number)
	return err == nil && have == follow.Found(ref)
}

// verifyOnChain compares the refs of a target, the own finalized block, and the applied local-safe head if the target has to
// contain it, with the engine's chain after the engine moved to the target.
func (c *Controller) verifyOnChain(ctx context.Context, target follow.Target) (follow.Reason, error) {
	next := target.Labels()
	applied, continues := c.continues(target)
	if !continues {
		applied = eth.L2BlockRef{}
	}
	met := map[eth.L2BlockRef]bool{{}: true}
	for _, claim := range []struct {
		ref    eth.L2BlockRef
		reason follow.Reason
	}{
		{c.state.final.L2BlockRef, follow.FinalizedConflict},
		{applied, follow.Regressed},
		{next.Finalized.L2BlockRef, follow.Incoherent},
		{next.Safe.L2BlockRef, follow.Incoherent},
		{next.LocalSafe.L2BlockRef, follow.Incoherent},
	} {
		if met[claim.ref] {
			continue
		}
		met[claim.ref] = true
		have, err := c.lookUp(ctx, claim.ref.Number)
		if err != nil {
			return follow.None, err
		}
		switch at, found := have.Block(); {
		case !found:
			return follow.None, fmt.Errorf("the engine does not find block %d below its new head", claim.ref.Number)
		case at != claim.ref && claim.ref == applied:
			return c.shownAside(target), nil
		case at != claim.ref:
			return claim.reason, nil
		}
	}
	return follow.None, nil
}
