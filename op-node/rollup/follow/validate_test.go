package follow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

func edit(s Status, f func(*Status)) Status { f(&s); return s }

// TestScreen is spec V1–V3.
func TestScreen(t *testing.T) {
	good := status(80, 60, 40, 12)
	for name, c := range map[string]struct {
		status Status
		want   Reason
	}{
		"complete":                         {good, None},
		"V1 local-safe unknown means safe": {edit(good, func(s *Status) { s.LocalSafe = eth.L2BlockRef{} }), None},
		"V1 finalized unknown":             {edit(good, func(s *Status) { s.Finalized = eth.L2BlockRef{} }), None},
		"V1 zero hash with a number":       {edit(good, func(s *Status) { s.Finalized.Hash = common.Hash{} }), None},
		"V1 genesis is known":              {status(0, 0, 0, 1), None},
		"V1 nothing":                       {Status{}, Incomplete},
		"V1 safe unknown":                  {edit(good, func(s *Status) { s.Safe = eth.L2BlockRef{} }), Incomplete},
		"V1 safe with a number only":       {edit(good, func(s *Status) { s.Safe.Hash = common.Hash{} }), Incomplete},
		"V1 current L1 unknown":            {edit(good, func(s *Status) { s.CurrentL1 = eth.L1BlockRef{} }), Incomplete},
		"V1 local-safe without origin":     {edit(good, func(s *Status) { s.LocalSafe.L1Origin = eth.BlockID{} }), Incomplete},
		"V1 finalized without origin":      {edit(good, func(s *Status) { s.Finalized.L1Origin = eth.BlockID{} }), Incomplete},
		"V2 all equal":                     {status(40, 40, 40, 12), None},
		"V2 safe above local-safe":         {edit(good, func(s *Status) { s.LocalSafe = l2(59) }), Order},
		"V2 finalized above safe":          {edit(good, func(s *Status) { s.Finalized = l2(61) }), Order},
		"V2 safe and local-safe differ":    {edit(good, func(s *Status) { s.LocalSafe = l2on('x', 60) }), Order},
		"V2 finalized and safe differ":     {edit(good, func(s *Status) { s.Finalized = l2on('x', 60) }), Order},
		"V2 origin of local-safe too low":  {edit(good, func(s *Status) { s.LocalSafe.L1Origin = l1('L', 5).ID() }), Order},
		"V2 origin of finalized too high":  {edit(good, func(s *Status) { s.Finalized.L1Origin = l1('L', 7).ID() }), Order},
		"V3 another genesis": {edit(status(0, 0, 0, 1), func(s *Status) {
			s.LocalSafe.Hash, s.Safe.Hash, s.Finalized.Hash = hash('x', 0), hash('x', 0), hash('x', 0)
		}), WrongChain},
		"V3 finalized is another genesis":   {edit(status(80, 60, 0, 1), func(s *Status) { s.Finalized.Hash = hash('x', 0) }), WrongChain},
		"V3 timestamp off by one":           {edit(good, func(s *Status) { s.LocalSafe.Time++ }), WrongChain},
		"V3 timestamp of the next block":    {edit(good, func(s *Status) { s.Safe.Time += 2 }), WrongChain},
		"V3 before genesis":                 {edit(good, func(s *Status) { s.Finalized.Time = 998 }), WrongChain},
		"V3 a number that would overflow":   {edit(good, func(s *Status) { s.LocalSafe.Number = 1 << 63 }), WrongChain},
		"V3 the time of an unknown is free": {edit(good, func(s *Status) { s.Finalized = eth.L2BlockRef{Number: 99, Time: 7} }), None},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Screen(c.status, chain))
			require.Equal(t, c.want, validate(c.status, l1World{head: 20}, Applied{}).Reason(), "Validate must not pass what Screen stops")
		})
	}
}

func TestScreenBeforeGenesisNumber(t *testing.T) {
	late := Chain{Genesis: eth.BlockID{Hash: hash('l', 50), Number: 50}, GenesisTime: 1100, BlockTime: 2}
	require.Equal(t, None, Screen(status(80, 60, 50, 12), late))
	require.Equal(t, WrongChain, Screen(status(80, 60, 49, 12), late))
}

