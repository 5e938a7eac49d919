package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

const (
	simL1BlockTime = 6 // seconds; three L2 blocks of two seconds have the same L1 origin
	simL2PerL1     = 3
	simPollPeriod  = 4 * time.Second
)

// simLine is a version of L2 and how far it goes.
type simLine struct {
	branch *modelel.Branch
	tip    uint64
}

// simulation is one follower in a world that is not kind to it. The world is all here: L1 and its reorgs, the L2 that an
// honest source derives from it (the truth), branches of L2 that are lies or history, an execution engine with faults
// and peers, and the time.
type simulation struct {
	t     *rapid.T
	chain *modelel.Chain
	clock *clock.DeterministicClock

	l1      testutil.L1 // as it is
	l1Final uint64
	// topL1 is the highest L1 block that there ever was, on whatever fork.
	topL1 uint64
	view  *testutil.L1 // as the node sees it
	forks int

	truth   simLine
	others  []simLine       // lies, and what was true before a reorg
	derived uint64          // L1 block up to which the honest source has derived
	history []follow.Status // what the honest source said

	el   *testutil.Engine
	snap bool // the engine executes nothing until it has synced once
	// reth tells that the engine is an op-reth.
	reth   bool
	engine *modelel.Recorder

	cfg  Config
	c    *Controller
	gate gate
	// said is what the source said last and when. shownAside tells that the engine showed that it is of another branch since,
	// so that it has to be judged again.
	said       follow.Status
	saidAt     time.Time
	shownAside bool

	// What the checks remember.
	refs      map[common.Hash]eth.L2BlockRef
	highest   map[*modelel.Branch]uint64
	shown     Snapshot
	finalized eth.L2BlockRef
	handed    map[follow.Applied]bool // targets that were handed in
	top       uint64                  // highest label that was ever handed in
	lost      bool                    // the engine lost blocks, and the controller may not know yet
	faults    int                     // calls that are still to fail, at most
	spent     int                     // engine calls in the present second
	allowance int                     // engine calls that the events of the present second may cost
	second    time.Time
	story     []string
}

func newSimulation(t *rapid.T) *simulation {
	s := &simulation{
		t:       t,
		chain:   modelel.NewChain(modelel.BlockTimes(simL1BlockTime, 2)),
		clock:   clock.NewDeterministicClock(time.Unix(modelel.DefaultGenesisTime, 0)),
		refs:    make(map[common.Hash]eth.L2BlockRef),
		highest: make(map[*modelel.Branch]uint64),
		handed:  make(map[follow.Applied]bool),
	}
	s.l1 = testutil.L1{Branch: s.chain.L1(), Head: 2}
	s.view = &testutil.L1{Branch: s.l1.Branch, Head: s.l1.Head}
	s.truth = simLine{s.chain.L2(), 2}
	opts := []modelel.Option{modelel.SyncAfterTime(time.Second, s.clock.Now)}
	s.cfg = Config{
		Rollup: s.chain.RollupConfig(), PollPeriod: simPollPeriod, CallTimeout: time.Minute, ColdStart: 10 * time.Second,
		ELSync: rapid.Bool().Draw(t, "EL sync"),
	}
	s.snap = s.cfg.ELSync && rapid.Bool().Draw(t, "snap sync")
	if s.snap {
		opts = append(opts, modelel.SnapSync())
	}
	if s.reth = rapid.Bool().Draw(t, "op-reth"); s.reth {
		opts = append(opts, modelel.Reth())
	}
	s.el = testutil.NewEngine(s.chain, modelel.NewNetwork(s.truth.branch.Blocks(0, 2)...), opts...)
	s.finalized = s.block(s.truth.branch, 0).Ref
	s.say("# EL sync: %v", s.cfg.ELSync)
	s.start()
	return s
}

// start makes a new controller, as a start of the follower does.
func (s *simulation) start() {
	s.engine = modelel.NewRecorder(s.el.Connect(), s.chain.Name)
	c, err := New(s.cfg, Deps{
		Engine: s.engine, L1: s.view, Observer: s, Metrics: simMetrics{}, Clock: s.clock,
		Log: log.NewLogger(log.DiscardHandler()),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.c, s.shown = c, Snapshot{}
	s.gate = gate{cfg: s.cfg.Rollup, el: s.el, final: func() uint64 { return s.l1Final }, start: s.view.Head}
}

// say adds a line to the transcript.
func (s *simulation) say(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf(format, args...))
}

// fail ends the run with what led there.
func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n\nThe transcript:\n\n%s\n", fmt.Sprintf(format, args...), strings.Join(s.story, "\n"))
}

func (s *simulation) forkName() string {
	s.forks++
	name := ""
	for n := s.forks; n > 0; n /= 25 {
		name = string(rune('b'+n%25)) + name
	}
	return name
}

// block is a block of a branch; the checks know it and its ancestors from then on.
func (s *simulation) block(b *modelel.Branch, number uint64) modelel.Block {
	for n := s.highest[b]; n <= number; n++ {
		ref := b.Block(n).Ref
		s.refs[ref.Hash] = ref
		s.highest[b] = n
	}
	return b.Block(number)
}

// descends tells whether the ancestor is on the chain that ends in ref.
func (s *simulation) descends(ref, ancestor eth.L2BlockRef) bool {
	for ref.Number > ancestor.Number {
		parent, ok := s.refs[ref.ParentHash]
		if !ok {
			return false
		}
		ref = parent
	}
	return ref == ancestor
}

