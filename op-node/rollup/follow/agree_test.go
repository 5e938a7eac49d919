package follow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// ownUpTo is an own chain that consists of the main fork up to a number.
func ownUpTo(head uint64) OwnChain {
	return func(number uint64) Lookup {
		if number > head {
			return NotFound()
		}
		return Found(l2(number))
	}
}

func vote(rank int, localSafe, safe, finalized, currentL1 uint64) Vote {
	return Vote{Rank: rank, Target: Target{labels: labels(localSafe, safe, finalized), currentL1: l1('L', currentL1)}}
}

func liar(rank int, fork byte, localSafe, safe, finalized, currentL1 uint64) Vote {
	return Vote{Rank: rank, Target: Target{
		labels:    Labels{LocalSafe{l2on(fork, localSafe)}, Safe{l2on(fork, safe)}, Finalized{l2on(fork, finalized)}},
		currentL1: l1('L', currentL1)}}
}

func aged(v Vote, age time.Duration) Vote { v.Age = age; return v }

var alone = Policy{Quorum: 1, Fresh: 12 * time.Second, MaxLag: time.Minute}

// TestAgreeSticky is spec A1, A4.
func TestAgreeSticky(t *testing.T) {
	a, b, c := vote(0, 90, 80, 40, 20), vote(1, 91, 81, 40, 21), vote(2, 92, 82, 40, 21)
	for name, x := range map[string]struct {
		votes    []Vote
		followed int
		want     int
	}{
		"first of the list at start":              {[]Vote{a, b, c}, NoSource, 0},
		"stays, although others are ahead":        {[]Vote{a, b, c}, 1, 1},
		"next in the list when it is gone":        {[]Vote{a, c}, 1, 2},
		"from the front again after the last":     {[]Vote{a, b}, 2, 0},
		"not one that is too old":                 {[]Vote{aged(a, 13*time.Second), b, c}, 0, 1},
		"at the limit of freshness":               {[]Vote{aged(a, 12*time.Second), b, c}, 0, 0},
		"not one that lags too much":              {[]Vote{a, vote(1, 90, 80, 40, 26), c}, 0, 1},
		"lagging behind a source that disagrees":  {[]Vote{a, liar(1, 'x', 90, 80, 40, 26)}, 0, 0},
		"none":                                    {nil, 0, NoSource},
		"a laggard is not picked as a substitute": {[]Vote{vote(1, 90, 80, 40, 10), c}, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			got := Agree(alone, x.votes, x.followed, applied(85, 75, 40, 19), ownUpTo(100))
			require.Equal(t, x.want, got.Source)
			if x.want == NoSource {
				require.Equal(t, NoQuorum, got.Reason)
				return
			}
			for _, v := range x.votes {
				if v.Rank == x.want {
					require.Equal(t, v.Target, got.Target, "the target of the followed source, untouched")
				}
			}
		})
	}
}

func TestAgreeQuorum(t *testing.T) {
	prev := applied(85, 75, 40, 19)
	two := Policy{Quorum: 2, Fresh: 12 * time.Second, MaxLag: time.Minute}
	for name, x := range map[string]struct {
		votes []Vote
		own   uint64
		want  Labels
		l1    uint64
		fails bool
	}{
		"equal statuses": {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 90, 80, 40, 20)}, own: 100, want: labels(90, 80, 40), l1: 20},
		"the lower of two, as the own chain shows":          {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 41, 21)}, own: 100, want: labels(90, 80, 40), l1: 20},
		"three: the second highest":                         {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 42, 21), vote(2, 99, 84, 44, 22)}, own: 100, want: labels(95, 82, 42), l1: 21},
		"a liar has no say":                                 {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 42, 21), liar(2, 'x', 99, 98, 97, 22)}, own: 100, want: labels(90, 80, 40), l1: 20},
		"a head named as safe supports it as local-safe":    {votes: []Vote{vote(0, 120, 110, 40, 20), vote(1, 130, 120, 40, 21)}, own: 100, want: labels(120, 75, 40), l1: 20},
		"above the own chain only equal heads agree":        {votes: []Vote{vote(0, 110, 80, 40, 20), vote(1, 115, 80, 40, 21)}, own: 100, fails: true},
		"one vote is no quorum":                             {votes: []Vote{vote(0, 90, 80, 40, 20)}, own: 100, fails: true},
		"an old vote does not count":                        {votes: []Vote{vote(0, 90, 80, 40, 20), aged(vote(1, 90, 80, 40, 20), time.Minute)}, own: 100, fails: true},
		"what they have in common is below what is applied": {votes: []Vote{vote(0, 110, 80, 70, 20), liar(1, 'x', 110, 105, 70, 20)}, own: 100, fails: true},
		"two take a head back":                              {votes: []Vote{vote(0, 82, 75, 40, 20), vote(1, 82, 75, 40, 20), vote(2, 90, 80, 40, 20)}, own: 100, want: labels(82, 75, 40), l1: 20},
		"one alone does not":                                {votes: []Vote{vote(0, 82, 75, 40, 20), vote(1, 85, 75, 40, 20), vote(2, 90, 80, 40, 20)}, own: 100, want: labels(85, 75, 40), l1: 20},
		"finalized does not go back":                        {votes: []Vote{vote(0, 90, 80, 30, 20), vote(1, 90, 80, 30, 20)}, own: 100, want: labels(90, 80, 40), l1: 20},
	} {
		t.Run(name, func(t *testing.T) {
			got := Agree(two, x.votes, NoSource, prev, ownUpTo(x.own))
			if x.fails {
				require.Equal(t, NoQuorum, got.Reason)
				return
			}
			require.Equal(t, None, got.Reason)
			require.Equal(t, x.want, got.Target.Labels())
			require.Equal(t, l1('L', x.l1), got.Target.CurrentL1())
		})
	}
}

