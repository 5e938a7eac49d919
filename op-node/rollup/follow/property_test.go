package follow

import (
	"reflect"
	"slices"
	"testing"
	"time"

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

func drawStatus(t *rapid.T, l ledger) Status {
	heads := []eth.L2BlockRef{drawL2(t, "finalized"), drawL2(t, "safe"), drawL2(t, "local-safe")}
	if rapid.IntRange(0, 7).Draw(t, "disorder") > 0 {
		slices.SortStableFunc(heads, func(a, b eth.L2BlockRef) int { return int(a.Number) - int(b.Number) })
	}
	s := Status{
		Finalized: heads[0], Safe: heads[1], LocalSafe: heads[2],
		CurrentL1: ledgerL1(rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "current L1 fork"), rapid.Uint64Range(0, 12).Draw(t, "current L1")),
	}
	if head := uint64(len(l.canonical) - 1); rapid.IntRange(0, 3).Draw(t, "not this L1") > 0 {
		id := l.canonical[rapid.Uint64Range(0, head).Draw(t, "of this L1")]
		s.CurrentL1 = l1(id.Hash[0], id.Number)
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

func drawApplied(t *rapid.T) (Applied, local) {
	c := local{rapid.SampledFrom([]byte("lllmx")).Draw(t, "applied branch"), rapid.Bool().Draw(t, "local chain is known")}
	if rapid.IntRange(0, 9).Draw(t, "nothing applied") == 0 {
		return Applied{}, c
	}
	numbers := []uint64{0, 0, 0}
	for i := range numbers {
		numbers[i] = rapid.Uint64Range(0, 30).Draw(t, "applied")
	}
	slices.Sort(numbers)
	a := Applied{Labels: Labels{
		LocalSafe{ledgerL2(c.branch, numbers[2])}, Safe{ledgerL2(c.branch, numbers[1])}, Finalized{ledgerL2(c.branch, numbers[0])}}}
	if rapid.IntRange(0, 3).Draw(t, "restarted") > 0 {
		a.CurrentL1 = ledgerL1(rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "applied L1 fork"), rapid.Uint64Range(0, 12).Draw(t, "applied L1"))
		a.Revoked = rapid.Uint64Range(0, a.CurrentL1.Number).Draw(t, "revoked")
	}
	return a, c
}

type ledgerBlock = eth.L1BlockRef

// obvious is V1–V4, one after the other and each for itself, and all that they find.
func obvious(s Status, l ledger) (broken []Reason) {
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
	return broken
}

// table is the table of the relation: what becomes of a status with N above, at and below P.
var table = map[Relation][3]string{
	Same:   {"apply N", "apply", "apply, P stays"},
	Ahead:  {"apply N", "apply", "apply, P stays"},
	Behind: {"behind", "behind", "behind"},
	Aside:  {"revocation", "regressed", "regressed"},
}

// local is a local chain of one branch: all of it is known, or nothing.
type local struct {
	branch byte
	known  bool
}

// relates is the relation, by the words of the page.
func (c local) relates(s Status, prev Applied) (r Relation, incoherent bool) {
	a := prev.LocalSafe
	if (a.Hash == common.Hash{}) {
		return Ahead, false
	}
	on := func(ref eth.L2BlockRef) bool { return ledgerL2(c.branch, ref.Number).Hash == ref.Hash }
	seen := func(ref eth.L2BlockRef) bool {
		n := ref.Number
		return c.known || n == a.Number || n == prev.Safe.Number || n == prev.Finalized.Number
	}
	off := false
	for _, ref := range []eth.L2BlockRef{s.LocalSafe, s.Safe, s.Finalized} {
		off = off || ref.Hash != common.Hash{} && ref.Number <= a.Number && seen(ref) && !on(ref)
	}
	switch {
	case off && seen(s.LocalSafe) && on(s.LocalSafe):
		return RelationUnknown, true
	case s.LocalSafe.Hash == a.Hash:
		return Same, false
	case off:
		return Aside, false
	case s.LocalSafe.Number > a.Number:
		return Ahead, false
	case seen(s.LocalSafe) || prev.CurrentL1.Hash != (common.Hash{}) && s.CurrentL1.Number <= prev.CurrentL1.Number:
		return Behind, false
	default:
		return RelationUnknown, false
	}
}

// expect is what the page says becomes of a status that V1–V4 have nothing against: a reason or, without one, the labels
// and the current L1.
func expect(s Status, l ledger, c local, prev Applied, start uint64, finalized func(ref eth.L2BlockRef, next Applied) eth.L2BlockRef) (Reason, Applied) {
	unknown := common.Hash{}
	if s.LocalSafe.Hash == unknown {
		s.LocalSafe = s.Safe
	}
	own := prev.Finalized
	for _, ref := range []eth.L2BlockRef{s.LocalSafe, s.Safe, s.Finalized} {
		shown := ref.Number == own.Number || c.known
		if ref.Hash != unknown && own.Hash != unknown && ref.Number <= own.Number && shown && ledgerL2(c.branch, ref.Number).Hash != ref.Hash {
			return FinalizedConflict, Applied{}
		}
	}
	relation, incoherent := c.relates(s, prev)
	if incoherent {
		return Incoherent, Applied{}
	}
	p, n := prev.CurrentL1, s.CurrentL1
	gone, unsure := false, false
	for _, id := range []eth.BlockID{p.ID(), prev.LocalSafe.L1Origin} {
		answer := l.answer(id)
		if id.Number == n.Number { // N is canonical, so this is known in any case
			answer = map[bool]L1Answer{true: L1Canonical, false: L1Mismatch}[id.Hash == n.Hash]
		}
		gone = gone || id.Hash != unknown && answer == L1Mismatch
		unsure = unsure || id.Hash != unknown && answer != L1Canonical
	}
	result := Applied{Labels{LocalSafe{s.LocalSafe}, Safe{s.Safe}, own}, n, prev.Revoked}
	finalize := func() {
		if s.Finalized.Hash != unknown && (own.Hash == unknown || s.Finalized.Number > own.Number) {
			if final := finalized(s.Finalized, result); final.Hash != unknown && (own.Hash == unknown || final.Number > own.Number) {
				result.Finalized = Finalized{final}
			}
		}
	}
	if gone {
		if s.Safe.Number < own.Number {
			return StatusBehind, Applied{}
		}
		finalize()
		return None, result
	}
	if relation == RelationUnknown {
		return EngineUnavailable, Applied{}
	}
	read := p.Number
	if p.Hash == unknown {
		if read = start; relation != Aside {
			read = 0
		}
	}
	column := 1
	if n.Number > read || p.Hash == unknown && relation != Aside {
		column = 0
	} else if n.Number < read {
		column = 2
	}
	outcome := table[relation][column]
	switch {
	case outcome == "behind":
		return StatusBehind, Applied{}
	case relation == Aside && s.Safe.Number < own.Number:
		return StatusBehind, Applied{}
	case outcome == "revocation" && n.Number > prev.Revoked:
		return Unconfirmed, Applied{}
	case relation == Aside && unsure:
		return L1CallFailed, Applied{}
	case relation == Aside, relation == Ahead && n.Number < prev.Revoked:
		return Regressed, Applied{}
	case outcome != "apply N":
		result.CurrentL1 = p
	}
	finalize()
	if result.Safe.Number < prev.Safe.Number {
		result.Safe = prev.Safe
	}
	if result.Safe.Number < result.Finalized.Number {
		return StatusBehind, Applied{}
	}
	return None, result
}

// TestRulesAgainstObvious: a status is accepted exactly if no rule speaks against it, and refused for a reason that one
// of them gave; what is applied is what the page says.
func TestRulesAgainstObvious(t *testing.T) {
	counts := make(map[Reason]int)
	check := func(t *rapid.T) {
		l := drawLedger(t)
		s := drawStatus(t, l)
		prev, c := drawApplied(t)
		facts := Facts{Chain: chain, L1: make(L1Facts), L1Start: rapid.Uint64Range(0, 12).Draw(t, "L1 at the start"),
			L1Final: rapid.Uint64Range(0, 12).Draw(t, "L1 finality")}
		if c.known {
			facts.Local = make(LocalChain)
			for n := range uint64(31) {
				facts.Local[n] = Found(ledgerL2(c.branch, n))
			}
		}
		var record []Target
		for n := range rapid.Uint64Range(0, 4).Draw(t, "pairs") {
			record = append(record, Target{labels: Labels{LocalSafe: LocalSafe{ledgerL2(c.branch, 5*n)}}, currentL1: ledgerL1('L', 3*n)})
			facts.Pairs = facts.Pairs.Add(record[n])
		}
		for _, id := range facts.L1Refs(s, prev) {
			facts.L1[id] = l.answer(id)
		}
		// finalized is the status's finalized head or, if that was derived later, the highest that was derived up to L1 finality.
		finalized := func(ref eth.L2BlockRef, next Applied) eth.L2BlockRef {
			pair, ok := derivedOf(record, facts.L1Final)
			ok = ok && l.answer(pair.CurrentL1.ID()) == L1Canonical
			switch {
			case ref.Number == 0, len(record) == 0 && ref.L1Origin.Number <= facts.L1Final,
				max(next.CurrentL1.Number, next.LocalSafe.L1Origin.Number) <= facts.L1Final:
				return ref
			case ok && ref.Number > pair.LocalSafe.Number:
				return pair.LocalSafe.L2BlockRef
			case ok:
				return ref
			}
			return eth.L2BlockRef{}
		}
		verdict := Validate(s, facts, prev)
		counts[verdict.Reason()]++
		if !reflect.DeepEqual(verdict, Validate(s, facts, prev)) {
			t.Fatal("not deterministic")
		}
		if broken := obvious(s, l); len(broken) > 0 {
			if !slices.Contains(broken, verdict.Reason()) {
				t.Fatalf("verdict %s, the rules say %v\nstatus %+v", verdict.Reason(), broken, s)
			}
			return
		}
		reason, result := expect(s, l, c, prev, facts.L1Start, finalized)
		if got := verdict.Reason(); got != reason && !(reason == L1CallFailed && got == L1TooLow) {
			t.Fatalf("verdict %s, the page says %s\nstatus %+v\nprevious %+v", got, reason, s, prev)
		}
		if target, ok := verdict.Accepted(); ok {
			require.Equal(t, result, target.Applied())
			require.NotEqual(t, RelationUnknown, verdict.Relation())
			checkTarget(t, l, prev, target)
		}
	}
	for range 20 {
		rapid.Check(t, check)
	}
	for _, reason := range []Reason{None, StatusBehind} {
		require.NotZero(t, counts[reason], "the draws are too wild: %s never came about", reason)
	}
	require.NotZero(t, counts[Regressed]+counts[Unconfirmed], "the draws are too wild: nothing was aside")
}

// checkTarget is T1–T3.
func checkTarget(t *rapid.T, l ledger, prev Applied, target Target) {
	labels := target.Labels()
	require.False(t, below(labels.LocalSafe.L2BlockRef, labels.Safe.L2BlockRef), "T1")
	require.False(t, below(labels.Safe.L2BlockRef, labels.Finalized.L2BlockRef), "T1")
	require.Equal(t, L1Canonical, l.answer(labels.LocalSafe.L1Origin), "T2")
	require.False(t, below(labels.Finalized.L2BlockRef, prev.Finalized.L2BlockRef), "T3")
	require.False(t, target.Stale(prev), "it was judged against this")
	if published, p := target.CurrentL1(), prev.CurrentL1; (p.Hash != common.Hash{}) && published.Number < p.Number {
		gone := l.answer(p.ID()) == L1Mismatch || l.answer(prev.LocalSafe.L1Origin) == L1Mismatch
		require.True(t, gone, "current L1 went back although its block is still there")
	}
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
			Chain:   Chain{Genesis: id.Draw(t, "genesis"), GenesisTime: rapid.Uint64().Draw(t, "genesis time"), BlockTime: rapid.Uint64Range(1, 1<<63).Draw(t, "block time")},
			L1:      make(L1Facts),
			L1Final: rapid.Uint64().Draw(t, "final"), L1Start: rapid.Uint64().Draw(t, "start"),
			Local: LocalChain{s.LocalSafe.Number: Found(l2Ref.Draw(t, "local")), s.Safe.Number: Lookup{state: lookupState(rapid.ByteRange(0, 3).Draw(t, "look-up"))}},
			Aside: []eth.L2BlockRef{l2Ref.Draw(t, "aside")},
			Pairs: Pairs{}.Add(Target{labels: prev.Labels, currentL1: l1Ref.Draw(t, "pair"), revokes: rapid.Bool().Draw(t, "revokes")}),
		}
		for _, id := range facts.L1Refs(s, prev) {
			if rapid.Bool().Draw(t, "answered") {
				facts.L1[id] = L1Answer(rapid.ByteRange(0, 5).Draw(t, "answer"))
			}
		}
		verdict := Validate(s, facts, prev)
		require.Equal(t, verdict, Validate(s, facts, prev))
		target, ok := verdict.Accepted()
		require.Equal(t, ok, verdict.Reason() == None)
		require.Equal(t, ok, verdict.Reason().Class() == ClassAccepted)
		insists := Insistence{}.Hear(verdict, time.Unix(int64(rapid.Uint32().Draw(t, "at")), 0), 2*time.Second)
		votes := []Vote{{Rank: 1, Status: s, Verdict: verdict, Insists: insists, L1Time: rapid.Uint64().Draw(t, "L1 time")}}
		for quorum := range 3 {
			Agree(Policy{Quorum: quorum}, votes, 1, prev, facts.Local)
		}
		heads := Heads{Unsafe: Unsafe{l2Ref.Draw(t, "unsafe")}, Labels: prev.Labels}
		Plan(heads, target, Local{})
		Needs(heads, target)
		target.Stale(prev)
	})
}
