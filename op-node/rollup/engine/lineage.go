package engine

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// maxAncestry bounds how many blocks are walked to find out whether a branch contains the own finalized block, or a
// payload's branch the own local-safe block.
const maxAncestry = 512

// finalizedIsKept tells that the target's chain is sure to contain the own finalized block: it was proven, or the
// engine will check it because it is the finalized block of the update itself.
func (c *Controller) finalizedIsKept(target follow.Target, local follow.Local) bool {
	own := c.state.final
	return local.OverFinalized == follow.AncestryHolds || own.Hash == common.Hash{} || target.Labels().Finalized == own
}

// overFinalized finds out whether a target's chain contains the own finalized block. Where the engine does not have that
// chain yet, a finalized block of the target on the own chain will do: the engine checks that it is the target's.
func (c *Controller) overFinalized(ctx context.Context, next follow.Labels) (follow.Ancestry, error) {
	own, finalized := c.state.final.L2BlockRef, next.Finalized.L2BlockRef
	if !c.fetching() {
		if over, err := c.descends(ctx, next.LocalSafe.Hash, own); err != nil || over != follow.AncestryUnknown {
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

// descends walks from a block down to its ancestors, the highest first, and tells whether each is met. It stops at the
// own chain, where the rest can be looked up.
func (c *Controller) descends(ctx context.Context, from common.Hash, ancestors ...eth.L2BlockRef) (follow.Ancestry, error) {
	hash := from
	for range maxAncestry {
		ref, found, err := c.blockByHash(ctx, hash)
		if err != nil || !found {
			return follow.AncestryUnknown, err
		}
		for len(ancestors) > 0 && ref.Number <= ancestors[0].Number {
			if ref != ancestors[0] {
				return follow.AncestryBroken, nil
			}
			ancestors = ancestors[1:]
		}
		if own, ok := c.recent.at(ref.Number); len(ancestors) == 0 || ok && own == ref {
			return c.onOwnChain(ctx, ancestors...)
		}
		hash = ref.ParentHash
	}
	return follow.AncestryUnknown, nil
}

// onOwnChain tells whether blocks not above the own unsafe head are all on the own chain.
func (c *Controller) onOwnChain(ctx context.Context, refs ...eth.L2BlockRef) (follow.Ancestry, error) {
	for _, ref := range refs {
		at, err := c.blockAt(ctx, ref.Number)
		if own, ok := at.Block(); !ok {
			return follow.AncestryUnknown, err
		} else if own != ref {
			return follow.AncestryBroken, nil
		}
	}
	return follow.AncestryHolds, nil
}

// checkClaims compares the refs of a target with the chain below its local-safe head, if the engine has that already:
// op-geth would find that they do not belong together only after it moved its head. proven is false if the engine does
// not have them.
func (c *Controller) checkClaims(ctx context.Context, target follow.Target) (proven bool, reason follow.Reason, err error) {
	next := target.Labels()
	claims := []eth.L2BlockRef{next.LocalSafe.L2BlockRef, next.Safe.L2BlockRef}
	if (next.Finalized.Hash != common.Hash{}) {
		claims = append(claims, next.Finalized.L2BlockRef)
	}
	switch chain, err := c.descends(ctx, next.LocalSafe.Hash, claims...); {
	case err != nil:
		return false, follow.None, err
	case chain == follow.AncestryBroken:
		return false, follow.Incoherent, nil
	default:
		return chain == follow.AncestryHolds, follow.None, nil
	}
}

// isOwn tells whether a block is on the engine's chain; a look-up that fails counts as no.
func (c *Controller) isOwn(ctx context.Context, ref eth.L2BlockRef) bool {
	have, err := c.lookUp(ctx, ref.Number)
	return err == nil && have == follow.Found(ref)
}

// verifyOnChain compares the refs of a target, and the own finalized block, with the engine's chain after the engine
// moved to the target.
func (c *Controller) verifyOnChain(ctx context.Context, target follow.Target) (follow.Reason, error) {
	next := target.Labels()
	var met eth.L2BlockRef
	for _, claim := range []struct {
		ref    eth.L2BlockRef
		reason follow.Reason
	}{
		{c.state.final.L2BlockRef, follow.FinalizedConflict},
		{next.Finalized.L2BlockRef, follow.Incoherent},
		{next.Safe.L2BlockRef, follow.Incoherent},
		{next.LocalSafe.L2BlockRef, follow.Incoherent},
	} {
		if claim.ref == met || (claim.ref.Hash == common.Hash{}) {
			continue
		}
		met = claim.ref
		have, err := c.lookUp(ctx, claim.ref.Number)
		if err != nil {
			return follow.None, err
		}
		switch at, found := have.Block(); {
		case !found:
			return follow.None, fmt.Errorf("the engine does not find block %d below its new head", claim.ref.Number)
		case at != claim.ref:
			return claim.reason, nil
		}
	}
	return follow.None, nil
}
