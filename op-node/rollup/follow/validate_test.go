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
		require.NotContains(t, L1Refs(s, Applied{}), l1('x', 3).ID())
		require.Equal(t, None, validate(s, l1World{head: 20}, Applied{}).Reason())
	})
}

// TestReplay is spec T24, and V5 beyond it. prev is local-safe 80, safe 60, finalized 20 at current L1 10 unless it says
// otherwise.
func TestReplay(t *testing.T) {
	prev := applied(80, 60, 20, 10)
	reorged := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Mismatch}
	unsure := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Unavailable}
	gone := map[eth.BlockID]L1Answer{l1('L', 8).ID(): L1Mismatch} // L1 origin of l2(80)
	behind := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Behind}
	restarted := Applied{Labels: labels(80, 80, 20)}
	for name, c := range map[string]struct {
		status   Status
		prev     Applied
		override map[eth.BlockID]L1Answer
		want     Reason
		current  uint64 // of an accepted status
	}{
		"a: current L1 empty":                          {edit(status(30, 30, 20, 5), func(s *Status) { s.CurrentL1 = eth.L1BlockRef{} }), prev, nil, Incomplete, 0},
		"b: lower with a lower current L1":             {status(30, 30, 20, 5), prev, nil, Regressed, 0},
		"c: lower with the same current L1":            {status(30, 30, 20, 10), prev, nil, Regressed, 0},
		"d: the same again":                            {status(80, 60, 20, 10), prev, nil, None, 10},
		"e: lower with a higher current L1":            {status(30, 30, 20, 11), prev, nil, None, 11},
		"f: lower after an L1 reorg":                   {status(30, 30, 20, 5), prev, reorged, None, 5},
		"lower, and L1 does not say":                   {status(30, 30, 20, 5), prev, unsure, L1CallFailed, 0},
		"lower, and our L1 view is behind":             {status(30, 30, 20, 5), prev, behind, L1TooLow, 0},
		"higher":                                       {status(90, 70, 30, 11), prev, nil, None, 11},
		"heads stay, current L1 advances":              {status(80, 60, 20, 11), prev, nil, None, 11},
		"a source that restarted keeps our current L1": {status(80, 60, 20, 5), prev, nil, None, 10},
		"and also with higher heads":                   {status(90, 70, 20, 5), prev, nil, None, 10},
		"and also while L1 does not say":               {status(90, 70, 20, 5), prev, unsure, None, 10},
		"unless our current L1 was reorged out":        {status(80, 60, 20, 5), prev, reorged, None, 5},
		"same height, another hash counts as lower":    {edit(status(80, 60, 20, 10), func(s *Status) { s.LocalSafe = l2on('x', 80) }), prev, nil, Regressed, 0},
		"but may come with more L1":                    {edit(status(80, 60, 20, 11), func(s *Status) { s.LocalSafe = l2on('x', 80) }), prev, nil, None, 11},
		"safe alone lower":                             {status(80, 50, 20, 10), prev, nil, Regressed, 0},
		"safe alone another block":                     {edit(status(80, 60, 20, 10), func(s *Status) { s.Safe = l2on('x', 60) }), prev, nil, Regressed, 0},
		"safe alone lower with more L1":                {status(80, 50, 20, 11), prev, nil, None, 11},
		"safe lower, local-safe higher":                {status(90, 50, 20, 10), prev, nil, Regressed, 0},
		"after restart: higher":                        {status(90, 85, 20, 3), restarted, nil, None, 3},
		"after restart: equal":                         {status(80, 80, 20, 3), restarted, nil, None, 3},
		"after restart: lower":                         {status(30, 30, 20, 11), restarted, nil, Regressed, 0},
		"after restart: lower, own origin reorged out": {status(30, 30, 20, 11), restarted, gone, None, 11},
		"first status of an empty node":                {status(30, 30, 20, 11), Applied{}, nil, None, 11},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate(c.status, l1World{head: 20, override: c.override}, c.prev)
			require.Equal(t, c.want, v.Reason())
			if target, ok := v.Accepted(); ok {
				require.Equal(t, l1('L', c.current), target.CurrentL1())
				require.Equal(t, target.Labels(), target.Applied().Labels)
			}
		})
	}
	t.Run("current L1 of the same number on another L1 fork", func(t *testing.T) {
		// L1 now has fork M from block 10 on: N = M10, P = L10.
		s := edit(status(30, 30, 20, 10), func(s *Status) { s.CurrentL1 = l1('M', 10) })
		w := l1World{head: 20, override: map[eth.BlockID]L1Answer{l1('M', 10).ID(): L1Canonical, l1('L', 10).ID(): L1Unavailable}}
		target, ok := validate(s, w, prev).Accepted()
		require.True(t, ok)
		require.Equal(t, l1('M', 10), target.CurrentL1())
	})
}

func TestFinality(t *testing.T) {
	prev := applied(80, 60, 40, 10)
	for name, c := range map[string]struct {
		status Status
		prev   Applied
		want   Reason
		final  eth.L2BlockRef
	}{
		"higher":                      {status(90, 70, 50, 11), prev, None, l2(50)},
		"equal":                       {status(90, 70, 40, 11), prev, None, l2(40)},
		"lower keeps ours":            {status(90, 70, 30, 11), prev, None, l2(40)},
		"unknown keeps ours":          {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = eth.L2BlockRef{} }), prev, None, l2(40)},
		"never known":                 {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = eth.L2BlockRef{} }), Applied{}, None, eth.L2BlockRef{}},
		"first":                       {status(90, 70, 40, 11), Applied{}, None, l2(40)},
		"same number, other hash":     {edit(status(90, 70, 40, 11), func(s *Status) { s.Finalized = l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"conflict, also in a replay":  {edit(status(50, 50, 40, 10), func(s *Status) { s.Finalized = l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"safe revoked below ours":     {status(39, 39, 30, 11), prev, FinalizedConflict, eth.L2BlockRef{}},
		"safe revoked to ours":        {status(40, 40, 30, 11), prev, None, l2(40)},
		"safe at ours, another block": {edit(status(40, 40, 30, 11), func(s *Status) { s.Safe, s.LocalSafe = l2on('x', 40), l2on('x', 40) }), prev, FinalizedConflict, eth.L2BlockRef{}},
		"stale is no conflict":        {status(39, 39, 30, 10), prev, Regressed, eth.L2BlockRef{}},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate(c.status, l1World{head: 20}, c.prev)
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
	refs := L1Refs(status(80, 60, 40, 12), applied(70, 60, 40, 10))
	require.Equal(t, []eth.BlockID{l1('L', 4).ID(), l1('L', 6).ID(), l1('L', 8).ID(), l1('L', 12).ID(), l1('L', 10).ID()}, refs)
	require.Len(t, L1Refs(status(81, 80, 80, 8), Applied{}), 1, "no repetition, nothing unknown")
	require.Contains(t, L1Refs(status(80, 60, 40, 12), Applied{Labels: labels(70, 60, 40)}), l1('L', 7).ID(),
		"without a current L1 the own local-safe head's origin stands for the history")
}
