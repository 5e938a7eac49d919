package follow

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

func vote(rank int, localSafe, safe, finalized, currentL1 uint64) Vote {
	return Vote{Rank: rank, Status: status(localSafe, safe, finalized, currentL1), L1Time: l1('L', currentL1).Time}
}

func liar(rank int, fork byte, localSafe, safe, finalized, currentL1 uint64) Vote {
	v := vote(rank, localSafe, safe, finalized, currentL1)
	v.Status.LocalSafe, v.Status.Safe, v.Status.Finalized = l2on(fork, localSafe), l2on(fork, safe), l2on(fork, finalized)
	return v
}

// half is a source that has the safe and finalized heads of the main fork, and a local-safe head of another.
func half(rank int, fork byte, localSafe, safe, finalized, currentL1 uint64) Vote {
	v := vote(rank, localSafe, safe, finalized, currentL1)
	v.Status.LocalSafe = l2on(fork, localSafe)
	return v
}

func aged(v Vote, age time.Duration) Vote      { v.Age = age; return v }
func pending(v Vote, since time.Duration) Vote { v.Pending = since; return v }
func insisting(v Vote) Vote                    { v.Insists.confirmed, v.Insists.fast = true, time.Unix(1, 0); return v }
func slowly(v Vote) Vote {
	v.Insists = Insistence{since: time.Unix(1, 0), at: time.Unix(100, 0), rose: true}
	return v
}

var alone = Policy{Quorum: 1, Fresh: 12 * time.Second, MaxLag: time.Minute, Patience: 12 * time.Second}

// agree has all votes judged, and then agrees.
func agree(policy Policy, votes []Vote, followed int, prev Applied, local LocalChain) Choice {
	votes = slices.Clone(votes)
	for i := range votes {
		votes[i].Verdict = validate(votes[i].Status, l1World{head: 100, local: local}, prev)
	}
	return Agree(policy, votes, followed, prev, local)
}

// TestAgreeSticky is spec A1–A4. Applied are local-safe 85 and current L1 19.
func TestAgreeSticky(t *testing.T) {
	a, b, c := vote(0, 90, 80, 40, 20), vote(1, 91, 81, 40, 21), vote(2, 92, 82, 40, 21)
	fork := half(1, 'x', 85, 80, 40, 20)
	for name, x := range map[string]struct {
		votes    []Vote
		followed int
		want     int
		holds    bool
	}{
		"first of the list at start":              {[]Vote{a, b, c}, NoSource, 0, false},
		"stays, although others are ahead":        {[]Vote{a, b, c}, 1, 1, false},
		"next in the list when it is gone":        {[]Vote{a, c}, 1, 2, false},
		"from the front again after the last":     {[]Vote{a, b}, 2, 0, false},
		"not one that is too old":                 {[]Vote{aged(a, 13*time.Second), b, c}, 0, 1, false},
		"at the limit of freshness":               {[]Vote{aged(a, 12*time.Second), b, c}, 0, 0, false},
		"not one that lags too much":              {[]Vote{a, vote(1, 90, 80, 40, 26), c}, 0, 1, false},
		"none":                                    {nil, 0, NoSource, true},
		"a laggard is not picked as a substitute": {[]Vote{vote(1, 90, 80, 40, 10), c}, 0, 2, false},

		"stays with one that is behind":                       {[]Vote{vote(0, 80, 75, 40, 19), b}, 0, 0, true},
		"one that is behind is picked":                        {[]Vote{vote(1, 80, 75, 40, 19), c}, 0, 1, true},
		"not one that contradicts, while another agrees":      {[]Vote{fork, c}, 0, 2, false},
		"one that contradicts, when no other is left":         {[]Vote{fork}, 0, 1, true},
		"and what it insists on is applied":                   {[]Vote{insisting(fork)}, 0, 1, false},
		"the followed one may revoke, others agreeing":        {[]Vote{a, insisting(fork), c}, 1, 1, false},
		"it is waited for":                                    {[]Vote{a, fork, c}, 1, 1, true},
		"one from before is left for one that agrees":         {[]Vote{half(0, 'x', 85, 80, 40, 19), b}, 0, 1, false},
		"and kept if there is no other":                       {[]Vote{half(0, 'x', 85, 80, 40, 18)}, 0, 0, true},
		"until it has said so for long":                       {[]Vote{slowly(half(0, 'x', 85, 80, 40, 18))}, 0, 0, false},
		"a frozen one that agrees is left for one that moves": {[]Vote{vote(0, 85, 75, 40, 19), half(1, 'x', 85, 80, 40, 26)}, 0, 1, true},
		"not as long as that is not too far ahead":            {[]Vote{vote(0, 85, 75, 40, 19), half(1, 'x', 85, 80, 40, 24)}, 0, 0, false},
		"none healthy: stays":                                 {[]Vote{half(0, 'x', 85, 80, 40, 19), half(1, 'y', 85, 80, 40, 19)}, 1, 1, true},
		"none healthy: the one that has read most of L1":      {[]Vote{half(0, 'x', 85, 80, 40, 18), half(1, 'y', 85, 80, 40, 19)}, 2, 1, true},
		"the target cannot be had":                            {[]Vote{pending(vote(0, 120, 80, 40, 20), 12*time.Second), b}, 0, 1, false},
		"the target cannot be had yet":                        {[]Vote{pending(vote(0, 120, 80, 40, 20), 11*time.Second), b}, 0, 0, false},
		"nobody's target can be had":                          {[]Vote{pending(vote(0, 120, 80, 40, 20), 12*time.Second), vote(1, 121, 80, 40, 20)}, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := agree(alone, x.votes, x.followed, applied(85, 75, 40, 19), localUpTo(100))
			require.Equal(t, x.want, got.Source)
			require.Equal(t, x.holds, !got.Apply)
			require.Equal(t, x.want == NoSource, got.Reason == NoQuorum)
			for _, v := range x.votes {
				if v.Rank == x.want && got.Apply {
					require.Equal(t, v.Status.LocalSafe, got.Target.Labels().LocalSafe.L2BlockRef, "the target of the followed source")
				}
			}
		})
	}
}

