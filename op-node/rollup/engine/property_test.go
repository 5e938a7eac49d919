package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// TestInvariants (spec I1, I3–I6) lets random things happen to a follower. The invariants hold all the time, and once the trouble is over
// the heads are those of the honest source. A counterexample is printed as a transcript.
//
//	go test ./op-node/rollup/engine -run TestInvariants -rapid.checks=10000
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(t)
		t.Repeat(map[string]func(*rapid.T){
			"L1 advances":       s.advanceL1,
			"L1 reorgs":         s.reorgL1,
			"L1 finalizes":      s.finalizeL1,
			"L2 is replaced":    s.replaceL2,
			"a lie is prepared": s.prepareLie,
			"gossip":            s.gossipBlock,
			"gossip next":       s.gossipNext,
			"gossip run":        s.gossipRun,
			"honest poll":       s.pollHonest,
			"honest poll 2":     s.pollHonest,
			"old status":        s.pollOld,
			"lie":               s.pollLie,
			"mixed status":      s.pollMixed,
			"garbage status":    s.pollGarbage,
			"peers":             s.publish,
			"engine fault":      s.breakEngine,
			"engine restarts":   s.restartEngine,
			"engine forgets":    s.rewindEngine,
			"follower restart":  s.restart,
			"wait":              s.waitSome,
			"wait a poll":       s.waitPoll,
			"":                  s.checkAtRest,
		})
		s.converge()
	})
}

// OnSnapshot checks what is published, in the moment it is.
func (s *simulation) OnSnapshot(snap *Snapshot) {
	before := s.shown
	defer func() { s.shown = *snap }()
	if snap.Phase == PhaseLoading {
		return
	}
	h := snap.Heads
	if h != before.Heads || snap.Pending != before.Pending || snap.CurrentL1 != before.CurrentL1 || snap.Phase != before.Phase {
		s.say("    unsafe=%s local-safe=%s safe=%s finalized=%s current-l1=%s%s", s.name(h.Unsafe), s.name(h.LocalSafe),
			s.name(h.Safe), s.name(h.Finalized), s.name(snap.CurrentL1), s.remark(snap))
	}
	s.shownAside = s.shownAside || !slices.Equal(snap.Aside, before.Aside) && len(snap.Aside) > 0
	s.checkOrder(snap)
	s.checkFinality(snap)
	s.checkCoherence(snap)
	if h != before.Heads {
		s.checkAcknowledged(snap)
	}
}

func (s *simulation) remark(snap *Snapshot) string {
	remark := ""
	if snap.Phase != PhaseFollowing {
		remark += " " + snap.Phase.String()
	}
	if snap.Pending != (eth.L2BlockRef{}) {
		remark += " pending=" + s.name(snap.Pending)
	}
	return remark
}

// checkOrder is spec I4.
func (s *simulation) checkOrder(snap *Snapshot) {
	h := snap.Heads
	if h.Labels == (follow.Labels{}) {
		return // none is known: the engine has labelled nothing and did not say that it has genesis
	}
	if !s.descends(h.LocalSafe.L2BlockRef, h.Safe.L2BlockRef) {
		s.fail("I4: safe %s is not an ancestor of local-safe %s", s.name(h.Safe), s.name(h.LocalSafe))
	}
	if !s.descends(h.Safe.L2BlockRef, h.Finalized.L2BlockRef) {
		s.fail("I4: finalized %s is not an ancestor of safe %s", s.name(h.Finalized), s.name(h.Safe))
	}
	if snap.Phase != PhaseSyncing && !s.descends(h.Unsafe.L2BlockRef, h.LocalSafe.L2BlockRef) {
		s.fail("I4: local-safe %s is not an ancestor of unsafe %s", s.name(h.LocalSafe), s.name(h.Unsafe))
	}
}

// checkFinality is spec I3. No source in this world finalizes a block that is not true.
func (s *simulation) checkFinality(snap *Snapshot) {
	finalized := snap.Heads.Finalized.L2BlockRef
	if (finalized.Hash == common.Hash{}) {
		if s.shown.Heads.Finalized != snap.Heads.Finalized { // of this process: what it has read at its start may be nothing
			s.fail("I3: finalized %s became unknown", s.name(s.finalized))
		}
		return
	}
	if !s.descends(finalized, s.finalized) {
		s.fail("I3: finalized went from %s to %s", s.name(s.finalized), s.name(finalized))
	}
	if !s.onTruth(finalized) {
		s.fail("I3: %s was finalized, which is not on the honest chain", s.name(finalized))
	}
	s.finalized = finalized
}

