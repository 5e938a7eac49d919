package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// story is one follower and its world: an engine with peers and faults, L1, a source. The controller is driven step by
// step, in a testing/synctest bubble, so that nothing happens but what a command asks for.
type story struct {
	t     testing.TB
	chain *modelel.Chain
	// other is another rollup; its blocks are called x0, x1, ….
	other *modelel.Chain
	l1    testutil.L1
	el    *testutil.Engine
	calls *modelel.Recorder
	cfg   Config

	controller *Controller
	logs       *storyLog

	gate     gate
	handed   follow.Target
	polledAt time.Time
	// status is what the source says, reason the newest verdict on it.
	status follow.Status
	judged bool
	reason follow.Reason
	again  bool

	// seen is the newest snapshot, told what the transcript showed of it last.
	seen, told *Snapshot
	// lost tells that the engine lost blocks, so that what is published need not be there until the follower noticed.
	lost bool
	// strayed tells that the engine took another head by itself, when it had fetched it, and was not told heads since.
	strayed bool
	// flooded tells to show when labels are applied.
	flooded bool
	// began is when the present command began, events what happened since.
	began  time.Time
	events []storyEvent
}

// storyEvent is a line of a transcript.
type storyEvent struct {
	at     time.Duration
	text   string
	method modelel.Method // of an engine call
	answer string
}

func newStory(t testing.TB) *story {
	s := &story{t: t, chain: modelel.NewChain(), other: modelel.NewChain(modelel.GenesisTime(modelel.DefaultGenesisTime - 7))}
	s.l1.Branch = s.chain.L1()
	s.logs = &storyLog{story: s}
	rollup := s.chain.RollupConfig()
	period := 2 * time.Duration(rollup.BlockTime) * time.Second
	s.cfg = Config{Rollup: rollup, PollPeriod: period, CallTimeout: 5 * time.Second, ColdStart: 10 * time.Second}
	s.seen, s.told = &Snapshot{}, &Snapshot{}
	s.engine()
	return s
}

// engine gives the follower another engine, with the story's peers.
func (s *story) engine(opts ...modelel.Option) {
	peers := modelel.NewNetwork()
	if s.el != nil {
		peers = s.el.Peers
	}
	s.el = testutil.NewEngine(s.chain, peers, opts...)
}

// boot starts the follower's process, on whatever the engine has.
func (s *story) boot() {
	s.calls = modelel.NewRecorder(s.el.Connect(), s.chain.Name)
	c, err := New(s.cfg, Deps{
		Engine: s.calls, L1: &s.l1, Observer: s, Role: Verifier{}, Metrics: noMetrics{}, Clock: clock.SystemClock, Log: log.NewLogger(s.logs),
	})
	if err != nil {
		s.t.Fatalf("boot: %v", err)
	}
	s.controller, s.seen, s.handed = c, c.Snapshot(), follow.Target{}
	s.gate = gate{cfg: s.cfg.Rollup, el: s.el, l1: s.l1.Canonical, final: s.l1.Finalized, start: s.l1.Head}
	s.judged, s.reason = false, follow.None
}

// run lets the controller work until it is idle, and the driver with it.
func (s *story) run() {
	const hot = 50_000
	for n := 0; ; n++ {
		worked, err := s.controller.step(context.Background())
		s.noteCalls()
		if err != nil {
			s.t.Fatalf("the node would stop: %v", err)
		}
		if n > hot {
			s.t.Fatalf("still working after %d tasks and no time\n%s", n, s.Tell())
		}
		if s.again {
			s.again = false
			s.judgeWaiting()
		} else if !worked {
			return
		}
	}
}

// wait lets time pass, with a poll of the source every period if there is one.
func (s *story) wait(d, period time.Duration) {
	end := time.Now().Add(d)
	nextPoll := end.Add(time.Second)
	if period > 0 {
		nextPoll = time.Now().Add(period)
	}
	for {
		s.run()
		now := time.Now()
		if !now.Before(nextPoll) {
			nextPoll = now.Add(period)
			s.poll()
			continue
		}
		if !now.Before(end) {
			return
		}
		pause := min(s.controller.untilDue(), end.Sub(now), nextPoll.Sub(now))
		if pause <= 0 {
			s.t.Fatalf("idle with a timer that is due\n%s", s.Tell())
		}
		time.Sleep(pause)
	}
}

// poll asks the source once, if the driver would, and lets the node work.
func (s *story) poll() {
	snap := s.controller.Snapshot()
	if snap.Phase == PhaseAwaiting && time.Since(snap.PhaseSince) < s.cfg.ColdStart {
		s.note("not polled: the engine may yet get a payload to sync to")
		return
	}
	s.polledAt = time.Now()
	s.judge(false)
	s.run()
}