// spec V9: whatever a source says of the time of its current L1 block ranks nothing.
func TestClaimedTimesRankNothing(t *testing.T) {
	honest, liar := vote(0, 90, 80, 40, 20), vote(1, 91, 81, 40, 20)
	for _, claim := range []uint64{0, 1 << 40, ^uint64(0)} {
		liar.Status.CurrentL1.Time = claim
		for _, followed := range []int{0, 1} {
			require.Equal(t, followed, agree(alone, []Vote{honest, liar}, followed, applied(85, 75, 40, 19), localUpTo(100)).Source)
		}
	}
	require.Equal(t, time.Duration(0), seconds(5, 6))
	require.Positive(t, seconds(^uint64(0), 0))
}

// TestAgreeQuorum is spec A5 and A7.
func TestAgreeQuorum(t *testing.T) {
	prev := applied(85, 75, 40, 19)
	two := Policy{Quorum: 2, Fresh: 12 * time.Second, MaxLag: time.Minute}
	revoked := func(localSafe, safe uint64) Labels {
		return Labels{LocalSafe{l2on('x', localSafe)}, Safe{l2(safe)}, Finalized{l2(40)}}
	}
	for name, x := range map[string]struct {
		votes []Vote
		local uint64
		want  Labels
		l1    uint64
		fails bool
	}{
		"equal statuses": {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 90, 80, 40, 20)}, local: 100, want: labels(90, 80, 40), l1: 20},
		"the lower of two, as the local chain shows":        {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 41, 21)}, local: 100, want: labels(90, 80, 40), l1: 20},
		"three: the second highest":                         {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 42, 21), vote(2, 99, 84, 44, 22)}, local: 100, want: labels(95, 82, 42), l1: 21},
		"a liar has no say":                                 {votes: []Vote{vote(0, 90, 80, 40, 20), vote(1, 95, 82, 42, 21), liar(2, 'x', 99, 98, 97, 22)}, local: 100, want: labels(90, 80, 40), l1: 20},
		"a head named as safe supports it as local-safe":    {votes: []Vote{vote(0, 120, 110, 40, 20), vote(1, 130, 120, 40, 21)}, local: 100, want: labels(120, 75, 40), l1: 20},
		"what has read more L1 has more to show for it":     {votes: []Vote{vote(0, 120, 110, 40, 20), vote(1, 130, 120, 40, 21), vote(2, 140, 120, 40, 22)}, local: 100, want: labels(120, 120, 40), l1: 20},
		"above the local chain only equal heads agree":      {votes: []Vote{vote(0, 110, 80, 40, 20), vote(1, 115, 80, 40, 21)}, local: 100, fails: true},
		"one vote is no quorum":                             {votes: []Vote{vote(0, 90, 80, 40, 20)}, local: 100, fails: true},
		"an old vote does not count":                        {votes: []Vote{vote(0, 90, 80, 40, 20), aged(vote(1, 90, 80, 40, 20), time.Minute)}, local: 100, fails: true},
		"what they have in common is below what is applied": {votes: []Vote{vote(0, 110, 80, 70, 20), liar(1, 'x', 110, 105, 70, 20)}, local: 100, fails: true},
		"one that is behind does not take a head back":      {votes: []Vote{vote(0, 82, 75, 40, 20), vote(1, 85, 75, 40, 20), vote(2, 90, 80, 40, 20)}, local: 100, want: labels(85, 75, 40), l1: 20},
		"nor do two":                               {votes: []Vote{vote(0, 82, 75, 40, 20), vote(1, 82, 75, 40, 20), vote(2, 90, 80, 40, 20)}, local: 100, fails: true},
		"two that revoke do":                       {votes: []Vote{half(0, 'x', 85, 80, 40, 20), half(1, 'x', 85, 80, 40, 21), vote(2, 90, 80, 40, 20)}, local: 100, want: revoked(85, 80), l1: 20},
		"one that revokes does not":                {votes: []Vote{half(0, 'x', 85, 80, 40, 20), vote(1, 85, 75, 40, 20), vote(2, 90, 80, 40, 20)}, local: 100, want: labels(85, 75, 40), l1: 20},
		"insisting or not":                         {votes: []Vote{insisting(half(0, 'x', 85, 80, 40, 20)), vote(1, 90, 80, 40, 20)}, local: 100, fails: true},
		"finalized does not go back":               {votes: []Vote{vote(0, 90, 80, 30, 20), vote(1, 90, 80, 30, 20)}, local: 100, want: labels(90, 80, 40), l1: 20},
		"lower labels are those of the supporters": {votes: []Vote{half(0, 'x', 95, 82, 41, 20), half(1, 'x', 95, 82, 41, 20), vote(2, 90, 84, 44, 20)}, local: 90, want: Labels{LocalSafe{l2on('x', 95)}, Safe{l2(82)}, Finalized{l2(41)}}, l1: 20},
	} {
		t.Run(name, func(t *testing.T) {
			got := agree(two, x.votes, NoSource, prev, localUpTo(x.local))
			if x.fails {
				require.Equal(t, NoQuorum, got.Reason)
				require.False(t, got.Apply)
				return
			}
			require.Equal(t, None, got.Reason)
			require.Equal(t, x.want, got.Target.Labels())
			require.Equal(t, l1('L', x.l1), got.Target.CurrentL1())
		})
	}
}