// checkCoherence is spec I5, I7: the current L1 is that of the target that the labels are from.
func (s *simulation) checkCoherence(snap *Snapshot) {
	if (snap.CurrentL1.Hash == common.Hash{}) || s.handed[snap.Applied()] {
		return
	}
	if !s.shown.GoneSince.IsZero() && s.leftOfL1(snap) { // spec P3, G2, G3: what they rested on has been gone for a while
		s.handed[snap.Applied()] = true
		return
	}
	s.fail("I5: no target had these labels and current L1 %s", s.name(snap.CurrentL1))
}

// leftOfL1 tells whether labels can be what an L1 reorg left: those of a target, finalized aside, or a block with its origin.
func (s *simulation) leftOfL1(snap *Snapshot) bool {
	if snap.CurrentL1.ID() == snap.Heads.LocalSafe.L1Origin {
		return true
	}
	for was := range s.handed {
		final := snap.Heads.Finalized.L2BlockRef
		if was.CurrentL1 == snap.CurrentL1 && higher(was.LocalSafe.L2BlockRef, final) == snap.Heads.LocalSafe.L2BlockRef &&
			higher(was.Safe.L2BlockRef, final) == snap.Heads.Safe.L2BlockRef {
			return true
		}
	}
	return false
}

// checkAcknowledged: heads that change are on the engine's chain.
func (s *simulation) checkAcknowledged(snap *Snapshot) {
	var heads []eth.L2BlockRef
	if snap.Heads.Labels != (follow.Labels{}) {
		heads = append(heads, snap.Heads.LocalSafe.L2BlockRef, snap.Heads.Safe.L2BlockRef, snap.Heads.Finalized.L2BlockRef)
	}
	if snap.Phase == PhaseFollowing {
		heads = append(heads, snap.Heads.Unsafe.L2BlockRef)
	}
	for _, ref := range heads {
		have, err := s.el.L2BlockRefByNumber(context.Background(), ref.Number)
		if err == nil && have == ref {
			continue
		}
		if !s.lost {
			s.fail("%s was published, and is not on the engine's chain: %s", s.name(ref), s.el)
		}
		return
	}
	s.lost = false
}

// checkAtRest is looked at after every event.
func (s *simulation) checkAtRest(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "busy") == 0 {
		return // the next event comes before the controller gets to work
	}
	s.drain()
	snap := s.c.Snapshot()
	if snap.Phase != PhaseFollowing {
		return
	}
	head := snap.Heads.Unsafe
	for n := range head.Number + 20 {
		if ref, ok := s.c.recent.at(n); ok && !s.descends(head.L2BlockRef, ref) {
			s.fail("%s is remembered, and is not on the chain of %s", s.name(ref), s.name(head))
		}
	}
	if s.faults > 0 || s.lost {
		return
	}
	if s.view.Canonical(head.L1Origin) == follow.L1Mismatch && head.Number > snap.Heads.LocalSafe.Number && s.quiet() {
		s.fail("unsafe head %s stands on an L1 fork", s.name(head))
	}
}

// quiet tells that the controller has nothing to retry.
func (s *simulation) quiet() bool {
	for _, timer := range s.c.timers {
		if !timer.at.IsZero() {
			return false
		}
	}
	return true
}

func (s *simulation) advanceL1(t *rapid.T) {
	s.l1.Head += rapid.Uint64Range(1, 2).Draw(t, "L1 blocks")
	s.topL1 = max(s.topL1, s.l1.Head)
	stalled := rapid.IntRange(0, 5).Draw(t, "L1 stalls") == 0
	if stalled {
		s.say("l1 head=%s (the node does not hear of it)", s.name(s.l1.Branch.Block(s.l1.Head)))
		return
	}
	s.say("l1 head=%s", s.name(s.l1.Branch.Block(s.l1.Head)))
	s.see()
}

// reorgL1 replaces the end of L1, above its finality. What L2 has of it goes as well.
func (s *simulation) reorgL1(t *rapid.T) {
	if s.l1.Head <= s.l1Final {
		return // all of L1 is final
	}
	last := rapid.Uint64Range(max(s.l1Final, s.l1.Head-min(s.l1.Head, 4)), s.l1.Head-1).Draw(t, "last shared L1 block")
	s.l1.Branch = s.l1.Branch.Fork(s.forkName(), last)
	s.l1.Head = rapid.Uint64Range(last+1, s.l1.Head+1).Draw(t, "new L1 head")
	s.topL1 = max(s.topL1, s.l1.Head)
	shared := simL2PerL1*(last+1) - 1
	s.others = append(s.others, s.truth)
	s.truth = simLine{s.truth.branch.ForkOn(s.l1.Branch, s.forkName(), shared), min(s.truth.tip, shared)}
	s.derived = min(s.derived, rapid.Uint64Range(last, s.l1.Head).Draw(t, "derived again"))
	s.say("l1 reorg head=%s; L2 goes on after %s", s.name(s.l1.Branch.Block(s.l1.Head)), s.name(s.truth.branch.Block(s.truth.tip)))
	s.see()
}

