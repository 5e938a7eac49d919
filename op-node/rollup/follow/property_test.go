package follow

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// The rules as one would explain them, compared with the ones in use. A ledger has whole chains in memory: every L1
// chain, and which of them is canonical now.

// ledger is all of L1: a fork is a list of blocks, from 0 to its head. Fork 'M' shares blocks with 'L'.
type ledger struct {
	canonical []eth.BlockID
	// unanswered blocks are those that the L1 endpoint does not say anything about now.
	unanswered map[eth.BlockID]bool
}

const ledgerL1PerL2 = 3 // L2 blocks with the same L1 origin

func drawLedger(t *rapid.T) ledger {
	l := ledger{unanswered: make(map[eth.BlockID]bool)}
	fork := rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "canonical L1")
	for n := range rapid.Uint64Range(3, 12).Draw(t, "L1 head") + 1 {
		l.canonical = append(l.canonical, ledgerL1(fork, n).ID())
	}
	if rapid.IntRange(0, 3).Draw(t, "L1 has gaps") == 0 {
		for range 2 {
			fork := rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "unanswered fork")
			l.unanswered[ledgerL1(fork, rapid.Uint64Range(0, 12).Draw(t, "unanswered")).ID()] = true
		}
	}
	return l
}

// ledgerL1 is an L1 block. The forks part after block 4.
func ledgerL1(fork byte, number uint64) ledgerBlock {
	if number <= 4 {
		fork = 'L'
	}
	return l1(fork, number)
}

// answer is what an L1 endpoint that has the whole ledger says.
func (l ledger) answer(id eth.BlockID) L1Answer {
	switch {
	case l.unanswered[id]:
		return L1Unavailable
	case id.Number >= uint64(len(l.canonical)):
		return L1Behind
	case l.canonical[id.Number] == id:
		return L1Canonical
	default:
		return L1Mismatch
	}
}

// drawL2 is an L2 block: of the branch that goes with an L1 fork, or of a branch of its own on that fork.
func drawL2(t *rapid.T, name string) eth.L2BlockRef {
	number := rapid.Uint64Range(0, 30).Draw(t, name)
	branch := rapid.SampledFrom([]byte("llllmx")).Draw(t, name+" branch")
	return ledgerL2(branch, number)
}

// ledgerL2 is a block of branch l, of m which is on the other L1 fork, or of x which is another L2 on the same L1.
func ledgerL2(branch byte, number uint64) eth.L2BlockRef {
	origin, fork := number/ledgerL1PerL2, byte('L')
	switch {
	case branch == 'm' && origin > 4:
		fork = 'M'
	case branch == 'x' && number > 9:
	default:
		branch = 'l'
	}
	ref := eth.L2BlockRef{Hash: hash(branch, number), Number: number, Time: 1000 + 2*number, L1Origin: ledgerL1(fork, origin).ID()}
	return ref
}

func drawStatus(t *rapid.T) Status {
	heads := []eth.L2BlockRef{drawL2(t, "finalized"), drawL2(t, "safe"), drawL2(t, "local-safe")}
	if rapid.IntRange(0, 7).Draw(t, "disorder") > 0 {
		slices.SortStableFunc(heads, func(a, b eth.L2BlockRef) int { return int(a.Number) - int(b.Number) })
	}
	s := Status{
		Finalized: heads[0], Safe: heads[1], LocalSafe: heads[2],
		CurrentL1: ledgerL1(rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "current L1 fork"), rapid.Uint64Range(0, 12).Draw(t, "current L1")),
	}
	switch rapid.IntRange(0, 15).Draw(t, "flaw") {
	case 0:
		s.LocalSafe = eth.L2BlockRef{}
	case 1:
		s.Finalized.Hash = common.Hash{}
	case 2:
		s.Safe.Hash = common.Hash{}
	case 3:
		s.CurrentL1 = eth.L1BlockRef{}
	case 4:
		s.LocalSafe.Time++
	case 5:
		s.Safe.L1Origin = eth.BlockID{}
	case 6:
		s.Safe.Number, s.Safe.Time = 0, 1000
	case 7:
		s.LocalSafe.L1Origin = ledgerL1('L', rapid.Uint64Range(0, 4).Draw(t, "origin")).ID()
	}
	return s
}

func drawApplied(t *rapid.T) Applied {
	if rapid.IntRange(0, 9).Draw(t, "nothing applied") == 0 {
		return Applied{}
	}
	branch := rapid.SampledFrom([]byte("lllmx")).Draw(t, "applied branch")
	numbers := []uint64{0, 0, 0}
	for i := range numbers {
		numbers[i] = rapid.Uint64Range(0, 30).Draw(t, "applied")
	}
	slices.Sort(numbers)
	a := Applied{Labels: Labels{
		LocalSafe{ledgerL2(branch, numbers[2])}, Safe{ledgerL2(branch, numbers[1])}, Finalized{ledgerL2(branch, numbers[0])}}}
	if rapid.IntRange(0, 3).Draw(t, "restarted") > 0 {
		a.CurrentL1 = ledgerL1(rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "applied L1 fork"), rapid.Uint64Range(0, 12).Draw(t, "applied L1"))
	}
	return a
}