// A quorum that revokes has no label from a source that does not: what that one is held to is of the branch that is left.
// TestBelieving found it.
func TestAQuorumThatRevokes(t *testing.T) {
	prev := applied(85, 75, 40, 19)
	revoking := liar(0, 'x', 95, 95, 40, 20)
	revoking.Status.Finalized = l2(40)
	votes := []Vote{revoking}
	for rank := 1; rank <= 2; rank++ {
		ahead := liar(rank, 'x', 97, 95, 60, 20)
		ahead.Status.Finalized = l2(50)
		votes = append(votes, ahead)
	}
	w := l1World{head: 100, local: localUpTo(90), aside: []eth.L2BlockRef{revoking.Status.LocalSafe}}
	for i, want := range []Reason{Unconfirmed, None, None} {
		votes[i].Verdict = validate(votes[i].Status, w, prev)
		require.Equal(t, want, votes[i].Verdict.Reason())
	}
	votes[2].Status.LocalSafe = l2on('x', 98)
	votes[2].Verdict = validate(votes[2].Status, w, prev)
	require.Equal(t, NoQuorum, Agree(Policy{Quorum: 2, Fresh: time.Second}, votes, NoSource, prev, w.local).Reason)
}

// world of the properties: the main fork is the truth, fork 'x' branches off somewhere.
type ballot struct {
	votes  []Vote
	quorum int
	local  LocalChain
	prev   Applied
	honest int
	head   uint64
}

func drawBallot(t *rapid.T) ballot {
	b := ballot{quorum: rapid.IntRange(1, 3).Draw(t, "quorum")}
	b.head = rapid.Uint64Range(50, 90).Draw(t, "own head")
	b.local = localUpTo(b.head)
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
	return agree(Policy{Quorum: b.quorum, Fresh: 12 * time.Second, MaxLag: time.Minute}, votes, followed, b.prev, b.local)
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
		if !choice.Apply {
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

// TestAgreeFindsTheObvious compares with the obvious rule where everything is on the local chain and everybody is honest:
// the k-th highest of each label, those below by who supports the one above.
func TestAgreeFindsTheObvious(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBallot(t)
		b.quorum = rapid.IntRange(2, 3).Draw(t, "k")
		b.local = localUpTo(100)
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
		// kth is the highest head of a label, not above the ceiling, that k of the votes have reached.
		kth := func(label int, votes []Vote, ceiling uint64) (best uint64) {
			for _, named := range votes {
				n, count := WordOf(0, named.Status).Labels.claims()[label].Number, 0
				for _, v := range votes {
					if WordOf(0, v.Status).Labels.claims()[label].Number >= n {
						count++
					}
				}
				if count >= b.quorum && n <= ceiling {
					best = max(best, n)
				}
			}
			return best
		}
		localSafe := kth(localSafeLabel, fresh, 100)
		supporters := slices.DeleteFunc(fresh, func(v Vote) bool { return v.Status.LocalSafe.Number < localSafe })
		safe := kth(safeLabel, supporters, localSafe)
		require.Equal(t, None, choice.Reason)
		require.Equal(t, labels(localSafe, safe, kth(finalizedLabel, supporters, safe)), choice.Target.Labels())
		require.True(t, slices.ContainsFunc(supporters, func(v Vote) bool {
			return v.Status.LocalSafe.Number == localSafe && v.Status.CurrentL1.Number >= choice.Target.CurrentL1().Number
		}), "spec R9: a pair that somebody said, or newer heads with an older current L1")
	})
}