// world of the properties: the main fork is the truth, fork 'x' branches off somewhere.
type ballot struct {
	votes  []Vote
	quorum int
	own    OwnChain
	prev   Applied
	honest int
	head   uint64
}

func drawBallot(t *rapid.T) ballot {
	b := ballot{quorum: rapid.IntRange(1, 3).Draw(t, "quorum")}
	b.head = rapid.Uint64Range(50, 90).Draw(t, "own head")
	b.own = ownUpTo(b.head)
	b.prev = applied(40, 30, 20, 10)
	b.honest = rapid.IntRange(1, 4).Draw(t, "honest")
	liars := rapid.IntRange(0, max(b.quorum-1, 0)).Draw(t, "liars")
	for rank := range b.honest + liars {
		localSafe := rapid.Uint64Range(40, 100).Draw(t, "local-safe")
		safe := rapid.Uint64Range(30, localSafe).Draw(t, "safe")
		finalized := rapid.Uint64Range(20, safe).Draw(t, "finalized")
		currentL1 := rapid.Uint64Range(10, 20).Draw(t, "current L1")
		v := vote(rank, localSafe, safe, finalized, currentL1)
		if rank >= b.honest && rapid.Bool().Draw(t, "lies") {
			v = liar(rank, 'x', localSafe, safe, finalized, currentL1)
		}
		v.Age = time.Duration(rapid.IntRange(0, 15).Draw(t, "age")) * time.Second
		b.votes = append(b.votes, v)
	}
	return b
}

func (b ballot) agree(votes []Vote, followed int) Choice {
	return Agree(Policy{Quorum: b.quorum, Fresh: 12 * time.Second, MaxLag: time.Minute}, votes, followed, b.prev, b.own)
}

func TestAgreeDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBallot(t)
		followed := rapid.IntRange(NoSource, len(b.votes)-1).Draw(t, "followed")
		shuffled := rapid.Permutation(b.votes).Draw(t, "shuffled")
		require.Equal(t, b.agree(b.votes, followed), b.agree(shuffled, followed))
	})
}

// TestAgreeWithLiars: with a quorum of f+1, f liars never bring a false head in, whatever they say; and what comes out is
// a target in order that takes nothing back.
func TestAgreeWithLiars(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBallot(t)
		if b.quorum == 1 {
			b.votes = b.votes[:b.honest]
		}
		choice := b.agree(b.votes, NoSource)
		if choice.Reason != None {
			return
		}
		l := choice.Target.Labels()
		for _, ref := range []eth.L2BlockRef{l.LocalSafe.L2BlockRef, l.Safe.L2BlockRef, l.Finalized.L2BlockRef} {
			require.Equal(t, l2(ref.Number), ref, "a false head")
		}
		require.LessOrEqual(t, l.Finalized.Number, l.Safe.Number)
		require.LessOrEqual(t, l.Safe.Number, l.LocalSafe.Number)
		require.GreaterOrEqual(t, len(choice.Supporters), b.quorum)
		if b.quorum > 1 {
			require.GreaterOrEqual(t, l.LocalSafe.Number, b.prev.LocalSafe.Number)
			require.GreaterOrEqual(t, l.Safe.Number, b.prev.Safe.Number)
			require.GreaterOrEqual(t, l.Finalized.Number, b.prev.Finalized.Number)
			require.GreaterOrEqual(t, choice.Target.CurrentL1().Number, b.prev.CurrentL1.Number)
		}
	})
}

// TestAgreeFindsTheObvious compares with the obvious rule where everything is on the own chain and everybody is honest:
// the k-th highest of each label.
func TestAgreeFindsTheObvious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBallot(t)
		b.quorum = rapid.IntRange(2, 3).Draw(t, "k")
		b.own = ownUpTo(100)
		b.votes = b.votes[:b.honest]
		var fresh []Vote
		for i := range b.votes {
			if b.votes[i].Age <= 12*time.Second {
				fresh = append(fresh, b.votes[i])
			}
		}
		choice := b.agree(b.votes, NoSource)
		if len(fresh) < b.quorum {
			require.Equal(t, NoQuorum, choice.Reason)
			return
		}
		kth := func(label int) (best uint64) {
			for n := uint64(0); n <= 100; n++ {
				count := 0
				for _, v := range fresh {
					if v.Target.labels.claims()[label].Number >= n {
						count++
					}
				}
				if count >= b.quorum {
					best = n
				}
			}
			return best
		}
		require.Equal(t, None, choice.Reason)
		require.Equal(t, labels(kth(localSafeLabel), kth(safeLabel), kth(finalizedLabel)), choice.Target.Labels())
	})
}
