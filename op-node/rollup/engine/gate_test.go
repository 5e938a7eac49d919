package engine

import (
	"context"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// gate judges the statuses of one source, as the driver does.
type gate struct {
	cfg *rollup.Config
	// el is read for the local chain; l1 is the view of L1, and final the number of its finalized block.
	el    modelel.Engine
	l1    func(eth.BlockID) follow.L1Answer
	final func() uint64
	// start is the L1 head when the node started.
	start   uint64
	insists follow.Insistence
}

// chain is what the rules know of the rollup.
func (g *gate) chain() follow.Chain {
	return follow.Chain{Genesis: g.cfg.Genesis.L2, GenesisTime: g.cfg.Genesis.L2Time, BlockTime: g.cfg.BlockTime}
}

// judge takes an answer of the source that came at a time. ok tells whether there is a target to apply.
func (g *gate) judge(status follow.Status, snap *Snapshot, at time.Time) (verdict follow.Verdict, target follow.Target, ok bool) {
	prev := snap.Applied()
	facts := follow.Facts{
		Chain: g.chain(), L1: make(follow.L1Facts), L1Final: g.final(), L1Start: g.start, Aside: snap.Aside, Pairs: snap.Pairs,
		Local: g.local(status, snap.Heads.Unsafe.L2BlockRef),
	}
	for _, id := range facts.L1Refs(status, prev) {
		facts.L1[id] = g.l1(id)
	}
	verdict = follow.Validate(status, facts, prev)
	blockTime := time.Duration(g.cfg.BlockTime) * time.Second
	g.insists = g.insists.Hear(verdict, at, blockTime)
	votes := []follow.Vote{{Status: status, Verdict: verdict, Insists: g.insists}}
	choice := follow.Agree(follow.Policy{Quorum: 1}, votes, 0, prev, facts.Local)
	return verdict, choice.Target, choice.Apply
}

// local is the local chain at the heads of a status, while the engine stands on it.
func (g *gate) local(status follow.Status, head eth.L2BlockRef) follow.LocalChain {
	chain, ctx := make(follow.LocalChain), context.Background()
	at := func(number uint64) follow.Lookup {
		if ref, err := g.el.L2BlockRefByNumber(ctx, number); err == nil {
			return follow.Found(ref)
		}
		return follow.Failed()
	}
	if at(head.Number) != follow.Found(head) {
		return chain
	}
	for _, ref := range []eth.L2BlockRef{status.LocalSafe, status.Safe, status.Finalized} {
		if ref.Number <= head.Number {
			chain[ref.Number] = at(ref.Number)
		}
	}
	return chain
}
