package follow

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// A node that follows sources which are honest and not in order: replicas that lag, balancers that alternate, caches,
// sources that freeze, start over, call final what is not, or name blocks that nobody has. L2 blocks are revoked now and
// then. The engine is at once where it is told to be, and has what was ever derived.

// epoch is what is true when L1 up to a block has been derived.
type epoch struct {
	chain []eth.L2BlockRef // up to the local-safe head
	safe  uint64
}

func (e epoch) localSafe() eth.L2BlockRef { return e.chain[len(e.chain)-1] }

func (e epoch) has(ref eth.L2BlockRef) bool {
	return ref.Number < uint64(len(e.chain)) && e.chain[ref.Number].Hash == ref.Hash
}

// trust is the world and the node in it.
type trust struct {
	t       *rapid.T
	epochs  []epoch // by L1 block; the last one is that of the L1 head
	l1Final uint64
	branch  byte

	policy   Policy
	sources  []*trusted
	followed int
	now      time.Time

	applied Applied
	pairs   Pairs
	aside   []eth.L2BlockRef
	// said are the pairs that a source named, and revoked the L1 block of the last revocation that was applied.
	said    map[Pair]bool
	revoked uint64
	// start is the first local-safe head that was applied.
	start uint64
	// restarts tells that a source has started over.
	restarts bool
	moves    int
	story    []string
}

// trusted is a source. manner is how it is out of order at the moment.
type trusted struct {
	manner  string
	turn    int
	lag     uint64
	frozen  Status
	status  Status
	at      time.Time
	insists Insistence
}

func newTrust(t *rapid.T) *trust {
	w := &trust{t: t, branch: 'l', followed: NoSource, now: time.Unix(1_000_000, 0), said: make(map[Pair]bool)}
	w.epochs = []epoch{{chain: []eth.L2BlockRef{l2on('l', 0)}}}
	w.advance(3)
	for range rapid.IntRange(1, 4).Draw(t, "sources") {
		w.sources = append(w.sources, &trusted{manner: "honest"})
	}
	w.policy = Policy{Quorum: 1, Fresh: 20 * time.Second, MaxLag: 2 * time.Minute, Patience: 20 * time.Second}
	if n := len(w.sources); n > 2 && rapid.Bool().Draw(t, "quorum") {
		w.policy.Quorum = n/2 + 1
	}
	w.applied = Applied{Labels: labels(0, 0, 0)}
	return w
}

func (w *trust) head() uint64 { return uint64(len(w.epochs) - 1) }

// advance is L1 going on, and L2 with it: five blocks for an L1 block, at most.
func (w *trust) advance(blocks int) {
	for range blocks {
		last := w.epochs[w.head()]
		next := epoch{chain: slices.Clone(last.chain), safe: last.safe}
		n := w.head() + 1
		for range rapid.IntRange(0, 5).Draw(w.t, "L2 blocks") {
			if ref := w.block(next.localSafe().Number + 1); ref.L1Origin.Number < n {
				next.chain = append(next.chain, ref)
			}
		}
		next.safe = rapid.Uint64Range(next.safe, next.localSafe().Number).Draw(w.t, "safe")
		w.epochs = append(w.epochs, next)
	}
}

func (w *trust) block(number uint64) eth.L2BlockRef {
	ref := l2on(w.branch, number)
	ref.ParentHash = common.Hash{} // of whatever branch
	return ref
}

// revoke replaces blocks that are not cross-safe yet, by the next L1 block.
func (w *trust) revoke() {
	last := w.epochs[w.head()]
	if last.safe >= last.localSafe().Number {
		return // nothing to replace
	}
	kept := rapid.Uint64Range(last.safe, last.localSafe().Number-1).Draw(w.t, "kept")
	w.branch++
	next := epoch{chain: slices.Clone(last.chain[:kept+1]), safe: last.safe}
	for range rapid.Uint64Range(1, 6).Draw(w.t, "in place") {
		next.chain = append(next.chain, w.block(next.localSafe().Number+1))
	}
	w.epochs = append(w.epochs, next)
	w.tell("L1 block %d replaces what is above %d, up to %d%c", w.head(), kept, next.localSafe().Number, w.branch)
}

func (w *trust) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// honest is what an honest source says of an L1 block, with the finality of now.
func (w *trust) honest(n uint64) Status {
	e, final := w.epochs[n], w.epochs[min(n, w.l1Final)]
	return Status{LocalSafe: e.localSafe(), Safe: e.chain[e.safe], Finalized: final.chain[final.safe], CurrentL1: l1('L', n)}
}

