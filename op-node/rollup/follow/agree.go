package follow

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Vote is what one source says now: the newest status of it that passed V1–V4 and V6, and how it stands to what is applied.
type Vote struct {
	// Rank is the place of the source in the list that the operator gave, from 0. It identifies the source.
	Rank int
	// Status is what the source says, Verdict the verdict on it, and Insists what is known of its earlier ones.
	Status  Status
	Verdict Verdict
	Insists Insistence
	// Age is how long ago the status came.
	Age time.Duration
	// L1Time is the time of the current L1 block of the status in the own view of L1, in seconds; for a block from before
	// the reach of the view that of the oldest one in it.
	L1Time uint64
	// Pending is for how long the execution engine has been asked for the source's target in vain.
	Pending time.Duration
}

// Policy says how many sources it takes to move a label, and when one of them is too slow.
type Policy struct {
	// Quorum is how many sources have to support a head. With 1, one source is followed and the others stand by.
	Quorum int
	// Fresh is the age up to which a vote counts.
	Fresh time.Duration
	// MaxLag is how much L1, in time, the followed source may be behind another one; with Quorum 1.
	MaxLag time.Duration
	// Patience is for how long a target of the followed source may be pending while another one's is not; with Quorum 1.
	Patience time.Duration
}

// NoSource is the rank of no source.
const NoSource = -1

// Choice is what the sources together say.
type Choice struct {
	// Target is to be applied if Apply is set.
	Target Target
	Apply  bool
	// Source is the rank of the followed source; NoSource with a quorum, or if there is none.
	Source int
	// Supporters are the ranks of the sources that stand behind the target's local-safe head, ascending.
	Supporters []int
	// Reason is NoQuorum if too few sources agree, or none says anything.
	Reason Reason
}

// Agree picks the target out of the votes (spec Agreement). The order of the votes does not matter, and which of two
// equally good heads is taken depends on nothing but the arguments. followed is the source that is followed so far.
//
// With a quorum of k, a false head needs k false sources: every label of the target is supported by k of them.
func Agree(policy Policy, votes []Vote, followed int, prev Applied, chain LocalChain) Choice {
	fresh := make([]Vote, 0, len(votes))
	for _, v := range votes {
		if v.Age <= policy.Fresh && v.Verdict.relation != RelationUnknown {
			fresh = append(fresh, v)
		}
	}
	slices.SortFunc(fresh, func(a, b Vote) int { return cmp.Compare(a.Rank, b.Rank) })
	if policy.Quorum > 1 {
		return byQuorum(policy.Quorum, fresh, prev, chain.with(prev.Labels))
	}
	return sticky(policy, fresh, followed, chain.with(prev.Labels))
}

// agrees tells that the source is on the chain that is applied, as far as can be seen.
func (v Vote) agrees() bool { return v.Verdict.reason == None || v.Verdict.reason == StatusBehind }

// revokes tells that the source says that blocks which are applied were replaced, as a source may that has read more L1.
func (v Vote) revokes() bool { return v.Verdict.reason == Unconfirmed }

// sticky stays with the followed source for as long as it is healthy. Else it takes the next healthy one in the operator's
// order, beginning again at the front, and those that agree with what is applied before those that contradict it.
func sticky(policy Policy, votes []Vote, followed int, chain LocalChain) Choice {
	next := NoSource
	prefer := func(among func(Vote) bool) {
		if next != NoSource {
			return
		}
		first := NoSource
		for i, v := range votes {
			switch {
			case !among(v):
			case v.Rank > followed:
				next = i
				return
			case first == NoSource:
				first = i
			}
		}
		next = first
	}
	isFollowed := func(v Vote) bool { return v.Rank == followed }
	healthy := func(v Vote) bool {
		return (v.agrees() || v.revokes()) && !lags(v, votes, policy.MaxLag) && !outOfReach(v, votes, policy, chain)
	}
	prefer(func(v Vote) bool { return isFollowed(v) && healthy(v) })
	prefer(func(v Vote) bool { return healthy(v) && v.agrees() })
	prefer(healthy)
	prefer(isFollowed)
	if next == NoSource {
		for i, v := range votes {
			if next == NoSource || v.Status.CurrentL1.Number > votes[next].Status.CurrentL1.Number {
				next = i
			}
		}
	}
	if next == NoSource {
		return Choice{Source: NoSource, Reason: NoQuorum}
	}
	chosen := votes[next]
	choice := Choice{Source: chosen.Rank, Supporters: []int{chosen.Rank}}
	choice.Target, choice.Apply = chosen.Verdict.believed(chosen.Insists, policy.Quorum)
	if chosen.Verdict.slow && slices.ContainsFunc(votes, func(v Vote) bool { return v.Verdict.reason == None }) {
		choice.Apply = false // another source supports what is applied
	}
	return choice
}

// lags tells that a source is too far behind another one, by the time of L1.
func lags(v Vote, votes []Vote, most time.Duration) bool {
	return slices.ContainsFunc(votes, func(other Vote) bool { return seconds(other.L1Time, v.L1Time) > most })
}

// outOfReach tells that the execution engine has been asked for a source's target for too long, while it has that of
// another source.
func outOfReach(v Vote, votes []Vote, policy Policy, chain LocalChain) bool {
	return v.Pending >= policy.Patience && v.Pending > 0 && slices.ContainsFunc(votes, func(other Vote) bool {
		return other.Rank != v.Rank && other.Verdict.reason == None && !lags(other, votes, policy.MaxLag) &&
			chain.has(other.Status.normalized().LocalSafe)
	})
}