func (s *simulation) finalizeL1(t *rapid.T) {
	if s.derived == 0 || s.l1Final >= s.derived {
		return // nothing to finalize
	}
	s.l1Final = rapid.Uint64Range(s.l1Final, s.derived).Draw(t, "L1 finality")
	s.say("l1 finalized=%s", s.name(s.l1.Branch.Block(s.l1Final)))
}

// replaceL2 has the honest source revoke blocks on an unchanged L1, which takes an L1 block to read.
func (s *simulation) replaceL2(t *rapid.T) {
	if s.derived >= s.l1.Head || s.truth.tip <= s.finality() {
		return // nothing to revoke
	}
	last := rapid.Uint64Range(s.finality(), s.truth.tip-1).Draw(t, "last kept")
	s.derived++
	s.others = append(s.others, s.truth)
	s.truth = simLine{s.truth.branch.Fork(s.forkName(), last), rapid.Uint64Range(last, s.truth.tip).Draw(t, "new tip")}
	s.say("L2 is replaced after %s, tip %s", s.name(s.truth.branch.Block(last)), s.name(s.truth.branch.Block(s.truth.tip)))
}

// prepareLie makes a branch that no honest source derives.
func (s *simulation) prepareLie(t *rapid.T) {
	if s.truth.tip <= s.finality() {
		return // all of L2 may be final
	}
	last := rapid.Uint64Range(s.finality(), s.truth.tip-1).Draw(t, "last true")
	lie := simLine{s.truth.branch.Fork(s.forkName(), last), last + rapid.Uint64Range(1, 6).Draw(t, "lies")}
	s.others = append(s.others, lie)
	s.block(lie.branch, lie.tip)
	known := rapid.Bool().Draw(t, "peers have it")
	if known {
		s.el.Peers.Publish(lie.branch.Blocks(last+1, lie.tip)...)
	}
	s.say("branch up to %s (peers have it: %v)", s.name(lie.branch.Block(lie.tip)), known)
}

// produce is the honest sequencer at work.
func (s *simulation) produce() (modelel.Block, bool) {
	if s.truth.tip+1 > simL2PerL1*(s.l1.Head+1)-1 {
		return modelel.Block{}, false // the next L1 origin is not there yet
	}
	s.truth.tip++
	return s.block(s.truth.branch, s.truth.tip), true
}

// gossipRun is the sequencer's blocks arriving one after the other.
func (s *simulation) gossipRun(t *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(t, "blocks") {
		if b, ok := s.produce(); ok {
			s.gossip(b)
		}
	}
}

// gossipBlock is any block at all: old, new, twice, with a gap, of another branch.
func (s *simulation) gossipBlock(t *rapid.T) {
	line := rapid.SampledFrom(append([]simLine{s.truth}, s.others...)).Draw(t, "line")
	tip := max(line.tip, 1)
	s.gossip(s.block(line.branch, rapid.Uint64Range(max(tip, 6)-5, tip).Draw(t, "number")))
}

// gossipNext is spec I6: a block that extends the unsafe head becomes the unsafe head, whatever source and L1 do.
func (s *simulation) gossipNext(t *rapid.T) {
	s.drain()
	snap := s.c.Snapshot()
	head := snap.Heads.Unsafe.L2BlockRef
	if snap.Phase != PhaseFollowing || s.snap || s.faults > 0 || s.lost || !s.quietBut(KindProbe, KindGap, KindFollow) {
		return // not in a state to insert
	}
	line := s.truth
	if !s.onTruth(head) {
		return // on another branch
	}
	next := s.block(line.branch, head.Number+1)
	if s.view.Canonical(next.Ref.L1Origin) == follow.L1Mismatch || next.Ref.L1Origin.Number > s.l1.Head {
		return // no L1 origin for it
	}
	s.truth.tip = max(s.truth.tip, next.Ref.Number)
	s.gossip(next)
	s.drain()
	if now := s.c.Snapshot().Heads.Unsafe.L2BlockRef; !s.descends(now, next.Ref) {
		s.fail("I6: %s extends the unsafe head and was not inserted, unsafe is %s", s.name(next), s.name(now))
	}
}