type ledgerBlock = eth.L1BlockRef

// obvious is the page of the rules, one after the other and each for itself, and all that it finds. An empty list
// accepts.
func obvious(s Status, l ledger, prev Applied) (broken []Reason) {
	rule := func(ok bool, r Reason) {
		if !ok {
			broken = append(broken, r)
		}
	}
	unknown := common.Hash{}
	if s.LocalSafe.Hash == unknown {
		s.LocalSafe = s.Safe
	}
	heads := []eth.L2BlockRef{s.Safe, s.LocalSafe}
	if s.Finalized.Hash != unknown {
		heads = []eth.L2BlockRef{s.Finalized, s.Safe, s.LocalSafe}
	}

	// V1
	rule(s.Safe.Hash != unknown, Incomplete)
	rule(s.CurrentL1.Hash != unknown, Incomplete)
	for _, h := range heads {
		rule(h.L1Origin.Hash != unknown, Incomplete)
	}
	// V2
	for i := range len(heads) - 1 {
		rule(heads[i].Number <= heads[i+1].Number, Order)
		rule(heads[i].Number != heads[i+1].Number || heads[i].Hash == heads[i+1].Hash, Order)
		rule(heads[i].L1Origin.Number <= heads[i+1].L1Origin.Number, Order)
	}
	// V3
	for _, h := range heads {
		rule(h.Time == 1000+2*h.Number, WrongChain)
		rule(h.Number != 0 || h.Hash == hash('l', 0), WrongChain)
	}
	if len(broken) > 0 {
		return broken // such a status must not cost an L1 call
	}
	// V4
	ids := []eth.BlockID{s.CurrentL1.ID()}
	for _, h := range heads {
		ids = append(ids, h.L1Origin)
	}
	for _, id := range ids {
		rule(l.answer(id) != L1Mismatch, L1Contradicts)
		rule(l.answer(id) != L1Unavailable, L1CallFailed)
		rule(l.answer(id) != L1Behind, L1TooLow)
	}
	if len(broken) > 0 {
		return broken
	}
	return append(replayed(s, l, prev), overFinality(s, prev)...)
}

// replayed is V5, in the words of its four rules. The current L1 of s is canonical.
func replayed(s Status, l ledger, prev Applied) []Reason {
	lower := func(a, b eth.L2BlockRef) bool {
		return b.Hash != common.Hash{} && (a.Number < b.Number || a.Number == b.Number && a.Hash != b.Hash)
	}
	back := lower(s.LocalSafe, prev.LocalSafe.L2BlockRef) || lower(s.Safe, prev.Safe.L2BlockRef)
	if !back {
		return nil // rule 1
	}
	restarted := prev.CurrentL1.Hash == common.Hash{}
	p := prev.CurrentL1.ID()
	if restarted {
		p = prev.LocalSafe.L1Origin // all that is known of the L1 history
	} else if s.CurrentL1.Number > p.Number {
		return nil // rule 3, or 2 if P is gone: both accept
	}
	answer := l.answer(p)
	if p.Number == s.CurrentL1.Number {
		answer = verdictOf(p == s.CurrentL1.ID()) // N is canonical, so this is known in any case
	}
	switch answer {
	case L1Mismatch:
		return nil // rule 2
	case L1Canonical:
		return []Reason{Regressed} // rule 4
	case L1Behind:
		return []Reason{L1TooLow}
	default:
		return []Reason{L1CallFailed}
	}
}

func verdictOf(same bool) L1Answer {
	if same {
		return L1Canonical
	}
	return L1Mismatch
}

// overFinality is V6 as far as it needs no chain.
func overFinality(s Status, prev Applied) (broken []Reason) {
	own := prev.Finalized.L2BlockRef
	if (own.Hash == common.Hash{}) {
		return nil
	}
	same := func(ref eth.L2BlockRef) bool { return ref.Number != own.Number || ref.Hash == own.Hash }
	if (s.Finalized.Hash != common.Hash{} && !same(s.Finalized)) || !same(s.Safe) || s.Safe.Number < own.Number {
		broken = append(broken, FinalizedConflict)
	}
	return broken
}

// TestRulesAgainstObvious: a status is accepted exactly if no rule speaks against it, and refused for a reason that one
// of them gave.
func TestRulesAgainstObvious(t *testing.T) {
	var accepted, refused int
	rapid.Check(t, func(t *rapid.T) {
		l, s, prev := drawLedger(t), drawStatus(t), drawApplied(t)
		facts := Facts{Chain: chain, L1: make(L1Facts)}
		for _, id := range L1Refs(s, prev) {
			facts.L1[id] = l.answer(id)
		}
		broken := obvious(s, l, prev)
		verdict := Validate(s, facts, prev)
		if _, ok := verdict.Accepted(); ok != (len(broken) == 0) {
			t.Fatalf("verdict %s, the rules say %v\nstatus %+v\nprevious %+v", verdict.Reason(), broken, s, prev)
		}
		if len(broken) > 0 && !slices.Contains(broken, verdict.Reason()) {
			t.Fatalf("verdict %s, the rules say %v", verdict.Reason(), broken)
		}
		if verdict != Validate(s, facts, prev) {
			t.Fatal("not deterministic")
		}
		if target, ok := verdict.Accepted(); ok {
			accepted++
			checkTarget(t, s, l, prev, target)
		} else {
			refused++
		}
	})
	require.NotZero(t, accepted, "the draws are too wild: nothing was accepted")
	require.NotZero(t, refused)
}

