package follow

import (
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// slowRevocation is for how long a source has to say a new branch, and nothing else, with a current L1 below the applied
// one (spec R6).
const slowRevocation = 15 * time.Second

// Insistence is for how long one source has been saying that blocks which are applied were replaced (spec R5, R6). A
// single answer of the kind may be a slip: of a balancer with replicas that disagree, of a cache. It is an immutable value;
// the zero value is a source that says nothing like it.
type Insistence struct {
	// since is when the branch was named first, and fast when it was first named as a revocation; zero for not at all.
	since, fast time.Time
	// at is when the newest answer came, and what it named.
	at        time.Time
	localSafe eth.L2BlockRef
	currentL1 uint64
	// rose tells that the current L1 rose meanwhile.
	rose bool
	// confirmed tells that it was said twice.
	confirmed bool
}

// Hear takes the verdict on an answer that came at a time. The same answer may be heard again. blockTime is that of the
// rollup.
func (i Insistence) Hear(v Verdict, at time.Time, blockTime time.Duration) Insistence {
	if !known(v.claim.labels.LocalSafe.Hash) {
		switch v.reason {
		case L1TooLow, L1CallFailed, EngineUnavailable:
			return i // not judged, so it neither confirms nor denies
		}
		return Insistence{}
	}
	head, n := v.claim.labels.LocalSafe.L2BlockRef, v.claim.currentL1.Number
	if i.since.IsZero() || below(head, i.localSafe) || n < i.currentL1 {
		i = Insistence{since: at}
	}
	i.rose = i.rose || !i.at.IsZero() && n > i.currentL1
	i.at, i.localSafe, i.currentL1 = at, head, n
	switch {
	case v.slow:
		i.fast, i.confirmed = time.Time{}, false
	case i.fast.IsZero():
		i.fast = at
	default:
		i.confirmed = i.confirmed || at.Sub(i.fast) >= blockTime/2
	}
	return i
}

// Again is when to ask the source again so that it can confirm what it said; ok is false if there is nothing to confirm.
func (i Insistence) Again(blockTime time.Duration) (at time.Time, ok bool) {
	return i.fast.Add(blockTime / 2), !i.fast.IsZero() && !i.confirmed
}

// slow tells that the source has been saying the branch for long enough at a current L1 below the applied one.
func (i Insistence) slow() bool {
	return i.fast.IsZero() && i.rose && i.at.Sub(i.since) >= slowRevocation
}

// believed is what the verdict asks for: an accepted target, or a revocation that the source has insisted on.
func (v Verdict) believed(i Insistence, quorum int) (t Target, ok bool) {
	switch {
	case v.reason == None:
		return v.target, true
	case !known(v.claim.labels.LocalSafe.Hash):
		return Target{}, false
	case v.slow:
		return v.claim, i.slow() && v.claim.currentL1.Number < v.claim.basis.CurrentL1.Number
	default:
		return v.claim, i.confirmed || quorum > 1
	}
}
