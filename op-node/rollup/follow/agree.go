package follow

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Vote is what one source says now: the newest status of it that passed Validate against what is applied.
type Vote struct {
	// Rank is the place of the source in the list that the operator gave, from 0. It identifies the source.
	Rank int
	// Target is the accepted status.
	Target Target
	// Age is how long ago the status was fetched.
	Age time.Duration
}

// Policy says how many sources it takes to move a label, and when one of them is too slow.
type Policy struct {
	// Quorum is how many sources have to support a head. With 1, one source is followed and the others stand by.
	Quorum int
	// Fresh is the age up to which a vote counts.
	Fresh time.Duration
	// MaxLag is how much L1, in time, the followed source may be behind the best one that agrees with it; with Quorum 1.
	MaxLag time.Duration
}

// NoSource is the rank of no source.
const NoSource = -1

// OwnChain tells what the own canonical chain has at a number. It may leave out what it does not know: Failed and
// NotFound both mean that nothing is known.
type OwnChain func(number uint64) Lookup

// Choice is what the sources together say.
type Choice struct {
	// Target is to be applied if Reason is None.
	Target Target
	// Source is the rank of the followed source; NoSource with a quorum, or if none is healthy.
	Source int
	// Supporters are the ranks of the sources that stand behind the target's local-safe head, ascending.
	Supporters []int
	// Reason is NoQuorum if too few sources agree.
	Reason Reason
}

// Agree picks the target out of the votes. The order of the votes does not matter, and which of two equally good heads
// wins is a matter of the written tie-break alone. followed is the rank of the source that was followed so far, or
// NoSource; prev is what is applied.
//
// With a quorum of k, a false head needs k false sources: every label of the target is supported by k of them.
func Agree(policy Policy, votes []Vote, followed int, prev Applied, chain OwnChain) Choice {
	fresh := make([]Vote, 0, len(votes))
	for _, v := range votes {
		if v.Age <= policy.Fresh {
			fresh = append(fresh, v)
		}
	}
	slices.SortFunc(fresh, func(a, b Vote) int { return cmp.Compare(a.Rank, b.Rank) })
	if policy.Quorum > 1 {
		return byQuorum(policy.Quorum, fresh, prev, chain)
	}
	return sticky(policy, fresh, followed, chain)
}

// sticky stays with the followed source as long as it is healthy, else takes the next healthy one in the operator's
// order, beginning again at the front.
func sticky(policy Policy, votes []Vote, followed int, chain OwnChain) Choice {
	healthy := func(v Vote) bool {
		for _, other := range votes {
			if ahead := seconds(other.Target.currentL1.Time, v.Target.currentL1.Time); ahead > policy.MaxLag &&
				!contradict(v.Target.labels, other.Target.labels, chain) {
				return false
			}
		}
		return true
	}
	next, first := NoSource, NoSource
	for i, v := range votes {
		if !healthy(v) {
			continue
		}
		if v.Rank == followed {
			next = i
			break
		}
		if first == NoSource {
			first = i
		}
		if next == NoSource && v.Rank > followed {
			next = i
		}
	}
	if next == NoSource {
		next = first
	}
	if next == NoSource {
		return Choice{Source: NoSource, Reason: NoQuorum}
	}
	chosen := votes[next]
	return Choice{Target: chosen.Target, Source: chosen.Rank, Supporters: []int{chosen.Rank}}
}

func seconds(later, earlier uint64) time.Duration {
	if later <= earlier {
		return 0
	}
	return time.Duration(later-earlier) * time.Second
}

// byQuorum takes for each label the highest head that k sources support, from the top label down.
func byQuorum(k int, votes []Vote, prev Applied, chain OwnChain) Choice {
	if len(votes) < k {
		return Choice{Source: NoSource, Reason: NoQuorum}
	}
	c := council{k: k, votes: votes, chain: chain}
	localSafe, supporters := c.decide(localSafeLabel, prev.LocalSafe.L2BlockRef, eth.L2BlockRef{})
	safe, _ := c.decide(safeLabel, prev.Safe.L2BlockRef, localSafe)
	finalized, _ := c.decide(finalizedLabel, eth.L2BlockRef{}, safe)
	if below(finalized, prev.Finalized.L2BlockRef) {
		finalized = prev.Finalized.L2BlockRef
	}
	if len(supporters) < k || !known(safe.Hash) || below(safe, finalized) {
		return Choice{Source: NoSource, Reason: NoQuorum}
	}
	labels := Labels{LocalSafe{localSafe}, Safe{safe}, Finalized{finalized}}
	return Choice{Target: Target{labels: labels, currentL1: c.currentL1(labels, prev), revoked: prev.Revoked, basis: prev}, Source: NoSource, Supporters: supporters}
}

