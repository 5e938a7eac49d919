package driver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/engine"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

// judgeTimeout bounds the L1 look-up for one round.
const judgeTimeout = 10 * time.Second

// candidate is what the judge knows of one source. It belongs to the judge's goroutine.
type candidate struct {
	name string
	// status is the newest one, and at when it came. answered is false before the first.
	status   follow.Status
	at       time.Time
	answered bool
	// heard tells that the source was asked at least once, whatever came of it.
	heard   bool
	lineage sources.Lineage
	reason  follow.Reason
	judged  bool
	// word is the newest status that is one of this chain and this L1, whatever its relation to what is applied, and wordAt
	// when it came; zero for none. It is what the source has a say with.
	word   follow.Status
	wordAt time.Time
	// insists is for how long the source has been saying that blocks were replaced, and askAt when to ask it to confirm that;
	// zero for not at all.
	insists follow.Insistence
	askAt   time.Time
	telling telling
}

// court is the state of the judge. It belongs to the judge's goroutine.
type court struct {
	candidates []candidate
	// followed is the rank of the followed source.
	followed  int
	conflicts [][2]int
	reason    follow.Reason
	// handed is the newest target that the controller was given.
	handed follow.Target
	// pendingSince is since when the engine has been asked for a target of the followed source, at every look; zero if it has not.
	pendingSince time.Time
}

func newCourt(names []string) *court {
	c := &court{followed: follow.NoSource}
	for _, name := range names {
		c.candidates = append(c.candidates, candidate{name: name})
	}
	return c
}

// judgeReports is the one goroutine that judges. L1 may be slow to answer it; unsafe blocks do not pass through here.
func (d *Driver) judgeReports() {
	idle := d.clock.NewTicker(d.cfg.PollInterval)
	defer idle.Stop()
	for {
		confirm := d.clock.NewTimer(d.untilConfirmation())
		select {
		case <-d.ctx.Done():
			confirm.Stop()
			return
		case r := <-d.reports:
			if d.take(r) {
				d.hearing(r.rank, true)
			} else {
				d.decide(follow.NoSource)
			}
			d.pollers[r.rank].judged(r, d.court.candidates[r.rank].reason)
		case <-d.again:
			d.rehear()
		case <-confirm.Ch():
			d.askToConfirm()
		case <-idle.Ch():
		}
		confirm.Stop()
		d.showState()
	}
}

// untilConfirmation is how long no source has to be asked to confirm what it said.
func (d *Driver) untilConfirmation() time.Duration {
	wait := time.Minute
	for _, c := range d.court.candidates {
		if !c.askAt.IsZero() {
			wait = min(wait, c.askAt.Sub(d.clock.Now()))
		}
	}
	return max(wait, 0)
}

// askToConfirm has the sources asked early whose time has come (spec R5).
func (d *Driver) askToConfirm() {
	for rank := range d.court.candidates {
		if c := &d.court.candidates[rank]; !c.askAt.IsZero() && !c.askAt.After(d.clock.Now()) {
			c.askAt = time.Time{}
			d.pollers[rank].demand()
		}
	}
}

// take notes what a poller brought, and tells whether there is a status to judge.
func (d *Driver) take(r report) bool {
	c := &d.court.candidates[r.rank]
	c.lineage, c.heard = r.lineage, true
	d.metrics.RecordPoll(c.name, r.took, r.err == nil)
	var unfit *unfitError
	switch {
	case d.ctx.Err() != nil:
		return false
	case errors.As(r.err, &unfit):
		d.note(c, unfit.reason, r.err)
		c.answered = false // not even its last word counts
		c.silence()
	case errors.Is(r.err, sources.ErrMalformed):
		d.note(c, follow.Malformed, r.err)
	case r.err != nil:
		d.note(c, follow.FetchFailed, r.err)
	default:
		c.status, c.at, c.answered = r.status, r.at, true
		d.metrics.RecordSourceHeads(c.name, r.status)
		return true
	}
	return false
}