// checkTarget is T1–T3, and what V5 says of the current L1.
func checkTarget(t *rapid.T, s Status, l ledger, prev Applied, target Target) {
	labels := target.Labels()
	require.False(t, below(labels.LocalSafe.L2BlockRef, labels.Safe.L2BlockRef), "T1")
	require.False(t, below(labels.Safe.L2BlockRef, labels.Finalized.L2BlockRef), "T1")
	if (s.Finalized.Hash != common.Hash{} && s.Finalized.Number >= prev.Finalized.Number) || (prev.Finalized.Hash == common.Hash{}) {
		require.Equal(t, L1Canonical, orCanonical(l, labels.Finalized.L2BlockRef), "T2")
	}
	require.Equal(t, L1Canonical, l.answer(labels.Safe.L1Origin), "T2")
	require.Equal(t, L1Canonical, l.answer(labels.LocalSafe.L1Origin), "T2")
	require.False(t, below(labels.Finalized.L2BlockRef, prev.Finalized.L2BlockRef), "T3")
	require.False(t, target.Stale(prev), "it was judged against this")

	published, p, n := target.CurrentL1(), prev.CurrentL1, s.CurrentL1
	require.Contains(t, []eth.L1BlockRef{p, n}, published)
	if (p.Hash != common.Hash{}) && published.Number < p.Number {
		require.Equal(t, L1Mismatch, l.answer(p.ID()), "current L1 went back although its block is still there")
	}
	if published != n {
		require.Greater(t, p.Number, n.Number, "the published current L1 is older than the source's")
	}
}

func orCanonical(l ledger, ref eth.L2BlockRef) L1Answer {
	if (ref.Hash == common.Hash{}) {
		return L1Canonical
	}
	return l.answer(ref.L1Origin)
}

// TestRulesAreTotal: whatever a source says, and whatever L1 answers or does not, there is a verdict.
func TestRulesAreTotal(t *testing.T) {
	id := rapid.Custom(func(t *rapid.T) eth.BlockID {
		return eth.BlockID{Hash: common.Hash{rapid.ByteRange(0, 3).Draw(t, "hash")}, Number: rapid.Uint64().Draw(t, "number")}
	})
	l1Ref := rapid.Custom(func(t *rapid.T) eth.L1BlockRef {
		id := id.Draw(t, "id")
		return eth.L1BlockRef{Hash: id.Hash, Number: id.Number, Time: rapid.Uint64().Draw(t, "time")}
	})
	l2Ref := rapid.Custom(func(t *rapid.T) eth.L2BlockRef {
		at := id.Draw(t, "id")
		return eth.L2BlockRef{Hash: at.Hash, Number: at.Number, Time: rapid.Uint64().Draw(t, "time"), L1Origin: id.Draw(t, "origin")}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := Status{Safe: l2Ref.Draw(t, "safe"), LocalSafe: l2Ref.Draw(t, "local-safe"), Finalized: l2Ref.Draw(t, "finalized"), CurrentL1: l1Ref.Draw(t, "current")}
		prev := Applied{Labels{LocalSafe{l2Ref.Draw(t, "a")}, Safe{l2Ref.Draw(t, "b")}, Finalized{l2Ref.Draw(t, "c")}}, l1Ref.Draw(t, "p"), rapid.Uint64().Draw(t, "r")}
		facts := Facts{
			Chain: Chain{Genesis: id.Draw(t, "genesis"), GenesisTime: rapid.Uint64().Draw(t, "genesis time"), BlockTime: rapid.Uint64Range(1, 1<<63).Draw(t, "block time")},
			L1:    make(L1Facts),
		}
		for _, id := range L1Refs(s, prev) {
			if rapid.Bool().Draw(t, "answered") {
				facts.L1[id] = L1Answer(rapid.ByteRange(0, 5).Draw(t, "answer"))
			}
		}
		verdict := Validate(s, facts, prev)
		require.Equal(t, verdict, Validate(s, facts, prev))
		target, ok := verdict.Accepted()
		require.Equal(t, ok, verdict.Reason() == None)
		require.Equal(t, ok, verdict.Reason().Class() == ClassAccepted)
		heads := Heads{Unsafe: Unsafe{l2Ref.Draw(t, "unsafe")}, Labels: prev.Labels}
		Plan(heads, target, Local{})
		Needs(heads, target)
		target.Stale(prev)
	})
}