func seconds(later, earlier uint64) time.Duration {
	const most = uint64(1) << 32 // more than a century, and no overflow
	if later <= earlier {
		return 0
	}
	return time.Duration(min(later-earlier, most)) * time.Second
}

// byQuorum takes for each label the highest head that k sources support: the local-safe head first, and the labels below
// it by those that support it. What they have read of L1 is what k of these have.
func byQuorum(k int, votes []Vote, prev Applied, chain LocalChain) Choice {
	c := council{k: k, chain: chain}
	for _, v := range votes {
		if target, ok := v.Verdict.believed(v.Insists, k); ok {
			c.members = append(c.members, member{v.Rank, target})
		}
	}
	none := Choice{Source: NoSource, Reason: NoQuorum}
	localSafe, supporters := c.decide(localSafeLabel, eth.L2BlockRef{})
	if len(supporters) < k {
		return none
	}
	target := supporters[slices.IndexFunc(supporters, func(m member) bool { return m.target.labels.LocalSafe.Hash == localSafe.Hash })].target
	if target.revokes {
		// The other labels of those that do not revoke are ours, of the branch that is left.
		if supporters = slices.DeleteFunc(supporters, func(m member) bool { return !m.target.revokes }); len(supporters) < k {
			return none
		}
	}
	c.members = supporters
	safe, _ := c.decide(safeLabel, localSafe)
	finalized, _ := c.decide(finalizedLabel, safe)
	if !target.free && safe.Number < prev.Safe.Number {
		safe = prev.Safe.L2BlockRef
	}
	if finalized.Number < prev.Finalized.Number || !known(finalized.Hash) {
		finalized = prev.Finalized.L2BlockRef
	}
	if !known(safe.Hash) || below(safe, finalized) {
		return none
	}
	target.labels = Labels{LocalSafe{localSafe}, Safe{safe}, Finalized{finalized}}
	target.currentL1 = c.currentL1(localSafe)
	if target.revokes {
		target.revoked = max(prev.CurrentL1.Number, target.currentL1.Number)
	}
	choice := Choice{Target: target, Apply: true, Source: NoSource}
	for _, m := range supporters {
		choice.Supporters = append(choice.Supporters, m.rank)
	}
	return choice
}

// member is a source that asks for a target.
type member struct {
	rank   int
	target Target
}

// council is the sources that ask for something, and what it takes to decide among them.
type council struct {
	k       int
	members []member
	chain   LocalChain
}

// The labels by their place in claims.
const (
	finalizedLabel = iota
	safeLabel
	localSafeLabel
)

// claims are the heads from finalized up, so that the labels below one are the prefix.
func (l Labels) claims() []eth.L2BlockRef {
	return []eth.L2BlockRef{l.Finalized.L2BlockRef, l.Safe.L2BlockRef, l.LocalSafe.L2BlockRef}
}

// decide returns the highest head that a member names for a label and k members support, at or below the ceiling if there
// is one, and who supports it.
func (c council) decide(label int, ceiling eth.L2BlockRef) (best eth.L2BlockRef, supporters []member) {
	for _, m := range c.members {
		head := m.target.labels.claims()[label]
		if !known(head.Hash) || known(ceiling.Hash) && below(ceiling, head) {
			continue
		}
		if by := c.supporters(label, head); len(by) >= c.k && c.better(head, len(by), best, len(supporters)) {
			best, supporters = head, by
		}
	}
	return best, supporters
}

// better is the tie-break: the higher number, then more supporters, then the block of the local chain, then the lower hash.
func (c council) better(a eth.L2BlockRef, byA int, b eth.L2BlockRef, byB int) bool {
	if !known(b.Hash) || a.Number != b.Number {
		return !known(b.Hash) || a.Number > b.Number
	}
	if byA != byB {
		return byA > byB
	}
	if has := c.chain.has(a); has != c.chain.has(b) {
		return has
	}
	return bytes.Compare(a.Hash[:], b.Hash[:]) < 0
}

// supporters are the members that support a block at a label: it is one of their heads up to that label, or an ancestor of
// one as the local chain shows.
func (c council) supporters(label int, block eth.L2BlockRef) (by []member) {
	for _, m := range c.members {
		for _, head := range m.target.labels.claims()[:label+1] {
			if known(head.Hash) && (head == block || block.Number < head.Number && c.chain.has(block) && c.chain.has(head)) {
				by = append(by, m)
				break
			}
		}
	}
	return by
}

// currentL1 is the highest current L1 that k members have read, but none above that of a member with this very head: who
// has read more has more to show for it.
func (c council) currentL1(localSafe eth.L2BlockRef) eth.L1BlockRef {
	byL1 := slices.SortedFunc(slices.Values(c.members), func(a, b member) int {
		return cmp.Or(cmp.Compare(b.target.currentL1.Number, a.target.currentL1.Number), cmp.Compare(a.rank, b.rank))
	})
	own := slices.IndexFunc(byL1, func(m member) bool { return m.target.labels.LocalSafe.Hash == localSafe.Hash })
	return byL1[max(c.k-1, own)].target.currentL1
}
