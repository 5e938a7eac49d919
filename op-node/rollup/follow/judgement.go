package follow

import "github.com/ethereum-optimism/optimism/op-service/eth"

// judgement is the relation of a status at work (spec Relation): the status passed V1–V4. With A the applied local-safe
// head, P the applied current L1, N that of the status and R the L1 block of the last revocation.
type judgement struct {
	s        Status
	facts    Facts
	prev     Applied
	relation Relation
}

// verdict is a row and a column of the table.
func (j judgement) verdict() Verdict {
	p, n := j.prev.CurrentL1, j.s.CurrentL1
	left, unsure := j.abandoned()
	switch {
	case left:
		return j.anew()
	case j.relation == RelationUnknown:
		return Verdict{reason: EngineUnavailable, relation: j.relation, unread: j.s.LocalSafe.Number}
	case j.relation == Behind:
		return j.hold(StatusBehind)
	case j.relation == Aside:
		return j.aside(unsure)
	case j.relation == Ahead && n.Number < j.prev.Revoked:
		return j.hold(Regressed) // from before the revocation: that its higher number contains A is not so
	}
	currentL1 := n
	if known(p.Hash) && n.Number <= p.Number {
		currentL1 = p // a source that restarted: its heads are good, its current L1 would take ours back
	}
	labels := Labels{LocalSafe: LocalSafe{j.s.LocalSafe}, Safe: Safe{j.s.Safe}}
	if j.s.Safe.Number < j.prev.Safe.Number {
		labels.Safe = j.prev.Safe
	}
	var wants uint64
	labels.Finalized, wants = j.finality(labels.LocalSafe, currentL1)
	if labels.Safe.Number < labels.Finalized.Number {
		return j.hold(StatusBehind) // as after the loss of the local chain: what was final stays final
	}
	return Verdict{relation: j.relation, wantsL1Final: wants, target: j.target(labels, currentL1)}
}

// abandoned tells that the L1 that the applied labels rest on is gone, so that there is nothing of it to be held on to
// (spec R8): P, or without one the L1 origin of A. It expects that N is canonical. unsure is the reason why it cannot be
// told, if so.
func (j judgement) abandoned() (gone bool, unsure Reason) {
	for _, id := range []eth.BlockID{j.prev.CurrentL1.ID(), j.prev.LocalSafe.L1Origin} {
		switch {
		case !known(id.Hash):
			continue
		case id.Number == j.s.CurrentL1.Number:
			if id.Hash != j.s.CurrentL1.Hash {
				return true, None
			}
			continue
		}
		switch j.facts.L1[id] {
		case L1Canonical:
		case L1Mismatch:
			return true, None
		case L1Behind:
			unsure = L1TooLow
		default:
			unsure = L1CallFailed
		}
	}
	return false, unsure
}

// hold is a status that leaves everything as it is.
func (j judgement) hold(reason Reason) Verdict {
	return Verdict{reason: reason, relation: j.relation}
}

// anew takes the status for what is left of L1, wherever its heads are, but never below what is final.
func (j judgement) anew() Verdict {
	if j.s.Safe.Number < j.prev.Finalized.Number {
		return j.hold(StatusBehind)
	}
	labels := Labels{LocalSafe: LocalSafe{j.s.LocalSafe}, Safe: Safe{j.s.Safe}}
	var wants uint64
	labels.Finalized, wants = j.finality(labels.LocalSafe, j.s.CurrentL1)
	t := j.target(labels, j.s.CurrentL1)
	t.free = true
	if j.relation == RelationUnknown {
		j.relation = Behind // lower, and it does not matter on which branch
	}
	return Verdict{relation: j.relation, wantsL1Final: wants, target: t}
}

// aside is a status of another branch: one that revokes what is applied, or one from before that was derived.
func (j judgement) aside(unsure Reason) Verdict {
	p, n, r := j.prev.CurrentL1, j.s.CurrentL1, j.prev.Revoked
	read := p.Number
	if !known(p.Hash) {
		read = j.facts.L1Start
	}
	if j.s.Safe.Number < j.prev.Finalized.Number {
		return j.hold(StatusBehind)
	}
	labels := Labels{LocalSafe: LocalSafe{j.s.LocalSafe}, Safe: Safe{j.s.Safe}, Finalized: j.prev.Finalized}
	t := j.target(labels, n)
	t.free, t.revokes = true, true
	switch {
	case n.Number > max(read, r):
		t.revoked = n.Number
		return Verdict{reason: Unconfirmed, relation: j.relation, claim: t}
	case unsure != None:
		return j.hold(unsure)
	case known(p.Hash) && n.Number <= p.Number && r <= n.Number:
		t.revoked = p.Number
		return Verdict{reason: Regressed, relation: j.relation, claim: t, slow: true}
	default:
		return j.hold(Regressed)
	}
}

// finality is the finalized head to apply with a local-safe head and a current L1: the status's as far as V8 lets it count,
// else ours. wants is the number of an L1 block that has to be final for all of it to count.
func (j judgement) finality(localSafe LocalSafe, currentL1 eth.L1BlockRef) (finalized Finalized, wants uint64) {
	own := j.prev.Finalized
	if !namesMoreFinality(j.s, j.prev) {
		return own, 0
	}
	final, wants := j.facts.final(j.s.Finalized, Pair{Labels: Labels{LocalSafe: localSafe}, CurrentL1: currentL1})
	if !known(final.Hash) || known(own.Hash) && final.Number <= own.Number {
		return own, wants
	}
	return Finalized{final}, wants
}

func (j judgement) target(labels Labels, currentL1 eth.L1BlockRef) Target {
	return Target{
		labels: labels, currentL1: currentL1, revoked: j.prev.Revoked, l1Final: j.facts.L1Final, basis: j.prev,
	}
}
