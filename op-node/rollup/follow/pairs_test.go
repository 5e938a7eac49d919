package follow

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// pairOf is a target of the main fork.
func pairOf(localSafe, currentL1 uint64) Target {
	return Target{labels: labels(localSafe, localSafe, 0), currentL1: l1('L', currentL1)}
}

// numbers are the pairs in short: current L1 and local-safe.
func (p Pairs) numbers() (all [][2]uint64) {
	for _, pair := range p.list {
		all = append(all, [2]uint64{pair.CurrentL1.Number, pair.LocalSafe.Number})
	}
	return all
}

// spec P1
func TestPairs(t *testing.T) {
	base := Pairs{}.Add(pairOf(80, 9)).Add(pairOf(90, 10)).Add(pairOf(100, 11))
	for name, c := range map[string]struct {
		target Target
		want   [][2]uint64
	}{
		"the next":                     {pairOf(110, 12), [][2]uint64{{9, 80}, {10, 90}, {11, 100}, {12, 110}}},
		"the same":                     {pairOf(100, 11), [][2]uint64{{9, 80}, {10, 90}, {11, 100}}},
		"newer heads at the same L1":   {pairOf(105, 11), [][2]uint64{{9, 80}, {10, 90}, {11, 105}}},
		"no current L1":                {Target{labels: labels(110, 110, 0)}, [][2]uint64{{9, 80}, {10, 90}, {11, 100}}},
		"back, after an L1 reorg":      {Target{labels: labels(95, 95, 0), currentL1: l1('M', 10)}, [][2]uint64{{9, 80}, {10, 95}}},
		"lower heads of a higher L1":   {Target{labels: labels(85, 85, 0), currentL1: l1('M', 12)}, [][2]uint64{{9, 80}, {12, 85}}},
		"a revocation":                 {Target{labels: labels(95, 95, 80), currentL1: l1('L', 12), revokes: true}, [][2]uint64{{9, 80}, {12, 95}}},
		"a revocation to a higher one": {Target{labels: labels(120, 95, 0), currentL1: l1('L', 12), revokes: true}, [][2]uint64{{12, 120}}},
		"L1 finality":                  {Target{labels: labels(110, 95, 0), currentL1: l1('L', 12), l1Final: 10}, [][2]uint64{{10, 90}, {11, 100}, {12, 110}}},
		"L1 finality above all":        {Target{labels: labels(110, 95, 0), currentL1: l1('L', 12), l1Final: 20}, [][2]uint64{{12, 110}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, base.Add(c.target).numbers())
			require.Equal(t, [][2]uint64{{9, 80}, {10, 90}, {11, 100}}, base.numbers(), "a value does not change")
		})
	}
}

// spec G2
func TestPairsOfTheL1ThatIsLeft(t *testing.T) {
	pairs := Pairs{}.Add(pairOf(80, 9)).Add(pairOf(90, 10)).Add(pairOf(100, 11))
	view := func(head, reorgedFrom uint64) func(eth.BlockID) L1Answer {
		return func(id eth.BlockID) L1Answer {
			if id.Number >= reorgedFrom && id.Number <= head {
				return L1Mismatch
			}
			return l1World{head: head}.facts([]eth.BlockID{id})[id]
		}
	}
	for name, c := range map[string]struct {
		head, reorgedFrom uint64
		want              uint64 // local-safe, 0 for none
	}{
		"all is left":          {20, 99, 100},
		"the newest is gone":   {20, 11, 90},
		"two are gone":         {20, 10, 80},
		"nothing is left":      {20, 5, 0},
		"L1 is shorter now":    {10, 99, 90},
		"shorter and replaced": {10, 10, 80},
	} {
		t.Run(name, func(t *testing.T) {
			pair, upTo, ok := pairs.Canonical(view(c.head, c.reorgedFrom))
			require.Equal(t, c.want != 0, ok)
			require.Equal(t, c.want, pair.LocalSafe.Number)
			if ok {
				require.Equal(t, pair, upTo.list[upTo.Len()-1])
			} else {
				require.Zero(t, upTo.Len())
			}
			require.Equal(t, 3, pairs.Len())
		})
	}
}