// TestCanonicalL1 is spec V4.
func TestCanonicalL1(t *testing.T) {
	s := status(80, 60, 40, 12)
	ids := map[string]eth.BlockID{
		"local-safe": s.LocalSafe.L1Origin, "safe": s.Safe.L1Origin, "finalized": s.Finalized.L1Origin, "current": s.CurrentL1.ID(),
	}
	for name, id := range ids {
		for answer, want := range map[L1Answer]Reason{L1Mismatch: L1Contradicts, L1Behind: L1TooLow, L1Unavailable: L1CallFailed, L1Canonical: None} {
			w := l1World{head: 20, override: map[eth.BlockID]L1Answer{id: answer}}
			require.Equal(t, want, validate(s, w, Applied{}).Reason(), "%s: answer %d", name, answer)
		}
	}
	t.Run("a contradiction outweighs a missing answer", func(t *testing.T) {
		w := l1World{head: 20, override: map[eth.BlockID]L1Answer{ids["local-safe"]: L1Mismatch, ids["current"]: L1Unavailable, ids["safe"]: L1Behind}}
		require.Equal(t, L1Contradicts, validate(s, w, Applied{}).Reason())
	})
	t.Run("an answer that was not given counts as missing", func(t *testing.T) {
		require.Equal(t, L1CallFailed, Validate(s, Facts{Chain: chain}, Applied{}).Reason())
	})
	t.Run("the L1 origin of an unknown finalized head is not asked for", func(t *testing.T) {
		s := edit(s, func(s *Status) { s.Finalized = eth.L2BlockRef{L1Origin: l1('x', 3).ID()} })
		require.NotContains(t, Facts{}.L1Refs(s, Applied{}), l1('x', 3).ID())
		require.Equal(t, None, validate(s, l1World{head: 20}, Applied{}).Reason())
	})
}

// spec V6. The local chain is known.
func TestFinality(t *testing.T) {
	prev := applied(80, 60, 40, 10)
	for name, c := range map[string]struct {
		status Status
		prev   Applied
		want   Reason
		final  eth.L2BlockRef
	}{
		"higher":                        {status(90, 70, 50, 11), prev, None, l2(50)},
		"equal":                         {status(90, 70, 40, 11), prev, None, l2(40)},
		"lower keeps ours":              {status(90, 70, 30, 11), prev, None, l2(40)},
		"unknown keeps ours":            {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = eth.L2BlockRef{} }), prev, None, l2(40)},
		"never known":                   {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = eth.L2BlockRef{} }), Applied{}, None, eth.L2BlockRef{}},
		"first":                         {status(90, 70, 40, 11), Applied{}, None, l2(40)},
		"same number, other hash":       {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"conflict, also in a replay":    {edit(status(50, 50, 40, 10), func(s *Status) { s.Finalized = l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"safe below ours":               {status(39, 39, 30, 11), prev, StatusBehind, eth.L2BlockRef{}},
		"safe below ours, N not above":  {status(39, 39, 30, 10), prev, StatusBehind, eth.L2BlockRef{}},
		"safe back at ours":             {status(40, 40, 30, 11), prev, StatusBehind, eth.L2BlockRef{}},
		"safe at ours, another block":   {edit(status(40, 40, 30, 11), func(s *Status) { s.Safe, s.LocalSafe = l2on('x', 40), l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"below ours, another block":     {edit(status(90, 70, 30, 11), func(s *Status) { s.Finalized = l2on('x', 30) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"all below ours, another chain": {edit(status(35, 35, 30, 11), func(s *Status) { s.LocalSafe, s.Safe, s.Finalized = l2on('x', 35), l2on('x', 35), l2on('x', 30) }), prev, FinalizedConflict, eth.L2BlockRef{}},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate(c.status, l1World{head: 20, local: localUpTo(100)}, c.prev)
			require.Equal(t, c.want, v.Reason())
			target, _ := v.Accepted()
			require.Equal(t, c.final, target.Labels().Finalized.L2BlockRef)
		})
	}
}

func TestTargetKeepsLocalSafeAndSafeApart(t *testing.T) { // spec T2
	target, ok := validate(status(100, 60, 40, 12), l1World{head: 20}, Applied{}).Accepted()
	require.True(t, ok)
	require.Equal(t, labels(100, 60, 40), target.Labels())

	target, ok = validate(edit(status(100, 60, 40, 12), func(s *Status) { s.LocalSafe = eth.L2BlockRef{} }), l1World{head: 20}, Applied{}).Accepted()
	require.True(t, ok)
	require.Equal(t, labels(60, 60, 40), target.Labels(), "unknown local-safe means safe")
}

func TestL1RefsAreFewAndOrdered(t *testing.T) {
	refs := Facts{}.L1Refs(status(80, 60, 40, 12), applied(70, 60, 40, 10))
	require.Equal(t, []eth.BlockID{l1('L', 4).ID(), l1('L', 6).ID(), l1('L', 8).ID(), l1('L', 12).ID(), l1('L', 10).ID(), l1('L', 7).ID()}, refs)
	require.Len(t, Facts{}.L1Refs(status(81, 80, 80, 8), Applied{}), 1, "no repetition, nothing unknown")
	require.Contains(t, Facts{}.L1Refs(status(80, 60, 40, 12), Applied{Labels: labels(70, 60, 40)}), l1('L', 7).ID(),
		"without a current L1 the own local-safe head's origin stands for the history")
	pairs := Pairs{}.Add(pairOf(50, 6)).Add(pairOf(70, 10))
	require.Contains(t, Facts{Pairs: pairs, L1Final: 9}.L1Refs(status(80, 60, 50, 12), applied(70, 60, 40, 10)), l1('L', 6).ID(),
		"the pair that bounds finality")
}
