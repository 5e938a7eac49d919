package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	opmetrics "github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// testbed is what any engine needs to play a script: a world and an engine of its own in it.
type testbed struct {
	chain *modelel.Chain
	clock *clock.DeterministicClock
	el    *testutil.Engine
	// client is the engine as a node sees it.
	client *sources.EngineClient
}

// newTestbed is an engine that has 0 to 10 with safe 5 and finalized 2. Branch b leaves the main one after 6, branch f
// after 1, which is below finality. Peers have all of them up to 30.
func newTestbed() *testbed {
	b := &testbed{chain: modelel.NewChain(modelel.BlockTimes(simL1BlockTime, 2)),
		clock: clock.NewDeterministicClock(time.Unix(modelel.DefaultGenesisTime, 0))}
	peers := modelel.NewNetwork(b.chain.L2().Blocks(0, 30)...)
	peers.Publish(b.chain.L2().Fork("b", 6).Blocks(7, 30)...)
	peers.Publish(b.chain.L2().Fork("f", 1).Blocks(2, 30)...)
	b.el = testutil.NewEngine(b.chain, peers, modelel.SyncAfterTime(time.Second, b.clock.Now))
	b.el.Load(b.chain.L2().Blocks(1, 10)...)
	b.el.SetLabels(b.chain.Block(5).Hash(), b.chain.Block(2).Hash())
	b.client = b.el.Connect()
	return b
}

func (b *testbed) find(name string) modelel.Block {
	if name == "?" {
		ref := b.chain.Block(12).Ref
		ref.Hash = common.Hash{0xfa}
		return modelel.Block{Ref: ref}
	}
	block, err := b.chain.Find(name)
	if err != nil {
		panic(err)
	}
	return block
}

// contender follows statuses that were accepted, and takes payloads.
type contender interface {
	follow(localSafe, safe, finalized eth.L2BlockRef)
	gossip(modelel.Block)
	// tick lets five seconds pass.
	tick()
	bed() *testbed
}

// play performs a script, a command a line:
//
//	follow 8 6 3     a status with local-safe, safe and finalized
//	gossip 11 12     payloads
//	tick             five seconds
//	restart          of the engine
//	lose 8           the engine loses the blocks above
//
// and then lets the same status be repeated, until all is settled. It tells the heads that the engine ends up with.
func play(c contender, script string) string {
	bed := c.bed()
	var last []string
	perform := func(words []string) {
		switch words[0] {
		case "follow":
			last = words
			c.follow(bed.find(words[1]).Ref, bed.find(words[2]).Ref, bed.find(words[3]).Ref)
		case "gossip":
			for _, name := range words[1:] {
				c.gossip(bed.find(name))
			}
		case "tick":
			c.tick()
		case "restart":
			bed.el.Restart()
		case "lose":
			var number uint64
			if _, err := fmt.Sscan(words[1], &number); err != nil {
				panic(err)
			}
			bed.el.Rewind(number)
		default:
			panic("unknown command " + words[0])
		}
	}
	for line := range strings.Lines(script) {
		if words := strings.Fields(line); len(words) > 0 {
			perform(words)
		}
	}
	for range 3 {
		if last != nil {
			perform(last)
		}
		c.tick()
	}
	return bed.el.String()
}

// ours is our controller.
type ours struct {
	*testbed
	c    *Controller
	l1   uint64
	gate gate
	// said is when the source answered last.
	said time.Time
}

func newOurs() *ours {
	b := newTestbed()
	cfg := Config{Rollup: b.chain.RollupConfig(), PollPeriod: simPollPeriod, CallTimeout: time.Minute, ColdStart: 10 * time.Second}
	c, err := New(cfg, Deps{
		Engine: b.client, L1: &testutil.L1{Branch: b.chain.L1(), Head: 1000}, Observer: nullObserver{}, Metrics: simMetrics{}, Clock: b.clock,
		Log: log.NewLogger(log.DiscardHandler()),
	})
	if err != nil {
		panic(err)
	}
	o := &ours{testbed: b, c: c, l1: 20}
	o.gate = gate{cfg: cfg.Rollup, el: b.el, final: func() uint64 { return o.l1 },
		l1: func(eth.BlockID) follow.L1Answer { return follow.L1Canonical }}
	o.drain()
	return o
}

type nullObserver struct{}

func (nullObserver) OnSnapshot(*Snapshot) {}

func (o *ours) bed() *testbed { return o.testbed }

func (o *ours) follow(localSafe, safe, finalized eth.L2BlockRef) {
	for range 3 { // what takes blocks back has to be said twice
		verdict, target, ok := o.judge(localSafe, safe, finalized)
		if ok {
			o.c.Follow(target)
		}
		o.drain()
		if verdict.Reason() == follow.None && len(o.c.Snapshot().Aside) == 0 {
			return
		}
		o.said = o.said.Add(2 * time.Second)
	}
}