// judge does with the source's status what the driver does; again tells that it was judged before.
func (s *story) judge(again bool) {
	if reason := follow.Screen(s.status, s.gate.chain()); reason != follow.None {
		if !again {
			s.verdict(reason, ", L1 not asked")
		}
		return
	}
	snap := s.controller.Snapshot()
	if snap.Phase == PhaseLoading {
		s.verdict(follow.EngineUnavailable, "")
		return
	}
	verdict, target, ok := s.gate.judge(s.status, snap, s.polledAt)
	if !again || verdict.Reason() != s.reason {
		s.verdict(verdict.Reason(), "")
	}
	if ok && !(again && target.Same(s.handed)) {
		s.handed = target
		s.controller.Follow(target)
	}
}

// judgeWaiting looks again at a status, as the driver does when L1 moves or the engine shows more of its branch.
func (s *story) judgeWaiting() {
	if s.judged && !s.polledAt.IsZero() {
		s.judge(true)
	}
}

func (s *story) verdict(reason follow.Reason, extra string) {
	s.judged, s.reason = true, reason
	class := map[follow.Class]string{follow.ClassDeferred: "deferred: ", follow.ClassRejected: "rejected: "}[reason.Class()]
	s.note("verdict: %s%s%s", class, reason.Code(), extra)
}

// moveL1 is a new head of L1.
func (s *story) moveL1() {
	s.controller.Rewind()
	s.judgeWaiting()
	s.run()
}

// OnSnapshot checks each snapshot that is published.
func (s *story) OnSnapshot(now *Snapshot) {
	before := s.seen
	if before.Phase == PhaseLoading && now.Phase != PhaseLoading || !slices.Equal(before.Aside, now.Aside) {
		s.again = true
	}
	s.seen = now
	h := now.Heads
	s.ordered("finalized", h.Finalized.L2BlockRef, "safe", h.Safe.L2BlockRef)
	s.ordered("safe", h.Safe.L2BlockRef, "local-safe", h.LocalSafe.L2BlockRef)
	s.ordered("local-safe", h.LocalSafe.L2BlockRef, "unsafe", h.Unsafe.L2BlockRef)
	if !s.lost {
		s.ordered("former finalized", before.Heads.Finalized.L2BlockRef, "finalized", h.Finalized.L2BlockRef)
	}
	if s.flooded && now.AppliedAt != before.AppliedAt {
		s.note("labels applied, unsafe=%s", s.name(h.Unsafe.Hash))
	}
	if now.AppliedAt != before.AppliedAt || now.CurrentL1 != before.CurrentL1 {
		for what, id := range map[string]eth.BlockID{
			"local-safe": h.LocalSafe.L1Origin, "safe": h.Safe.L1Origin, "current L1": now.CurrentL1.ID(),
		} {
			if id.Hash != (common.Hash{}) && s.l1.Canonical(id) == follow.L1Mismatch {
				s.t.Errorf("I1: applied %s rests on %s, which is not canonical\n%s", what, s.name(id.Hash), s.Tell())
			}
		}
	}
}

// ordered checks I3 and I4 for a pair of heads: by number and by ancestry.
func (s *story) ordered(what string, low eth.L2BlockRef, other string, high eth.L2BlockRef) {
	if low.Hash == (common.Hash{}) {
		return
	}
	if low.Number > high.Number {
		s.t.Errorf("I3/I4: %s %s is above %s %s\n%s", what, s.name(low.Hash), other, s.name(high.Hash), s.Tell())
		return
	}
	fork := strings.TrimLeft(s.name(high.Hash), "0123456789")
	if below, err := s.chain.Find(fmt.Sprint(low.Number) + fork); err != nil || below.Hash() != low.Hash {
		s.t.Errorf("I3/I4: %s %s is no ancestor of %s %s\n%s", what, s.name(low.Hash), other, s.name(high.Hash), s.Tell())
	}
}

// Check implements testutil.Story: what is published is on the engine's chain whenever the follower is idle.
func (s *story) Check() {
	h := s.seen.Heads
	if s.seen.Phase != PhaseFollowing || s.lost || s.strayed {
		return
	}
	if pending := s.seen.Pending; pending.Hash != (common.Hash{}) && s.el.Heads().Latest == pending {
		return // an op-reth takes what it had to get as its head by itself; the follower is about to hear of it
	}
	for what, ref := range map[string]eth.L2BlockRef{
		"unsafe": h.Unsafe.L2BlockRef, "local-safe": h.LocalSafe.L2BlockRef, "safe": h.Safe.L2BlockRef,
		"finalized": h.Finalized.L2BlockRef,
	} {
		if have, err := s.el.L2BlockRefByNumber(context.Background(), ref.Number); err != nil || have != ref {
			s.t.Errorf("published %s %s is not on the engine's chain (%s)\n%s", what, s.name(ref.Hash), s.el, s.Tell())
		}
	}
}

// name is what transcripts call a block.
func (s *story) name(hash common.Hash) string { return s.chain.Name(hash) }