// says is what a source answers.
func (w *trust) says(s *trusted) Status {
	head := w.head()
	behind := head - min(head, s.lag)
	switch s.manner {
	case "lags":
		return w.honest(behind)
	case "alternates":
		if s.turn++; s.turn%2 == 0 {
			return w.honest(behind)
		}
	case "frozen":
		return s.frozen
	case "finalizes early":
		status := w.honest(head)
		status.Finalized = status.Safe
		return status
	case "starts over":
		w.restarts = true
		status := w.honest(head)
		status.CurrentL1 = l1('L', behind)
		return status
	case "lies about times":
		status := w.honest(head)
		status.CurrentL1.Time = rapid.Uint64().Draw(w.t, "claimed time")
		return status
	case "bogus now and then":
		status := w.honest(head)
		if s.turn++; s.turn%3 == 0 {
			status.LocalSafe.Number += 1_000_000
			status.LocalSafe.Time += 2_000_000
			status.LocalSafe.Hash = common.Hash{0xfa, byte(s.turn)}
		}
		return status
	}
	return w.honest(head)
}

var manners = []string{"honest", "lags", "alternates", "frozen", "finalizes early", "starts over", "lies about times", "bogus now and then"}

// poll asks a source, and has the node act on what it says.
func (w *trust) poll(rank int) {
	s := w.sources[rank]
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 8).Draw(w.t, "pause")) * time.Second / 2)
	s.status, s.at = w.says(s), w.now
	n := s.status.normalized()
	w.said[Pair{Labels: Labels{LocalSafe: LocalSafe{n.LocalSafe}}, CurrentL1: eth.L1BlockRef{Number: n.CurrentL1.Number}}] = true
	w.tell("source %d (%s): %d at L%d, finalized %d", rank, s.manner, n.LocalSafe.Number, n.CurrentL1.Number, n.Finalized.Number)
	w.hear(s)
	w.decide()
}

func (w *trust) judge(status Status) Verdict {
	facts := Facts{Chain: chain, L1Final: w.l1Final, Local: make(LocalChain), Aside: w.aside, Pairs: w.pairs}
	for _, e := range w.epochs {
		if e.has(w.applied.LocalSafe.L2BlockRef) {
			for _, ref := range e.chain[:w.applied.LocalSafe.Number+1] {
				facts.Local[ref.Number] = Found(ref)
			}
		}
	}
	facts.L1 = l1World{head: w.head()}.facts(facts.L1Refs(status, w.applied))
	return Validate(status, facts, w.applied)
}

func (w *trust) hear(s *trusted) { s.insists = s.insists.Hear(w.judge(s.status), s.at, 2*time.Second) }

func (w *trust) decide() {
	for range 3 { // a target may turn out to be aside, and its status is judged again
		var votes []Vote
		for rank, s := range w.sources {
			if !s.at.IsZero() {
				votes = append(votes, Vote{Rank: rank, Status: s.status, Verdict: w.judge(s.status), Insists: s.insists,
					Age: w.now.Sub(s.at), L1Time: l1('L', s.status.CurrentL1.Number).Time})
			}
		}
		choice := Agree(w.policy, votes, w.followed, w.applied, nil)
		w.followed = choice.Source
		if !choice.Apply || !w.apply(choice.Target) {
			return
		}
	}
}

// apply does with a target what the engine does. It tells that a target was shown to be of another branch.
func (w *trust) apply(target Target) (again bool) {
	head := target.Labels().LocalSafe.L2BlockRef
	var home *epoch
	for i := range w.epochs {
		if w.epochs[i].has(head) {
			home = &w.epochs[i]
		}
	}
	if home == nil {
		return false // the engine asks for it in vain
	}
	if applied, continues := target.Contains(); continues && !home.has(applied) {
		w.aside = append(w.aside, head)
		w.tell("    %d%c is aside", head.Number, head.Hash[0])
		for _, s := range w.sources {
			if !s.at.IsZero() {
				w.hear(s)
			}
		}
		return true
	}
	before := w.applied
	if w.pairs.Len() == 0 {
		w.start = head.Number
	}
	w.applied, w.pairs = target.Applied(), w.pairs.Add(target)
	if _, continues := target.Contains(); !continues {
		w.aside = nil
	}
	if before != w.applied {
		w.moves++
		w.tell("    applied %d%c safe %d finalized %d at L%d, R %d", head.Number, head.Hash[0], w.applied.Safe.Number,
			w.applied.Finalized.Number, w.applied.CurrentL1.Number, w.applied.Revoked)
	}
	w.check(before)
	return false
}

