package engine

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// The numbers of "ours" and "upstream" are from the same run, on the same model of an engine, whose own work is part of
// them; "engine calls/op" is what a real engine would have to do.
//
//	go test ./op-node/rollup/engine -run '^$' -bench .

// benchBlocks is how far a contender is driven before a fresh one takes over.
const benchBlocks = 1000

var contenders = []struct {
	name string
	make func() contender
}{
	{"ours", func() contender { return newOurs() }},
	{"upstream", func() contender { return newTheirs(true) }},
}

// BenchmarkInsert is steady state: a payload on top of the head, again and again.
func BenchmarkInsert(b *testing.B) {
	for _, contestant := range contenders {
		b.Run(contestant.name, func(b *testing.B) {
			drive(b, contestant.make, func(c contender, n uint64) { c.gossip(c.bed().chain.Block(n)) })
		})
	}
}

// BenchmarkFollowTask is a status that moves all three labels by a block, judged and applied.
func BenchmarkFollowTask(b *testing.B) {
	for _, contestant := range contenders {
		b.Run(contestant.name, func(b *testing.B) {
			full := func() contender {
				c := contestant.make()
				for n := uint64(11); n <= 10+benchBlocks; n++ {
					c.gossip(c.bed().chain.Block(n))
				}
				return c
			}
			drive(b, full, func(c contender, n uint64) {
				chain := c.bed().chain
				c.follow(chain.Block(n).Ref, chain.Block(n-1).Ref, chain.Block(n-8).Ref)
			})
		})
	}
}

// BenchmarkFollowUnchanged is a status that says the same as the one before.
func BenchmarkFollowUnchanged(b *testing.B) {
	for _, contestant := range contenders {
		b.Run(contestant.name, func(b *testing.B) {
			drive(b, contestant.make, func(c contender, _ uint64) {
				chain := c.bed().chain
				c.follow(chain.Block(8).Ref, chain.Block(7).Ref, chain.Block(3).Ref)
			})
		})
	}
}

// drive measures work on blocks from 11 on.
func drive(b *testing.B, fresh func() contender, work func(c contender, n uint64)) {
	b.ReportAllocs()
	calls := 0
	var c contender
	for i := range b.N {
		if i%benchBlocks == 0 {
			b.StopTimer()
			if c != nil {
				calls += len(writes(c))
			}
			c = fresh()
			c.bed().chain.Block(11 + benchBlocks)
			c.bed().el.Log().Take()
			b.StartTimer()
		}
		work(c, 11+uint64(i%benchBlocks))
	}
	b.StopTimer()
	calls += len(writes(c))
	b.ReportMetric(float64(calls)/float64(b.N), "engine-calls/op")
}

func writes(c contender) []modelel.Call { return c.bed().el.Log().Take() }

// BenchmarkQueued10000 is one payload handed in and one taken out while 10 000 wait behind a gap.
func BenchmarkQueued10000(b *testing.B) {
	const waiting = 10_000
	payload := func(n uint64) *eth.ExecutionPayloadEnvelope {
		return &eth.ExecutionPayloadEnvelope{ExecutionPayload: &eth.ExecutionPayload{
			BlockNumber: eth.Uint64Quantity(n), BlockHash: common.Hash{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
		}}
	}
	box := newInbox(log.NewLogger(log.DiscardHandler()))
	for n := range uint64(waiting) {
		if err := box.add(payload(n + 2)); err != nil {
			b.Fatal(err)
		}
	}
	next := uint64(waiting + 2)
	b.ReportAllocs()
	for b.Loop() {
		if err := box.add(payload(next)); err != nil {
			b.Fatal(err)
		}
		next++
		// A head that the lowest payload leaves a gap to; then that payload has had its turn.
		lowest, gap := box.next(eth.L2BlockRef{Number: next - waiting - 3})
		if lowest == nil || !gap {
			b.Fatal("the queue lost its order")
		}
		box.drop(lowest)
	}
}

// BenchmarkFollowUnderFlood is how long a status waits, in simulated time, while hundreds of payloads are executed at
// 10 ms each. The bound is two block times and an engine call.
func BenchmarkFollowUnderFlood(b *testing.B) {
	const payloads = 600
	var longest time.Duration
	for b.Loop() {
		b.StopTimer()
		o := newOurs()
		slow := modelel.NewFaulty(o.el)
		slow.Always(modelel.Before(func() { o.clock.AdvanceTime(10 * time.Millisecond) }), modelel.NewPayload)
		o.c.engine = slow
		for _, block := range o.chain.L2().Blocks(11, 10+payloads) {
			if err := o.c.Insert(block.Envelope); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		start := o.clock.Now()
		_, target, ok := o.judge(o.chain.Block(9).Ref, o.chain.Block(8).Ref, o.chain.Block(6).Ref)
		if !ok {
			b.Fatal("a good status was refused")
		}
		o.c.Follow(target)
		for o.c.Snapshot().Heads.LocalSafe.Number != 9 {
			if _, err := o.c.step(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		longest = max(longest, o.clock.Now().Sub(start))
	}
	bound := 2*time.Duration(2)*time.Second + 20*time.Millisecond
	if longest > bound {
		b.Fatalf("a status waited %s", longest)
	}
	b.ReportMetric(longest.Seconds(), "simulated-s-to-apply")
}

// BenchmarkValidate is the judgement of a status with its L1 answers at hand.
func BenchmarkValidate(b *testing.B) {
	o := newOurs()
	cfg := o.chain.RollupConfig()
	chain := follow.Chain{Genesis: cfg.Genesis.L2, GenesisTime: cfg.Genesis.L2Time, BlockTime: cfg.BlockTime}
	status := follow.Status{
		LocalSafe: o.chain.Block(9).Ref, Safe: o.chain.Block(8).Ref, Finalized: o.chain.Block(6).Ref,
		CurrentL1: o.chain.L1().Block(30).Ref,
	}
	prev := o.c.Snapshot().Applied()
	facts := follow.Facts{Chain: chain, L1: make(follow.L1Facts), L1Final: 30}
	for _, id := range facts.L1Refs(status, prev) {
		facts.L1[id] = follow.L1Canonical
	}
	b.ReportAllocs()
	for b.Loop() {
		if reason := follow.Validate(status, facts, prev).Reason(); reason != follow.None {
			b.Fatal(reason)
		}
	}
}