func (s *story) note(format string, args ...any) {
	s.events = append(s.events, storyEvent{at: time.Since(s.began), text: fmt.Sprintf(format, args...)})
}

func (s *story) noteCalls() {
	for _, call := range s.calls.Log().Take() {
		_, answer, _ := strings.Cut(call.String(), " → ")
		s.events = append(s.events, storyEvent{time.Since(s.began), call.String(), call.Method, answer})
		if call.Method == modelel.FCU && answer == string(eth.ExecutionValid) {
			s.lost, s.strayed = false, false
		}
	}
}

// Tell implements testutil.Story.
func (s *story) Tell() string {
	var out strings.Builder
	events, counts := s.condense()
	for _, e := range events {
		if e.at > 0 {
			fmt.Fprintf(&out, "+%-6s ", e.at.Round(time.Millisecond))
		}
		out.WriteString(e.text + "\n")
	}
	for _, line := range counts {
		out.WriteString(line + "\n")
	}
	s.changes(&out)
	if out.Len() == 0 {
		return "ok"
	}
	return out.String()
}

// fold shortens a row of inserted blocks to the first and the last of them.
func fold(events []storyEvent) (out []storyEvent) {
	const short = 3
	for i := 0; i < len(events); {
		n, last := inserts(events[i:])
		if n < short {
			out = append(out, events[i])
			i++
			continue
		}
		out = append(out, events[i], events[i+1], storyEvent{at: events[i].at, text: "... and so on to " + last})
		i += 2 * n
	}
	return out
}

// inserts counts the blocks at the front that were inserted one like the other, and names the last.
func inserts(events []storyEvent) (n int, last string) {
	labels := ""
	for ; 2*n+1 < len(events); n++ {
		payload, update := events[2*n], events[2*n+1]
		number := strings.TrimSuffix(strings.TrimPrefix(payload.text, "newPayload "), " → VALID")
		rest, ok := strings.CutPrefix(update.text, "FCU head="+number+" ")
		if payload.method != modelel.NewPayload || !ok || (n > 0 && rest != labels) || update.at != events[0].at {
			return n, last
		}
		labels, last = rest, number
	}
	return n, last
}

// condense shows many engine calls by their number only.
func (s *story) condense() (events []storyEvent, counts []string) {
	const many = 36
	tally := make(map[string]int)
	calls := 0
	folded := fold(s.events)
	for _, e := range folded {
		if e.method != "" {
			calls++
		}
	}
	if calls <= many {
		return folded, nil
	}
	for _, e := range s.events {
		if e.method == "" {
			events = append(events, e)
		} else if e.method == modelel.FCU || e.method == modelel.NewPayload {
			tally[fmt.Sprintf("%s → %s", e.method, e.answer)]++
		} else {
			tally[string(e.method)]++
		}
	}
	for what, n := range tally {
		counts = append(counts, fmt.Sprintf("%d × %s", n, what))
	}
	slices.Sort(counts)
	return events, counts
}

// changes shows what a snapshot has new against the one that was shown last.
func (s *story) changes(out *strings.Builder) {
	before, now := s.told, s.seen
	s.told = now
	if now.Phase != before.Phase {
		fmt.Fprintf(out, "phase: %s\n", now.Phase)
	}
	if was, is := before.Outcome, now.Outcome; is.Case != was.Case || is.Reason != was.Reason {
		fmt.Fprintf(out, "plan: %s, %s\n", is.Case, is.Reason)
	}
	if now.Pending != before.Pending {
		fmt.Fprintf(out, "pending: %s\n", s.name(now.Pending.Hash))
	}
	if now.Heads != before.Heads || now.CurrentL1 != before.CurrentL1 {
		out.WriteString(s.heads() + "\n")
	}
}

func (s *story) heads() string {
	h := s.seen.Heads
	return fmt.Sprintf("unsafe=%s local-safe=%s safe=%s finalized=%s current-l1=%s", s.name(h.Unsafe.Hash),
		s.name(h.LocalSafe.Hash), s.name(h.Safe.Hash), s.name(h.Finalized.Hash), s.name(s.seen.CurrentL1.Hash))
}

// storyLog puts what the follower logs into the transcript, but for the line of each block.
type storyLog struct{ story *story }

func (l *storyLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *storyLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *storyLog) WithGroup(string) slog.Handler                    { return l }

func (l *storyLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "Sync progress" {
		return nil
	}
	l.story.noteCalls() // those before the line
	line := fmt.Sprintf("%s %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if slices.Contains([]string{"task", "reason"}, a.Key) {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	l.story.note("%s", line)
	return nil
}

type noMetrics struct{}

func (noMetrics) RecordTask(string, time.Duration, time.Duration, bool)        {}
func (noMetrics) RecordUnsafePayloadsBuffer(_ uint64, _ uint64, _ eth.BlockID) {}
func (noMetrics) RecordFollowSourceReorg(string)                               {}