// check is what has to hold after every step.
func (w *trust) check(before Applied) {
	now := w.applied
	pair := func(n uint64) bool {
		return w.said[Pair{Labels: Labels{LocalSafe: now.LocalSafe}, CurrentL1: eth.L1BlockRef{Number: n}}]
	}
	// spec R9: a pair that somebody said, or newer heads with an older current L1 of ours.
	ours := now.CurrentL1 == before.CurrentL1 && now.LocalSafe.Number >= before.LocalSafe.Number
	if !pair(now.CurrentL1.Number) && !ours {
		older := false
		for n := now.CurrentL1.Number; n <= w.head(); n++ {
			older = older || pair(n)
		}
		if !older || w.policy.Quorum == 1 {
			w.fail("nobody said %d at L%d", now.LocalSafe.Number, now.CurrentL1.Number)
		}
	}
	// spec R5: nothing from before the last revocation.
	w.revoked = max(w.revoked, now.Revoked)
	alive := false
	for _, e := range w.epochs[min(w.revoked, w.head()):] {
		alive = alive || e.has(now.LocalSafe.L2BlockRef)
	}
	if !alive {
		w.fail("%d is from before the revocation at L%d", now.LocalSafe.Number, w.revoked)
	}
	// spec V8: nothing is final that L1 up to its own finality does not give.
	// A source that starts over names its heads with a current L1 from before they were derived: that is on trust.
	final := w.restarts || w.epochs[w.l1Final].has(now.Finalized.L2BlockRef) ||
		now.Finalized.Number <= w.start && now.Finalized.L1Origin.Number <= w.l1Final // from before the start
	if !final || !w.epochs[w.head()].has(now.Finalized.L2BlockRef) {
		w.fail("%d is final, L1 up to %d gives %d", now.Finalized.Number, w.l1Final, w.epochs[w.l1Final].localSafe().Number)
	}
	if now.Finalized.Number < before.Finalized.Number || now.Safe.Number < now.Finalized.Number || now.LocalSafe.Number < now.Safe.Number {
		w.fail("labels are out of order: %+v after %+v", now, before)
	}
}

func (w *trust) fail(format string, args ...any) {
	for _, line := range w.story {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

// spec R1–R10, V8, V9 and A1–A5 in a world that is not in order. In the end it is, and the labels are the truth's two
// statuses of each source later.
func TestBelieving(t *testing.T) {
	revocations := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newTrust(t)
		any := func() *trusted { return rapid.SampledFrom(w.sources).Draw(t, "source") }
		t.Repeat(map[string]func(*rapid.T){
			"L1 goes on":   func(*rapid.T) { w.advance(rapid.IntRange(1, 3).Draw(t, "blocks")) },
			"L1 finalizes": func(*rapid.T) { w.l1Final = rapid.Uint64Range(w.l1Final, w.head()).Draw(t, "L1 finality") },
			"L2 is replaced": func(*rapid.T) {
				w.revoke()
			},
			"manner": func(*rapid.T) {
				s := any()
				s.manner = rapid.SampledFrom(manners).Draw(t, "manner")
				s.lag = rapid.Uint64Range(1, 6).Draw(t, "lag")
				s.frozen = w.honest(w.head())
			},
			"poll": func(*rapid.T) { w.poll(rapid.IntRange(0, len(w.sources)-1).Draw(t, "rank")) },
			"polls": func(*rapid.T) {
				for range 4 {
					for rank := range w.sources {
						w.poll(rank)
					}
				}
			},
		})
		if w.revoked > 0 {
			revocations++
		}
		for _, s := range w.sources {
			s.manner = "honest"
		}
		w.advance(1)
		w.l1Final = w.head() - 1
		w.tell("# all is in order")
		for range 3 {
			for rank := range w.sources {
				w.poll(rank)
			}
		}
		if want := w.honest(w.head()); w.applied.LocalSafe.L2BlockRef != want.LocalSafe || w.applied.CurrentL1 != want.CurrentL1 {
			w.fail("the labels are not the truth's: %d at L%d, not %d at L%d", w.applied.LocalSafe.Number, w.applied.CurrentL1.Number,
				want.LocalSafe.Number, want.CurrentL1.Number)
		}
	})
	if revocations == 0 {
		t.Error("no revocation was ever applied")
	}
}