// onTruth tells whether a block is part of the honest chain.
func (s *simulation) onTruth(ref eth.L2BlockRef) bool {
	return s.block(s.truth.branch, ref.Number).Ref == ref
}

func (s *simulation) name(ref interface{ ID() eth.BlockID }) string {
	return s.chain.Name(ref.ID().Hash)
}

// honest is what the honest source says now: batches of an L1 origin are in the next L1 block.
func (s *simulation) honest() follow.Status {
	localSafe := s.truth.tip
	if s.derived == 0 {
		localSafe = 0
	} else {
		localSafe = min(localSafe, simL2PerL1*s.derived-1)
	}
	safe := localSafe - min(localSafe, s.derived%3) // now and then the two are apart
	finalized := uint64(0)
	if s.l1Final > 0 {
		finalized = min(safe, simL2PerL1*s.l1Final-1)
	}
	at := func(n uint64) eth.L2BlockRef { return s.block(s.truth.branch, n).Ref }
	return follow.Status{
		LocalSafe: at(localSafe), Safe: at(safe), Finalized: at(finalized),
		CurrentL1: s.l1.Branch.Block(s.derived).Ref,
	}
}

// finality is the number of the highest block that an honest source has finalized or may finalize next.
func (s *simulation) finality() uint64 { return simL2PerL1*max(s.l1Final, 1) - 1 }

// poll takes a status through the gate as the driver does.
func (s *simulation) poll(status follow.Status, l1Answers bool) {
	snap := s.c.Snapshot()
	verdict := func(reason fmt.Stringer) {
		s.say("source local-safe=%s safe=%s finalized=%s current-l1=%s → %s", s.name(status.LocalSafe), s.name(status.Safe),
			s.name(status.Finalized), s.name(status.CurrentL1), reason)
	}
	switch reason := follow.Screen(status, s.gate.chain()); {
	case reason != follow.None:
		verdict(reason)
		return
	case snap.Phase == PhaseLoading, snap.Phase == PhaseAwaiting && s.clock.Since(snap.PhaseSince) < s.cfg.ColdStart:
		verdict(snap.Phase)
		return
	}
	s.gate.l1 = func(id eth.BlockID) follow.L1Answer {
		if l1Answers {
			return s.view.Canonical(id)
		}
		return follow.L1Unavailable
	}
	s.said, s.saidAt = status, s.clock.Now()
	judged, target, ok := s.gate.judge(status, snap, s.saidAt)
	verdict(judged.Reason())
	if ok {
		s.handed[target.Applied()] = true
		s.top = max(s.top, target.Labels().LocalSafe.Number)
		s.allow(40 + int(s.top)) // a walk down a branch may be part of it
		s.c.Follow(target)
	}
}

// gossip hands in a payload.
func (s *simulation) gossip(b modelel.Block) {
	s.allow(4)
	if err := s.c.Insert(b.Envelope); err != nil {
		s.say("gossip %s (waits already)", s.name(b))
		return
	}
	s.say("gossip %s", s.name(b))
}

// see lets the node see L1 as it is.
func (s *simulation) see() {
	s.view.Branch, s.view.Head = s.l1.Branch, s.l1.Head
	s.c.Rewind()
	s.allow(20)
}

// drain runs the controller until it has nothing to do now.
func (s *simulation) drain() {
	for steps := 0; ; steps++ {
		worked, err := s.c.step(context.Background())
		calls := s.engine.Log().Take()
		for _, call := range calls {
			s.say("    %s", call)
		}
		s.spend(len(calls))
		if err != nil {
			s.fail("the controller gave up: %v", err)
		}
		if !worked && s.shownAside {
			s.shownAside = false
			s.gate.judge(s.said, s.c.Snapshot(), s.saidAt) // as the driver does, which takes it for the first answer of two
			continue
		}
		if !worked {
			return
		}
		if steps > 5000 {
			s.fail("the controller does not come to rest")
		}
	}
}

// wait lets time pass.
func (s *simulation) wait(d time.Duration) {
	s.say("wait %s", d)
	end := s.clock.Now().Add(d)
	s.drain()
	for s.clock.Now().Before(end) {
		pause := min(s.c.untilDue(), end.Sub(s.clock.Now()))
		s.clock.AdvanceTime(max(pause, time.Millisecond))
		s.drain()
	}
}

// allow raises what the controller may ask of the engine in the present second.
func (s *simulation) allow(calls int) { s.allowance += calls }

// spend counts engine calls. Without any event, twenty probes, a few
// retries and one walk down a branch are all that a second is for.
func (s *simulation) spend(calls int) {
	if now := s.clock.Now(); now.Sub(s.second) >= time.Second {
		s.second, s.spent, s.allowance = now, 0, 60+int(s.top)
	}
	s.spent += calls
	if s.spent > s.allowance {
		s.fail("%d engine calls within a second, %d would do", s.spent, s.allowance)
	}
}

// simMetrics counts nothing.
type simMetrics struct{}

func (simMetrics) RecordTask(string, time.Duration, time.Duration, bool)  {}
func (simMetrics) RecordUnsafePayloadsBuffer(uint64, uint64, eth.BlockID) {}
func (simMetrics) RecordFollowSourceReorg(string)                         {}