// council is the fresh votes and what it takes to decide among them.
type council struct {
	k     int
	votes []Vote
	chain OwnChain
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

// decide returns the highest head of a label that k sources support, at or below the ceiling if there is one, and who
// supports it. A head that stands lower than what is applied counts only if k sources have gone back themselves: else it
// is no more than what they happen to have in common, and what is applied stays.
func (c council) decide(label int, applied, ceiling eth.L2BlockRef) (eth.L2BlockRef, []int) {
	var best eth.L2BlockRef
	var supporters []int
	for _, v := range c.votes {
		for _, head := range v.Target.labels.claims()[:label+1] {
			if !known(head.Hash) || exceeds(head, ceiling) {
				continue
			}
			if by := c.supporters(label, head); len(by) >= c.k && c.better(head, len(by), best, len(supporters)) {
				best, supporters = head, by
			}
		}
	}
	if known(best.Hash) && !(below(best, applied) && c.revoked(label, applied) < c.k) {
		return best, supporters
	}
	if !known(applied.Hash) || exceeds(applied, ceiling) {
		return eth.L2BlockRef{}, nil
	}
	return applied, c.supporters(label, applied)
}

// exceeds tells that a head stands above the ceiling, or beside it; an unknown ceiling is none.
func exceeds(head, ceiling eth.L2BlockRef) bool { return known(ceiling.Hash) && below(ceiling, head) }

// better is the tie-break: the higher number, then more supporters, then the block of the own chain, then the lower hash.
func (c council) better(a eth.L2BlockRef, byA int, b eth.L2BlockRef, byB int) bool {
	if !known(b.Hash) || a.Number != b.Number {
		return !known(b.Hash) || a.Number > b.Number
	}
	if byA != byB {
		return byA > byB
	}
	if own := c.own(a); own != c.own(b) {
		return own
	}
	return bytes.Compare(a.Hash[:], b.Hash[:]) < 0
}

// supporters are the ranks of the sources that support a block at a label: it is one of their heads up to that label, or
// an ancestor of one as the own chain shows.
func (c council) supporters(label int, block eth.L2BlockRef) []int {
	var by []int
	for _, v := range c.votes {
		for _, head := range v.Target.labels.claims()[:label+1] {
			if known(head.Hash) && (head == block || (block.Number < head.Number && c.own(block) && c.own(head))) {
				by = append(by, v.Rank)
				break
			}
		}
	}
	return by
}

// revoked counts the sources whose head of a label stands lower than what is applied.
func (c council) revoked(label int, applied eth.L2BlockRef) int {
	n := 0
	for _, v := range c.votes {
		if below(v.Target.labels.claims()[label], applied) {
			n++
		}
	}
	return n
}

// own tells whether a block is known to be on the own chain.
func (c council) own(ref eth.L2BlockRef) bool { return c.chain(ref.Number) == Found(ref) }

// currentL1 is the highest current L1 that k sources have read and whose heads the labels include: that of a source
// whose local-safe head is not above ours. So nobody is told of an L1 block before the heads that came of it.
func (c council) currentL1(labels Labels, prev Applied) eth.L1BlockRef {
	best := prev.CurrentL1
	for _, v := range c.votes {
		n := v.Target.currentL1
		if v.Target.labels.LocalSafe.Number > labels.LocalSafe.Number || n.Number < best.Number && c.kept(best) {
			continue
		}
		read := 0
		for _, other := range c.votes {
			if other.Target.currentL1.Number >= n.Number {
				read++
			}
		}
		if read >= c.k {
			best = n
		}
	}
	return best
}

// kept tells whether a current L1 is that of a vote. Validate has every source keep the applied one as long as it is
// canonical, so an applied one that no vote has was reorged out, or all have moved on.
func (c council) kept(ref eth.L1BlockRef) bool {
	return slices.ContainsFunc(c.votes, func(v Vote) bool { return v.Target.currentL1.Number >= ref.Number })
}