// judge takes a status through the gate. The source reads on in L1, so that nothing looks like a replay.
func (o *ours) judge(localSafe, safe, finalized eth.L2BlockRef) (follow.Verdict, follow.Target, bool) {
	o.l1++
	status := follow.Status{LocalSafe: localSafe, Safe: safe, Finalized: finalized, CurrentL1: o.chain.L1().Block(o.l1).Ref}
	return o.gate.judge(status, o.c.Snapshot(), o.said)
}

func (o *ours) gossip(b modelel.Block) {
	_ = o.c.Insert(b.Envelope) // a payload that waits already
	o.drain()
}

func (o *ours) drain() {
	for range 10_000 {
		worked, err := o.c.step(context.Background())
		if err != nil {
			panic(err)
		}
		if !worked {
			return
		}
	}
	panic("the controller does not come to rest")
}

func (o *ours) tick() {
	for end := o.clock.Now().Add(5 * time.Second); o.clock.Now().Before(end); {
		o.clock.AdvanceTime(max(min(o.c.untilDue(), end.Sub(o.clock.Now())), time.Millisecond))
		o.drain()
	}
}

// theirs is upstream's controller, with those parts of upstream's driver that act on it in follow mode.
type theirs struct {
	*testbed
	c      *upstream.EngineController
	exec   *event.GlobalSyncExec
	emit   event.Emitter
	resets int
	l1     uint64
}

func newTheirs(warm bool) *theirs {
	b := newTestbed()
	logger := log.NewLogger(log.DiscardHandler())
	ctx := context.Background()
	t := &theirs{testbed: b, exec: event.NewGlobalSynchronous(ctx), l1: 20}
	sys := event.NewSystem(logger, t.exec)
	cfg := &sync.Config{SyncMode: sync.CLSync, L2FollowSourceEndpoint: "http://localhost"}
	interop := *b.chain.RollupConfig()
	interop.LagoonTime = new(uint64) // before it, upstream makes all that is local-safe safe
	t.c = upstream.NewEngineController(ctx, b.client, logger, opmetrics.NoopMetrics, &interop, cfg,
		l1Client{b.chain.L1()}, sys.Register("engine-controller", nil), nil)
	sys.Register("engine", t.c)
	t.emit = sys.Register("driver", t)
	if warm {
		t.c.TryUpdateEngine(ctx) // reads the engine's labels
		t.drain()
	}
	return t
}

func (t *theirs) bed() *testbed { return t.testbed }

// OnEvent answers a request for a reset as upstream's driver does. Without its backoff, a few in a row have to do.
func (t *theirs) OnEvent(ctx context.Context, ev event.Event) bool {
	if _, ok := ev.(rollup.ResetEvent); ok && t.resets < 3 {
		t.resets++
		t.emit.Emit(ctx, upstream.ResetEngineRequestEvent{})
		return true
	}
	return false
}

func (t *theirs) drain() {
	t.resets = 0
	if err := t.exec.Drain(); err != nil {
		panic(err)
	}
}

func (t *theirs) follow(localSafe, safe, finalized eth.L2BlockRef) {
	t.l1++
	t.emit.Emit(context.Background(), derive.DeriverL1StatusEvent{Origin: t.chain.L1().Block(t.l1).Ref})
	t.c.FollowSource(safe, localSafe, finalized)
	t.drain()
}

func (t *theirs) gossip(b modelel.Block) {
	t.c.AddUnsafePayload(context.Background(), b.Envelope)
	t.drain()
}

// tick is upstream's look at gaps in the queue.
func (t *theirs) tick() {
	t.clock.AdvanceTime(5 * time.Second)
	if envelope, ref := t.c.PeekUnsafePayload(); envelope != nil && ref.Number > t.c.UnsafeL2Head().Number+1 {
		_ = t.c.InsertUnsafePayload(context.Background(), envelope, ref) // upstream logs it
	}
	t.drain()
}

// l1Client is an L1 endpoint.
type l1Client struct{ branch *modelel.L1Branch }

func (c l1Client) L1BlockRefByLabel(context.Context, eth.BlockLabel) (eth.L1BlockRef, error) {
	return c.branch.Block(1000).Ref, nil
}

func (c l1Client) L1BlockRefByNumber(_ context.Context, number uint64) (eth.L1BlockRef, error) {
	return c.branch.Block(number).Ref, nil
}

func (c l1Client) L1BlockRefByHash(_ context.Context, hash common.Hash) (eth.L1BlockRef, error) {
	for n := uint64(0); n < 100; n++ {
		if ref := c.branch.Block(n).Ref; ref.Hash == hash {
			return ref, nil
		}
	}
	return eth.L1BlockRef{}, fmt.Errorf("no L1 block %s", hash)
}