// A source that has just restarted names its heads with a current L1 far back, which is no word on when they were derived.
func TestPairsOfARestartedSource(t *testing.T) {
	pairs := Pairs{}.Add(pairOf(100, 4))
	_, ok := pairs.derivedBy(9)
	require.False(t, ok)
	pair, ok := pairs.derivedBy(10)
	require.True(t, ok)
	require.EqualValues(t, 100, pair.LocalSafe.Number)
}

// TestPairsAgainstObvious: whatever is added in whatever order, the pairs tell of each L1 block above finality what a
// plain record of all that was applied tells.
func TestPairsAgainstObvious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pairs Pairs
		var record []Target
		var final, low, lowL1 uint64
		back := false
		for range rapid.IntRange(1, 40).Draw(t, "targets") {
			if len(record) > 0 && rapid.IntRange(0, 5).Draw(t, "any") > 0 { // on from the last
				last := record[len(record)-1]
				low, lowL1 = last.labels.LocalSafe.Number, last.currentL1.Number
			} else {
				low, lowL1 = 0, 0
			}
			finalized := rapid.Uint64Range(0, 3).Draw(t, "finalized")
			final = max(final, rapid.Uint64Range(0, 15).Draw(t, "L1 finality"))
			at := l1(rapid.SampledFrom([]byte{'L', 'M'}).Draw(t, "fork"), rapid.Uint64Range(lowL1, 20).Draw(t, "current L1"))
			low = max(low, finalized)
			next := Target{
				labels:    labels(rapid.Uint64Range(low, max(low, 10*at.Number+9)).Draw(t, "local-safe"), finalized, finalized),
				currentL1: at,
				revokes:   rapid.IntRange(0, 9).Draw(t, "revokes") == 0,
				l1Final:   final,
			}
			if n := len(record); n > 0 {
				last := record[n-1]
				back = back || next.revokes || next.currentL1.Number < last.currentL1.Number ||
					next.labels.LocalSafe.Number < last.labels.LocalSafe.Number
			}
			pairs = pairs.Add(next)
			record = append(record, next)

			for i := 1; i < pairs.Len(); i++ {
				require.Greater(t, pairs.list[i].CurrentL1.Number, pairs.list[i-1].CurrentL1.Number, "current L1 rises")
				require.GreaterOrEqual(t, pairs.list[i].LocalSafe.Number, pairs.list[i-1].LocalSafe.Number, "local-safe does not fall")
			}
			require.LessOrEqual(t, pairs.Len(), maxPairs)
			for l1 := final; l1 <= 20; l1++ {
				want, ok := derivedOf(record, l1)
				got, have := pairs.derivedBy(l1)
				if !have && back {
					continue // what came before finality was forgotten, and then what came after it was taken back
				}
				require.Equal(t, ok, have, "up to L1 block %d: %v", l1, pairs.numbers())
				require.Equal(t, want, got)
			}
		}
	})
}

// derivedOf goes back in the record for the highest local-safe head that was named with a current L1 up to the given one
// and that nothing applied later spoke against.
func derivedOf(record []Target, l1 uint64) (Pair, bool) {
	lowestL1, lowestHead := ^uint64(0), ^uint64(0)
	for i := len(record) - 1; i >= 0; i-- {
		t := record[i]
		if stands := t.currentL1.Number < lowestL1 && t.labels.LocalSafe.Number <= lowestHead; stands &&
			t.currentL1.Number <= l1 && t.labels.LocalSafe.L1Origin.Number <= l1 {
			return Pair{Labels: t.labels, CurrentL1: t.currentL1}, true
		}
		lowestL1, lowestHead = min(lowestL1, t.currentL1.Number), min(lowestHead, t.labels.LocalSafe.Number)
		if t.revokes {
			lowestHead = min(lowestHead, t.labels.Finalized.Number)
		}
	}
	return Pair{}, false
}

func TestPairsAreBounded(t *testing.T) {
	var pairs Pairs
	for n := range uint64(3 * maxPairs) {
		pairs = pairs.Add(pairOf(n, n))
	}
	require.Equal(t, maxPairs, pairs.Len())
	newest, _, ok := pairs.Canonical(func(eth.BlockID) L1Answer { return L1Canonical })
	require.True(t, ok)
	require.EqualValues(t, 3*maxPairs-1, newest.LocalSafe.Number, "the newest are kept")
}