// rehear judges the statuses again that had to wait for L1 blocks, for own heads or for L1's finality, or for L1 to leave
// what is applied.
func (d *Driver) rehear() {
	for rank := range d.court.candidates {
		c := &d.court.candidates[rank]
		switch c.reason {
		case follow.L1TooLow, follow.L1Contradicts, follow.L1CallFailed, follow.EngineUnavailable,
			follow.None, follow.StatusBehind, follow.Regressed, follow.Unconfirmed:
			if c.answered {
				d.hearing(rank, false)
			}
		}
	}
}

// hearing judges the newest status of one source, and then what all of them together say. news tells that it has just come.
func (d *Driver) hearing(rank int, news bool) {
	c := &d.court.candidates[rank]
	note := d.note
	if !news {
		note = d.noteAgain
	}
	if reason := follow.Screen(c.status, d.chain); reason != follow.None {
		note(c, reason, nil)
		c.silence()
		return
	}
	snap := d.controller.Snapshot()
	if snap.Phase == engine.PhaseLoading {
		note(c, follow.EngineUnavailable, nil) // nothing to compare with yet
		return
	}
	verdict := d.validate(c.name, &c.status, snap)
	note(c, verdict.Reason(), nil)
	if verdict.Relation() == follow.RelationUnknown && verdict.Reason().Class() == follow.ClassRejected {
		c.silence()
		d.decide(follow.NoSource)
		return
	}
	blockTime := time.Duration(d.chain.BlockTime) * time.Second
	c.insists = c.insists.Hear(verdict, c.at, blockTime)
	c.askAt = time.Time{}
	if at, ok := c.insists.Again(blockTime); ok {
		c.askAt = at
	}
	if verdict.Relation() != follow.RelationUnknown {
		c.word, c.wordAt = c.status, c.at
	}
	if news {
		d.decide(rank)
	} else {
		d.decide(follow.NoSource)
	}
}

// silence takes what a source said before, once it says something that is dropped whole.
func (c *candidate) silence() {
	c.wordAt, c.insists, c.askAt = time.Time{}, follow.Insistence{}, time.Time{}
}

// decide hands the target to the controller that the sources together stand for, after news of a source or NoSource. The same
// target is handed over again only with news of the source that it is from: what is no news must not look fresh.
func (d *Driver) decide(news int) {
	now := d.clock.Now()
	if d.court.followed == follow.NoSource && d.clock.Since(d.startedAt) < d.cfg.PollInterval &&
		slices.ContainsFunc(d.court.candidates, func(c candidate) bool { return !c.heard }) {
		return // at start the place in the list decides, not who is quickest
	}
	snap := d.controller.Snapshot()
	d.notePending(snap)
	var votes []follow.Vote
	var words []follow.Word
	for rank := range d.court.candidates {
		c := &d.court.candidates[rank]
		if c.wordAt.IsZero() || now.Sub(c.wordAt) > d.policy.Fresh {
			continue
		}
		words = append(words, follow.WordOf(rank, c.word))
		v := follow.Vote{Rank: rank, Status: c.word, Verdict: d.validate(c.name, &c.word, snap), Insists: c.insists,
			Age: now.Sub(c.wordAt), L1Time: d.l1Time(c.word.CurrentL1.ID())}
		if rank == d.court.followed && !d.court.pendingSince.IsZero() {
			v.Pending = now.Sub(d.court.pendingSince)
		}
		votes = append(votes, v)
	}
	chain := d.localChain(words)
	choice := follow.Agree(d.policy, votes, d.court.followed, snap.Applied(), chain)
	d.noteChoice(choice)
	d.noteConflicts(follow.Contradictions(d.court.conflicts, words, chain))
	fromIt := news != follow.NoSource && (news == choice.Source || d.policy.Quorum > 1)
	if choice.Apply && (fromIt || !choice.Target.Same(d.court.handed)) {
		d.court.handed = choice.Target
		d.controller.Follow(choice.Target)
	}
}

