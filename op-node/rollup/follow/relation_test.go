package follow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// on puts the heads of a status on another L2 fork, down to the given label.
func on(fork byte, s Status, heads ...func(*Status) *eth.L2BlockRef) Status {
	for _, head := range heads {
		ref := head(&s)
		*ref = l2on(fork, ref.Number)
	}
	return s
}

func ofLocalSafe(s *Status) *eth.L2BlockRef { return &s.LocalSafe }
func ofSafe(s *Status) *eth.L2BlockRef      { return &s.Safe }

// TestRelation is the table of the relation, and spec T24, R1–R4, R7 and R8. prev is local-safe 80, safe 60, finalized 20
// at current L1 10 unless it says otherwise, and the local chain is known up to 100.
func TestRelation(t *testing.T) {
	prev := applied(80, 60, 20, 10)
	revoked := func(r uint64) Applied { a := prev; a.Revoked = r; return a }
	restarted := Applied{Labels: labels(80, 80, 20)}
	reorged := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Mismatch}
	unsure := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Unavailable}
	shorter := map[eth.BlockID]L1Answer{l1('L', 10).ID(): L1Behind}
	gone := map[eth.BlockID]L1Answer{l1('L', 8).ID(): L1Mismatch} // L1 origin of l2(80)
	for name, c := range map[string]struct {
		status   Status
		prev     Applied
		override map[eth.BlockID]L1Answer
		want     Reason
		labels   Labels // of an accepted status, and its current L1
		current  uint64
		claims   bool // a revocation
	}{
		"same, N above":   {status(80, 60, 20, 11), prev, nil, None, labels(80, 60, 20), 11, false},
		"same, N equal":   {status(80, 60, 20, 10), prev, nil, None, labels(80, 60, 20), 10, false},
		"same, N below":   {status(80, 60, 20, 5), prev, nil, None, labels(80, 60, 20), 10, false},
		"ahead, N above":  {status(90, 70, 30, 11), prev, nil, None, labels(90, 70, 30), 11, false},
		"ahead, N equal":  {status(90, 70, 30, 10), prev, nil, None, labels(90, 70, 30), 10, false},
		"ahead, N below":  {status(90, 70, 30, 5), prev, nil, None, labels(90, 70, 30), 10, false},
		"behind, N above": {status(70, 60, 20, 11), prev, nil, StatusBehind, Labels{}, 0, false},
		"behind, N equal": {status(70, 60, 20, 10), prev, nil, StatusBehind, Labels{}, 0, false},
		"behind, N below": {status(70, 60, 20, 5), prev, nil, StatusBehind, Labels{}, 0, false},
		"aside, N above":  {on('x', status(80, 60, 20, 11), ofLocalSafe), prev, nil, Unconfirmed, Labels{}, 0, true},
		"aside, N equal":  {on('x', status(80, 60, 20, 10), ofLocalSafe), prev, nil, Regressed, Labels{}, 0, true},
		"aside, N below":  {on('x', status(80, 60, 20, 5), ofLocalSafe), prev, nil, Regressed, Labels{}, 0, true},

		"aside and lower, N above":                 {on('x', status(70, 60, 20, 11), ofLocalSafe), prev, nil, Unconfirmed, Labels{}, 0, true},
		"aside by its safe head, N above":          {on('x', status(90, 70, 20, 11), ofLocalSafe, ofSafe), prev, nil, Unconfirmed, Labels{}, 0, true},
		"a local head over another safe":           {on('x', status(90, 70, 20, 11), ofSafe), prev, nil, Incoherent, Labels{}, 0, false},
		"the local unsafe chain has another block": {on('x', status(90, 70, 20, 11), ofLocalSafe), prev, nil, None, Labels{LocalSafe{l2on('x', 90)}, Safe{l2(70)}, Finalized{l2(20)}}, 11, false},
		"safe alone advances at the same L1":       {status(80, 70, 20, 10), prev, nil, None, labels(80, 70, 20), 10, false},
		"a lower safe leaves ours":                 {status(80, 50, 20, 11), prev, nil, None, labels(80, 60, 20), 11, false},
		"a lower safe leaves ours, ahead":          {status(90, 50, 20, 11), prev, nil, None, labels(90, 60, 20), 11, false},
		"the applied head over another safe":       {on('x', status(80, 60, 20, 10), ofSafe), prev, nil, Incoherent, Labels{}, 0, false},
		"a: current L1 empty":                      {edit(status(30, 30, 20, 5), func(s *Status) { s.CurrentL1 = eth.L1BlockRef{} }), prev, nil, Incomplete, Labels{}, 0, false},
		"ahead, from before a revocation":          {status(90, 70, 20, 5), revoked(6), nil, Regressed, Labels{}, 0, false},
		"ahead, from the revocation on":            {status(90, 70, 20, 6), revoked(6), nil, None, labels(90, 70, 20), 10, false},
		"aside, from before a revocation":          {on('x', status(80, 60, 20, 5), ofLocalSafe), revoked(6), nil, Regressed, Labels{}, 0, false},
		"aside above P, from before a revocation":  {on('x', status(80, 60, 20, 11), ofLocalSafe), revoked(11), nil, Regressed, Labels{}, 0, false},
		"aside above P and the revocation":         {on('x', status(80, 60, 20, 12), ofLocalSafe), revoked(11), nil, Unconfirmed, Labels{}, 0, true},
		"f: lower after an L1 reorg":               {status(30, 30, 20, 5), prev, reorged, None, labels(30, 30, 20), 5, false},
		"the same after an L1 reorg":               {status(80, 60, 20, 5), prev, reorged, None, labels(80, 60, 20), 5, false},
		"another branch after an L1 reorg":         {on('x', status(80, 60, 20, 5), ofLocalSafe), prev, reorged, None, Labels{LocalSafe{l2on('x', 80)}, Safe{l2(60)}, Finalized{l2(20)}}, 5, false},
		"below finality after an L1 reorg":         {status(19, 19, 10, 5), prev, reorged, StatusBehind, Labels{}, 0, false},
		"behind, and L1 does not say":              {status(30, 30, 20, 5), prev, unsure, StatusBehind, Labels{}, 0, false},
		"aside, and L1 does not say":               {on('x', status(80, 60, 20, 5), ofLocalSafe), prev, unsure, L1CallFailed, Labels{}, 0, false},
		"aside, and our L1 view is behind":         {on('x', status(80, 60, 20, 5), ofLocalSafe), prev, shorter, L1TooLow, Labels{}, 0, false},
		"ahead, and L1 does not say":               {status(90, 70, 20, 5), prev, unsure, None, labels(90, 70, 20), 10, false},
		"at the start: higher":                     {status(90, 85, 20, 3), restarted, nil, None, labels(90, 85, 20), 3, false},
		"at the start: equal":                      {status(80, 80, 20, 3), restarted, nil, None, labels(80, 80, 20), 3, false},
		"at the start: lower":                      {status(30, 30, 20, 11), restarted, nil, StatusBehind, Labels{}, 0, false},
		"at the start: lower, origin reorged out":  {status(30, 30, 20, 11), restarted, gone, None, labels(30, 30, 20), 11, false},
		"at the start: aside, read before":         {on('x', status(80, 80, 20, 15), ofLocalSafe, ofSafe), restarted, nil, Regressed, Labels{}, 0, false},
		"at the start: aside, read after":          {on('x', status(80, 80, 20, 16), ofLocalSafe, ofSafe), restarted, nil, Unconfirmed, Labels{}, 0, true},
		"first status of an empty node":            {status(30, 30, 20, 11), Applied{}, nil, None, labels(30, 30, 20), 11, false},
		"a local chain lost below what is final":   {status(30, 30, 10, 11), Applied{Labels: Labels{LocalSafe{l2(0)}, Safe{l2(0)}, Finalized{l2(40)}}}, nil, StatusBehind, Labels{}, 0, false},
		"and had again":                            {status(50, 45, 10, 11), Applied{Labels: Labels{LocalSafe{l2(0)}, Safe{l2(0)}, Finalized{l2(40)}}}, nil, None, labels(50, 45, 40), 11, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate(c.status, l1World{head: 20, override: c.override, local: localUpTo(100), start: 15}, c.prev)
			require.Equal(t, c.want, v.Reason())
			require.Equal(t, c.claims, v.claim.revokes)
			if target, ok := v.Accepted(); ok {
				require.Equal(t, l1('L', c.current), target.CurrentL1())
				require.Equal(t, c.labels, target.Labels())
				require.Equal(t, Applied{c.labels, l1('L', c.current), c.prev.Revoked}, target.Applied())
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

// Where the view of the local chain does not reach, the engine is read, but not for a source that lags.
func TestRelationBeyondTheView(t *testing.T) {
	prev, lower := applied(80, 60, 20, 10), status(50, 40, 20, 11)
	v := validate(lower, l1World{head: 20}, prev)
	require.Equal(t, EngineUnavailable, v.Reason())
	number, ok := v.Unread()
	require.True(t, ok)
	require.EqualValues(t, 50, number)
	require.Equal(t, StatusBehind, validate(status(50, 40, 20, 10), l1World{head: 20}, prev).Reason())
	for name, c := range map[string]struct {
		at   Lookup
		want Reason
	}{
		"on the chain":      {Found(l2(50)), StatusBehind},
		"another block":     {Found(l2on('x', 50)), Unconfirmed},
		"no answer":         {Failed(), EngineUnavailable},
		"not to be had yet": {NotFound(), EngineUnavailable},
	} {
		require.Equal(t, c.want, validate(lower, l1World{head: 20, local: LocalChain{50: c.at}}, prev).Reason(), name)
	}
}

// spec R11: what was shown not to contain A is aside, however high.
func TestShownAside(t *testing.T) {
	prev := applied(80, 60, 20, 10)
	for n, want := range map[uint64]Reason{5: Regressed, 10: Regressed, 11: Unconfirmed} {
		s := on('x', status(90, 60, 20, n), ofLocalSafe)
		require.Equal(t, None, validate(s, l1World{head: 20}, prev).Reason())
		require.Equal(t, want, validate(s, l1World{head: 20, aside: []eth.L2BlockRef{s.LocalSafe}}, prev).Reason())
	}
}

// The holes that the comparison of numbers left (spec V5): what is said after (100, L50) and a revocation at L51 comes to
// nothing, if it is from before that.
func TestFromBeforeARevocation(t *testing.T) {
	old := applied(100, 90, 20, 50)
	w := l1World{head: 60, local: localUpTo(100)}
	revocation := on('x', status(90, 60, 20, 51), ofLocalSafe)
	v := validate(revocation, w, old)
	require.Equal(t, Unconfirmed, v.Reason())
	now := v.claim.Applied()
	require.Equal(t, Applied{Labels{LocalSafe{l2on('x', 90)}, Safe{l2(60)}, Finalized{l2(20)}}, l1('L', 51), 51}, now)
	w.local = nil
	require.Equal(t, Regressed, validate(status(100, 90, 20, 50), w, now).Reason(), "a stale replica")
	require.Equal(t, Regressed, validate(status(90, 60, 20, 50), w, now).Reason(), "the same height")
	require.Equal(t, None, validate(on('x', status(95, 60, 20, 51), ofLocalSafe), w, now).Reason(), "the new branch goes on")
}

// spec R5, R6
func TestInsistence(t *testing.T) {
	prev, start := applied(80, 60, 20, 10), time.Unix(1000, 0)
	w := l1World{head: 20, local: localUpTo(100)}
	aside := func(localSafe, n uint64) Status { return on('x', status(localSafe, 60, 20, n), ofLocalSafe) }
	type answer struct {
		at     time.Duration
		status Status
	}
	for name, c := range map[string]struct {
		answers []answer
		want    bool
	}{
		"said once":                      {[]answer{{0, aside(80, 11)}}, false},
		"said twice":                     {[]answer{{0, aside(80, 11)}, {time.Second, aside(80, 11)}}, true},
		"twice too soon":                 {[]answer{{0, aside(80, 11)}, {time.Second - 1, aside(80, 11)}}, false},
		"and then late enough":           {[]answer{{0, aside(80, 11)}, {time.Second - 1, aside(80, 11)}, {2 * time.Second, aside(80, 11)}}, true},
		"the same answer twice":          {[]answer{{0, aside(80, 11)}, {0, aside(80, 11)}}, false},
		"going on":                       {[]answer{{0, aside(75, 11)}, {2 * time.Second, aside(80, 12)}}, true},
		"with less":                      {[]answer{{0, aside(80, 11)}, {2 * time.Second, aside(75, 12)}}, false},
		"with less L1":                   {[]answer{{0, aside(80, 12)}, {2 * time.Second, aside(80, 11)}}, false},
		"of another branch":              {[]answer{{0, aside(80, 11)}, {2 * time.Second, on('y', status(80, 60, 20, 12), ofLocalSafe)}}, false},
		"with another word between":      {[]answer{{0, aside(80, 11)}, {2 * time.Second, status(80, 60, 20, 10)}, {4 * time.Second, aside(80, 11)}}, false},
		"with one that cannot be judged": {[]answer{{0, aside(80, 11)}, {2 * time.Second, status(80, 60, 20, 21)}, {4 * time.Second, aside(80, 11)}}, true},
		"and then not any more":          {[]answer{{0, aside(80, 11)}, {2 * time.Second, aside(80, 11)}, {4 * time.Second, status(80, 60, 20, 10)}}, false},
		"slowly, long enough":            {[]answer{{0, aside(80, 5)}, {8 * time.Second, aside(80, 6)}, {15 * time.Second, aside(80, 6)}}, true},
		"slowly, not long enough":        {[]answer{{0, aside(80, 5)}, {14 * time.Second, aside(80, 6)}}, false},
		"slowly, and not moving":         {[]answer{{0, aside(80, 5)}, {20 * time.Second, aside(80, 5)}}, false},
		"slowly, not at P":               {[]answer{{0, aside(80, 5)}, {20 * time.Second, aside(80, 10)}}, false},
		"slowly, with another word":      {[]answer{{0, aside(80, 5)}, {8 * time.Second, status(80, 60, 20, 10)}, {15 * time.Second, aside(80, 6)}}, false},
		"slowly, then past P once":       {[]answer{{0, aside(80, 9)}, {20 * time.Second, aside(80, 11)}}, false},
		"slowly, then past P twice":      {[]answer{{0, aside(80, 9)}, {20 * time.Second, aside(80, 11)}, {21 * time.Second, aside(80, 11)}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var i Insistence
			var v Verdict
			for _, a := range c.answers {
				v = validate(a.status, w, prev)
				i = i.Hear(v, start.Add(a.at), 2*time.Second)
			}
			target, ok := v.believed(i, 1)
			require.Equal(t, c.want, ok && target.Revokes())
		})
	}
	t.Run("asked for early", func(t *testing.T) {
		i := Insistence{}.Hear(validate(aside(80, 11), w, prev), start, 2*time.Second)
		at, ok := i.Again(2 * time.Second)
		require.True(t, ok)
		require.Equal(t, start.Add(time.Second), at)
		i = i.Hear(validate(aside(80, 11), w, prev), at, 2*time.Second)
		_, ok = i.Again(2 * time.Second)
		require.False(t, ok)
	})
	t.Run("after a slow one", func(t *testing.T) {
		v := validate(aside(80, 5), w, prev)
		require.Equal(t, Applied{Labels{LocalSafe{l2on('x', 80)}, Safe{l2(60)}, Finalized{l2(20)}}, l1('L', 5), 10}, v.claim.Applied(), "R is P, and P is N")
	})
}

// spec V8, P2
func TestFinalityIsBounded(t *testing.T) {
	// Applied: (30, L4), (50, L6), (70, L9). The first of them is where the node started.
	pairs := Pairs{}.Add(pairOf(30, 4)).Add(pairOf(50, 6)).Add(pairOf(70, 9))
	prev := applied(70, 60, 0, 9)
	for name, c := range map[string]struct {
		finalized, l1Final uint64
		pairs              Pairs
		want               uint64
		wants              uint64
	}{
		"derived up to L1 finality":           {50, 6, pairs, 50, 0},
		"below that":                          {41, 6, pairs, 41, 0},
		"above that, as far as it goes":       {51, 6, pairs, 50, 9},
		"above that, between two pairs":       {51, 8, pairs, 50, 9},
		"origin final, derived from later":    {50, 5, pairs, 30, 6},
		"from before the start":               {29, 2, pairs, 29, 0},
		"from before the start, origin later": {30, 2, pairs, 0, 3},
		"early finality":                      {60, 6, pairs, 50, 9},
		"no L1 finality":                      {10, 0, pairs, 0, 1},
		"nothing applied yet":                 {55, 5, Pairs{}, 55, 0},
		"nothing applied yet, origin later":   {60, 5, Pairs{}, 0, 6},
		"all of it derived from final L1":     {62, 10, pairs, 62, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := validate(status(71, 62, c.finalized, 10), l1World{head: 20, unfinished: 20 - c.l1Final, pairs: c.pairs}, prev)
			require.Equal(t, None, v.Reason(), "the rest of the status is good")
			target, _ := v.Accepted()
			require.Equal(t, labels(71, 62, c.want), target.Labels())
			require.Equal(t, c.wants, v.WantsL1Final())
		})
	}
	t.Run("a pair of another L1 fork bounds nothing", func(t *testing.T) {
		pairs := Pairs{}.Add(pairOf(30, 4)).Add(Target{labels: labels(50, 50, 0), currentL1: l1('M', 6)})
		w := l1World{head: 20, unfinished: 14, pairs: pairs}
		target, ok := validate(status(71, 62, 50, 10), w, prev).Accepted()
		require.True(t, ok)
		require.Zero(t, target.Labels().Finalized.Number)
	})
	t.Run("a revocation finalizes nothing", func(t *testing.T) {
		s := on('x', status(71, 62, 50, 10), ofLocalSafe, ofSafe)
		v := validate(s, l1World{head: 20, pairs: pairs, local: localUpTo(70), aside: []eth.L2BlockRef{s.LocalSafe}}, prev)
		require.Equal(t, Unconfirmed, v.Reason())
		require.Zero(t, v.claim.labels.Finalized.Number)
	})
	t.Run("genesis", func(t *testing.T) {
		none := Applied{Labels: Labels{LocalSafe{l2(0)}, Safe{l2(0)}, Finalized{}}}
		target, ok := validate(status(0, 0, 0, 10), l1World{head: 20, unfinished: 20}, none).Accepted()
		require.True(t, ok)
		require.NotEqual(t, common.Hash{}, target.Labels().Finalized.Hash)
	})
}