func (s *simulation) quietBut(kinds ...Kind) bool {
	for kind, timer := range s.c.timers {
		expected := false
		for _, k := range kinds {
			expected = expected || Kind(kind) == k
		}
		if !expected && !timer.at.IsZero() {
			return false
		}
	}
	return true
}

func (s *simulation) pollHonest(t *rapid.T) {
	s.derived = rapid.Uint64Range(s.derived, s.l1.Head).Draw(t, "derived")
	status := s.honest()
	s.history = append(s.history, status)
	s.poll(status, rapid.IntRange(0, 9).Draw(t, "L1 answers") > 0)
}

// pollOld is a stale cache, a lagging replica, a replay.
func (s *simulation) pollOld(t *rapid.T) {
	if len(s.history) == 0 {
		return // nothing was said yet
	}
	s.poll(rapid.SampledFrom(s.history).Draw(t, "old status"), true)
}

// pollLie is a source on another branch, or one that names blocks that do not exist.
func (s *simulation) pollLie(t *rapid.T) {
	status := s.honest()
	if len(s.others) > 0 && rapid.IntRange(0, 4).Draw(t, "branch") > 0 {
		lie := rapid.SampledFrom(s.others).Draw(t, "lie")
		number := max(lie.tip, status.Safe.Number)
		status.LocalSafe = s.block(lie.branch, number).Ref
		if rapid.Bool().Draw(t, "safe as well") {
			status.Safe = s.block(lie.branch, rapid.Uint64Range(status.Finalized.Number, number).Draw(t, "safe")).Ref
		}
	} else {
		status.LocalSafe = s.block(s.truth.branch, s.truth.tip).Ref
		status.LocalSafe.Hash = common.Hash{0xfa, byte(rapid.IntRange(0, 3).Draw(t, "invented"))}
		if status.Safe.Number == status.LocalSafe.Number {
			status.Safe = status.LocalSafe
		}
		if status.Finalized.Number == status.LocalSafe.Number {
			status.Finalized = status.LocalSafe
		}
	}
	status.CurrentL1 = s.l1.Branch.Block(rapid.Uint64Range(s.derived, s.l1.Head).Draw(t, "current L1")).Ref
	if status.Finalized == status.LocalSafe && !s.onTruth(status.Finalized) {
		return // this world has no finalized lies
	}
	s.poll(status, true)
}

// pollMixed is a proxy in front of replicas on different branches: parts of a status do not belong together.
func (s *simulation) pollMixed(t *rapid.T) {
	if len(s.others) == 0 {
		return // one branch only
	}
	status := s.honest()
	other := rapid.SampledFrom(s.others).Draw(t, "other")
	part := func(ref eth.L2BlockRef) eth.L2BlockRef { return s.block(other.branch, ref.Number).Ref }
	switch rapid.IntRange(0, 3).Draw(t, "part") {
	case 0:
		status.Safe = part(status.Safe)
	case 1:
		status.Finalized = part(status.Finalized)
	case 2:
		status.LocalSafe = part(status.LocalSafe)
	case 3:
		if status.LocalSafe.Number > 0 {
			status.LocalSafe.L1Origin = s.l1.Branch.Block(s.l1.Head).ID()
			status.LocalSafe.SequenceNumber = 0
		}
	}
	s.poll(status, true)
}

// pollGarbage is a source of another chain, or one that is broken.
func (s *simulation) pollGarbage(t *rapid.T) {
	status := s.honest()
	switch rapid.IntRange(0, 3).Draw(t, "garbage") {
	case 0:
		status.LocalSafe.Time++
	case 1:
		status.Finalized, status.Safe = status.Safe, status.Finalized
	case 2:
		status.CurrentL1 = eth.L1BlockRef{}
	case 3:
		status.CurrentL1.Hash[0]++
	}
	s.poll(status, true)
}

// publish lets the peers of the engine have the honest chain.
func (s *simulation) publish(*rapid.T) {
	s.say("peers have up to %s", s.name(s.truth.branch.Block(s.truth.tip)))
	s.el.Peers.Publish(s.truth.branch.Blocks(0, s.truth.tip)...)
}