// notePending keeps since when the engine has been asked for a target in vain.
func (d *Driver) notePending(snap *engine.Snapshot) {
	asked := snap.Pending != (eth.L2BlockRef{}) &&
		(snap.Outcome.Reason == follow.EngineSyncing || snap.Outcome.Reason == follow.ReorgUnresolved)
	if !asked {
		d.court.pendingSince = time.Time{}
	} else if d.court.pendingSince.IsZero() {
		d.court.pendingSince = d.clock.Now()
	}
}

// localChain is what is known of the local chain where the sources have their heads. With a quorum the engine is asked for
// what is not remembered: which heads are ancestors of each other decides there.
func (d *Driver) localChain(words []follow.Word) follow.LocalChain {
	ctx, cancel := context.WithTimeout(d.ctx, ownChainTimeout)
	defer cancel()
	chain := make(follow.LocalChain)
	for _, w := range words {
		for _, ref := range []eth.L2BlockRef{w.Labels.LocalSafe.L2BlockRef, w.Labels.Safe.L2BlockRef, w.Labels.Finalized.L2BlockRef} {
			if _, looked := chain[ref.Number]; looked {
				continue
			}
			if at, ok := d.own.remembered(ref.Number); ok {
				chain[ref.Number] = at
			} else if d.policy.Quorum > 1 && ctx.Err() == nil {
				chain[ref.Number] = d.own.read(ctx, ref.Number)
			}
		}
	}
	return chain
}

// l1Time is the time of a canonical L1 block as the own view has it. One from before the reach of the view is taken for its
// oldest.
func (d *Driver) l1Time(id eth.BlockID) uint64 {
	window := d.l1.Window()
	if ref, ok := window.Ref(id); ok {
		return ref.Time
	}
	return window.Tail().Time
}

// validate has a status judged against what is applied. Of its current L1, number and hash count; the rest is taken from the
// own view where that has the block. The engine is read where the memory of the local chain does not reach and it matters.
func (d *Driver) validate(name string, status *follow.Status, snap *engine.Snapshot) follow.Verdict {
	ctx, cancel := context.WithTimeout(d.ctx, judgeTimeout)
	defer cancel()
	prev := snap.Applied()
	facts := follow.Facts{
		Chain: d.chain, L1Final: d.l1.Refs().Finalized.Number, L1Start: d.l1Start.Load(), Aside: snap.Aside, Pairs: snap.Pairs,
		Local: make(follow.LocalChain),
	}
	for _, ref := range []eth.L2BlockRef{status.LocalSafe, status.Safe, status.Finalized} {
		if at, ok := d.own.remembered(ref.Number); ok {
			facts.Local[ref.Number] = at
		}
	}
	facts.L1 = d.l1.Judge(ctx, facts.L1Refs(*status, prev)...)
	if own, ok := d.l1.Window().Ref(status.CurrentL1.ID()); ok {
		status.CurrentL1 = own
	}
	verdict := follow.Validate(*status, facts, prev)
	if number, unread := verdict.Unread(); unread {
		facts.Local[number] = d.own.read(ctx, number)
		verdict = follow.Validate(*status, facts, prev)
	}
	if verdict.Reason() == follow.L1TooLow {
		for id, answer := range facts.L1 {
			if answer == follow.L1Behind {
				d.l1.WantHead(name, id.Number)
			}
		}
	}
	if wanted := verdict.WantsL1Final(); wanted > 0 {
		d.l1.WantFinality(wanted)
	}
	return verdict
}

func (d *Driver) sourceName(rank int) string {
	if rank == follow.NoSource {
		return "none"
	}
	return d.court.candidates[rank].name
}

// upstreamResult translates a reason to the label values of upstream's follow_source_requests_total.
func upstreamResult(reason follow.Reason) string {
	switch reason {
	case follow.None, follow.StatusBehind, follow.Unconfirmed:
		return "success"
	case follow.FetchFailed, follow.Malformed:
		return "error_fetch_status"
	case follow.L1CallFailed, follow.L1TooLow:
		return "error_l1_lookup"
	case follow.L1Contradicts:
		return "error_l1_mismatch"
	default:
		return "error_invalid_state"
	}
}
