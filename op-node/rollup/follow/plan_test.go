package follow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

func target(localSafe, safe, finalized eth.L2BlockRef) Target {
	return Target{labels: Labels{LocalSafe{localSafe}, Safe{safe}, Finalized{finalized}}, currentL1: l1('L', 12)}
}

// own is what the own chain, the main fork, has for a target.
func own(t Target) Local {
	at := func(number uint64) Lookup { return Found(l2(number)) }
	return Local{LocalSafe: at(t.labels.LocalSafe.Number), Safe: at(t.labels.Safe.Number), Finalized: at(t.labels.Finalized.Number)}
}

// TestPlan is spec H1, H2a, H2b, H3, H4 and V7.
func TestPlan(t *testing.T) {
	heads := Heads{Unsafe: Unsafe{l2(100)}, Labels: labels(80, 60, 40)}
	ahead := target(l2(120), l2(110), l2(50))
	next := target(l2(90), l2(70), l2(50))
	fork := target(l2on('x', 90), l2on('x', 85), l2(50))
	keep := func(l Labels) Heads { return Heads{heads.Unsafe, l} }
	onto := func(t Target) Heads { return Heads{Unsafe{t.labels.LocalSafe.L2BlockRef}, t.labels} }
	for name, c := range map[string]struct {
		target Target
		local  Local
		want   HeadPlan
	}{
		"1 above unsafe":                      {ahead, Local{}, HeadPlan{CaseAhead, ActionUpdate, onto(ahead), None}},
		"1 above unsafe, over our finalized":  {ahead, Local{OverFinalized: AncestryHolds}, HeadPlan{CaseAhead, ActionUpdate, onto(ahead), None}},
		"1 above unsafe, crossing finalized":  {ahead, Local{OverFinalized: AncestryBroken}, HeadPlan{CaseRefused, ActionNone, heads, FinalizedConflict}},
		"2a not found":                        {next, Local{LocalSafe: NotFound()}, HeadPlan{CaseEngineSyncing, ActionStage, keep(next.labels), EngineSyncing}},
		"2a safe not found":                   {next, Local{LocalSafe: Found(l2(90)), Safe: NotFound(), Finalized: Found(l2(50))}, HeadPlan{CaseEngineSyncing, ActionStage, keep(next.labels), EngineSyncing}},
		"2b no answer":                        {next, Local{}, HeadPlan{CaseQueryFailed, ActionNone, heads, EngineUnavailable}},
		"2b no answer for finalized":          {next, Local{LocalSafe: Found(l2(90)), Safe: Found(l2(70))}, HeadPlan{CaseQueryFailed, ActionNone, heads, EngineUnavailable}},
		"3 consolidate":                       {next, own(next), HeadPlan{CaseConsolidate, ActionUpdate, keep(next.labels), None}},
		"3 nothing new":                       {target(l2(80), l2(60), l2(40)), Local{}, HeadPlan{CaseConsolidate, ActionNone, heads, None}},
		"3 labels move down on our own chain": {target(l2(70), l2(50), l2(40)), own(target(l2(70), l2(50), l2(40))), HeadPlan{CaseConsolidate, ActionUpdate, keep(labels(70, 50, 40)), None}},
		"3 only finalized moves":              {target(l2(80), l2(60), l2(50)), own(target(l2(80), l2(60), l2(50))), HeadPlan{CaseConsolidate, ActionUpdate, keep(labels(80, 60, 50)), None}},
		"3 up to the unsafe head":             {target(l2(100), l2(100), l2(50)), own(target(l2(100), l2(100), l2(50))), HeadPlan{CaseConsolidate, ActionUpdate, keep(labels(100, 100, 50)), None}},
		"4 another block":                     {fork, own(fork), HeadPlan{CaseReorg, ActionUpdate, onto(fork), None}},
		"4 another block, crossing finalized": {fork, Local{LocalSafe: Found(l2(90)), OverFinalized: AncestryBroken}, HeadPlan{CaseRefused, ActionNone, heads, FinalizedConflict}},
		"V7 safe on another branch":           {target(l2(90), l2on('x', 70), l2(50)), own(next), HeadPlan{CaseRefused, ActionNone, heads, Incoherent}},
		"V7 finalized on another branch":      {target(l2(90), l2(70), l2on('x', 50)), own(next), HeadPlan{CaseRefused, ActionNone, heads, Incoherent}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, Plan(heads, c.target, c.local)) })
	}
	t.Run("V7 right hash, wrong L1 origin", func(t *testing.T) {
		forged := l2(90)
		forged.L1Origin = l1('L', 10).ID()
		require.Equal(t, Incoherent, Plan(heads, target(forged, l2(70), l2(50)), own(next)).Reason)
	})
	t.Run("3 without a finalized head", func(t *testing.T) {
		heads := Heads{Unsafe: Unsafe{l2(100)}}
		got := Plan(heads, target(l2(90), l2(70), eth.L2BlockRef{}), Local{LocalSafe: Found(l2(90)), Safe: Found(l2(70))})
		require.Equal(t, CaseConsolidate, got.Case)
		require.Equal(t, ActionUpdate, got.Action)
	})
}

// TestNeeds pins the cost: an unchanged status, and one above the unsafe head, take no look-up
// of the own chain.
func TestNeeds(t *testing.T) {
	heads := Heads{Unsafe: Unsafe{l2(100)}, Labels: labels(80, 60, 40)}
	require.Equal(t, Need{}, Needs(heads, target(l2(80), l2(60), l2(40))))
	require.Equal(t, Need{Ancestry: true}, Needs(heads, target(l2(101), l2(60), l2(40))))
	require.Equal(t, Need{}, Needs(Heads{Unsafe: Unsafe{l2(100)}}, target(l2(101), l2(60), l2(40))), "nothing finalized, nothing to cross")
	require.Equal(t, Need{Chain: true, Ancestry: true}, Needs(heads, target(l2(81), l2(60), l2(40))))
}

func TestReasons(t *testing.T) {
	codes := make(map[string]bool)
	for _, r := range Reasons() {
		require.NotEmpty(t, r.Code())
		require.NotEmpty(t, r.Text(), r.Code())
		require.NotEmpty(t, r.Advice(), r.Code())
		require.False(t, codes[r.Code()], "code %s stands twice", r.Code())
		codes[r.Code()] = true
		require.Equal(t, r == None, r.Class() == ClassAccepted, r.Code())
	}
	require.Equal(t, ClassRejected, Reason(250).Class(), "an unknown reason accepts nothing")
}