func (s *simulation) breakEngine(t *rapid.T) {
	slow := modelel.Before(func() { s.clock.AdvanceTime(1500 * time.Millisecond) })
	restart := func() { s.el.Restart() }
	faults := []struct {
		name  string
		fault modelel.Fault
	}{
		{"drop", modelel.Drop()},
		{"late", modelel.Late(modelel.Drop())},
		{"-38002", modelel.RPCError(-38002, "invalid forkchoice state")},
		{"late -38002", modelel.Late(modelel.RPCError(-38002, "invalid forkchoice state"))},
		{"reaiming", modelel.Reaiming()},
		{"null", modelel.NilAnswer()},
		{"late null", modelel.Late(modelel.NilAnswer())},
		{"empty", modelel.EmptyAnswer()},
		{"forget", modelel.Forget()},
		{"slow", slow},
		{"restart before", modelel.Before(restart)},
		{"restart after", modelel.After(restart)},
		{"restart after, and drop", modelel.Both(modelel.Late(modelel.Drop()), modelel.After(restart))},
	}
	i := rapid.IntRange(0, len(faults)-1).Draw(t, "fault")
	n := rapid.IntRange(1, 3).Draw(t, "times")
	var methods []modelel.Method
	if m := rapid.IntRange(0, 5).Draw(t, "method"); m > 0 {
		methods = []modelel.Method{[]modelel.Method{modelel.FCU, modelel.NewPayload, modelel.ByLabel, modelel.ByHash, modelel.ByNumber}[m-1]}
	}
	s.say("engine fault: %s, %d times, %v", faults[i].name, n, methods)
	s.el.Line.Next(n, faults[i].fault, methods...)
	s.faults += n
}

func (s *simulation) restartEngine(*rapid.T) {
	s.say("engine restarts")
	s.el.Restart()
}

// rewindEngine loses blocks that are not finalized, as an engine does that is killed.
func (s *simulation) rewindEngine(t *rapid.T) {
	heads := s.el.Heads()
	if heads.Latest.Number <= heads.Finalized.Number {
		return // nothing to lose
	}
	number := rapid.Uint64Range(heads.Finalized.Number, heads.Latest.Number-1).Draw(t, "kept")
	s.say("engine loses blocks above %d", number)
	s.el.Kill(number)
	s.lost = true
	s.allow(100)
}

// restart makes a new process, which knows of what was final as much as the engine does: an op-reth leaves its labels as they
// are when an update has a head below its own.
func (s *simulation) restart(*rapid.T) {
	s.say("follower restarts")
	if labelled := s.el.Heads().Finalized; s.reth && labelled.Number < s.finalized.Number {
		s.finalized = s.block(s.truth.branch, labelled.Number).Ref
	}
	s.start()
}

func (s *simulation) waitSome(t *rapid.T) {
	s.wait(time.Duration(rapid.IntRange(1, 60).Draw(t, "tenths")) * 100 * time.Millisecond)
}

func (s *simulation) waitPoll(*rapid.T) { s.wait(simPollPeriod) }

// heal ends all trouble: the engine works and its peers have the honest chain, the node sees L1, which is longer than any
// fork that it left, and the honest source has got beyond everything that was ever claimed.
func (s *simulation) heal() {
	s.say("# the trouble is over")
	s.el.Line.Heal()
	s.faults = 0
	s.l1.Head = max(s.l1.Head, s.topL1, s.top/simL2PerL1+1, s.truth.tip/simL2PerL1) + 2
	s.derived, s.l1Final = s.l1.Head, s.l1.Head
	for s.truth.tip < simL2PerL1*s.derived-1 {
		s.produce()
	}
	s.el.Peers.Publish(s.truth.branch.Blocks(0, s.truth.tip)...)
	s.say("l1 head=%s; peers have up to %s", s.name(s.l1.Branch.Block(s.l1.Head)), s.name(s.truth.branch.Block(s.truth.tip)))
	s.see()
}

// converge checks that the heads become those of the honest source in three polls, or as many more as an initial sync or
// a target that nobody has takes up.
func (s *simulation) converge() {
	s.heal()
	polls := 3 // one of another branch has to be said twice, and finalizes nothing at once
	if s.c.Snapshot().Phase != PhaseFollowing || s.lost {
		polls += 5 // the delay of a cold start, a sync target that is given up, and the sync
	}
	if s.c.Snapshot().Pending != (eth.L2BlockRef{}) {
		polls += 2
	}
	want := s.honest()
	for range polls {
		s.poll(want, true)
		s.wait(simPollPeriod)
	}
	heads := s.c.Snapshot().Heads
	got := fmt.Sprintf("local-safe=%s safe=%s finalized=%s", s.name(heads.LocalSafe), s.name(heads.Safe), s.name(heads.Finalized))
	if heads.LocalSafe.L2BlockRef != want.LocalSafe || heads.Safe.L2BlockRef != want.Safe || heads.Finalized.L2BlockRef != want.Finalized {
		s.fail("after %d polls without trouble: %s, outcome %s %s", polls, got, s.c.Snapshot().Outcome.Case, s.c.Snapshot().Outcome.Reason)
	}
	if s.lost {
		s.fail("labels that the engine lost are still published")
	}
}
