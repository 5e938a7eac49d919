package l1chain

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// desk is where questions to L1 queue: one is asked at a time, and none for a while after one that L1 did not answer.
type desk struct {
	// turn is held by whoever asks; the rest belongs to it.
	turn       chan struct{}
	unanswered bool
	askAfter   time.Time
}

func newDesk() *desk { return &desk{turn: make(chan struct{}, 1)} }

// Judge says of each block whether it is canonical L1. All answers belong to one state of the view: never does one hold
// on one fork and another on the next.
//
// What the view does not know it asks L1 for. Blocks that L1 does not answer for, and blocks with a zero hash, are
// L1Unavailable; those above the head of the view are L1Behind, at no L1 call. The context bounds the waiting.
func (v *View) Judge(ctx context.Context, ids ...eth.BlockID) follow.L1Facts {
	return v.judge(ctx, v.judging, ids)
}

// LookUp is Judge for others than the judge of statuses, RPC clients for instance: neither ever waits for the other, nor
// leaves L1 alone because it did not answer the other (spec X3).
func (v *View) LookUp(ctx context.Context, ids ...eth.BlockID) follow.L1Facts {
	return v.judge(ctx, v.lookups, ids)
}

func (v *View) judge(ctx context.Context, at *desk, ids []eth.BlockID) follow.L1Facts {
	facts, wanted := v.recall(ids)
	misses := 0
	for id, answer := range facts {
		if answer == follow.L1Unavailable && !unknown(id) {
			misses++
		}
	}
	v.metrics.RecordL1ViewHits(len(facts) - misses)
	v.metrics.RecordL1ViewMisses(misses)
	if wanted.empty() {
		return facts
	}
	select {
	case at.turn <- struct{}{}:
		defer func() { <-at.turn }()
	case <-ctx.Done():
		return facts
	}
	return v.ask(ctx, at, ids)
}

// ask answers the ids with the help of L1. Its caller has the turn at the desk.
func (v *View) ask(ctx context.Context, at *desk, ids []eth.BlockID) follow.L1Facts {
	facts, wanted := v.recall(ids)
	if wanted.empty() || v.clock.Now().Before(at.askAfter) {
		return facts
	}
	var err error
	for attempt := 0; err == nil && !wanted.empty(); {
		var known bool
		if known, err = v.inquire(ctx, wanted); err == nil && !known {
			if attempt++; attempt == maxAttempts {
				err = errUnlinked
			}
		}
		facts, wanted = v.recall(ids)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		v.noteAnswer(at, err)
	}
	return facts
}

// inquire puts one request to L1. It tells whether the view took in all of the answer.
func (v *View) inquire(ctx context.Context, wanted request) (bool, error) {
	refs, err := v.fetch(ctx, wanted.numbers())
	if err != nil {
		return false, err
	}
	return v.learn(wanted, refs), nil
}

// noteAnswer remembers whether L1 answered, and says so when that changes.
func (v *View) noteAnswer(at *desk, err error) {
	switch {
	case err != nil && !at.unanswered:
		v.log.Warn("L1 does not answer for blocks to be judged, going on with those that are known", "err", err)
	case err == nil && at.unanswered:
		v.log.Info("L1 answers for blocks to be judged again")
	}
	at.unanswered = err != nil
	if at.unanswered {
		at.askAfter = v.clock.Now().Add(v.cfg.RetryDelay)
	}
}

// remembered is a canonical hash, and the head during which L1 said so.
type remembered struct{ hash, during common.Hash }

// request is what to ask L1 next, and the state of the view for which the answer will be good.
type request struct {
	reorgs    uint64
	finalized uint64
	// single numbers are taken as they come, if L1 has the chain in the same answer or, without one, the link.
	single []uint64
	// chain numbers ascend and end right below the tail of the window; their blocks must link to it.
	chain []uint64
	link  eth.BlockID
}

func (r request) empty() bool { return len(r.single)+len(r.chain) == 0 }

func (r request) numbers() []uint64 {
	if len(r.chain) == 0 {
		return slices.Concat(r.single, []uint64{r.link.Number})
	}
	return slices.Concat(r.single, r.chain)
}

// recall answers from memory, and says what to ask L1 for so that more can be answered.
func (v *View) recall(ids []eth.BlockID) (follow.L1Facts, request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	facts := make(follow.L1Facts, len(ids))
	wanted := request{reorgs: v.reorgs, finalized: v.finalized.Number, link: v.window.link()}
	tail, head := v.window.Tail(), v.window.Head()
	lowest := tail.Number
	asked := make(map[uint64]bool)
	singles := max(1, v.cfg.MaxBatch-1) // and the link
	for _, id := range ids {
		facts[id] = v.known(id)
		if facts[id] != follow.L1Unavailable || unknown(id) || v.window.Len() == 0 || asked[id.Number] {
			continue
		}
		asked[id.Number] = true
		if id.Number > v.finalized.Number && head.Number-id.Number < uint64(v.cfg.Window) {
			lowest = min(lowest, id.Number)
		} else if len(wanted.single) < singles {
			wanted.single = append(wanted.single, id.Number)
		}
	}
	if room := v.cfg.MaxBatch - len(wanted.single); room > 0 && lowest < tail.Number {
		wanted.chain = v.below(tail.Number, lowest)
		wanted.chain = wanted.chain[max(0, len(wanted.chain)-room):]
	}
	return facts, wanted
}

func (v *View) known(id eth.BlockID) follow.L1Answer {
	if answer := v.window.Canonical(id); answer != follow.L1Unavailable || unknown(id) || v.window.Len() == 0 {
		return answer
	}
	if id.Number == v.finalized.Number && !unknown(v.finalized.ID()) {
		return verdict(v.finalized.Hash == id.Hash)
	}
	// What contradicts is asked for again with the next head: an endpoint may answer one request from several backends.
	known, ok := v.memory(id.Number, v.finalized.Number).Get(id.Number)
	if ok && (known.hash == id.Hash || known.during == v.window.Head().Hash) {
		return verdict(known.hash == id.Hash)
	}
	return follow.L1Unavailable
}

// memory is where the answer for a number is kept that was asked for while L1 was final up to another one: nothing that L1
// answers is final before L1's finality (spec C6).
func (v *View) memory(number, finalized uint64) *lru.BasicLRU[uint64, remembered] {
	if number <= finalized {
		return &v.final
	}
	return &v.tentative
}

// learn takes in what L1 answered, unless the view has left the fork that was asked about. It tells whether everything
// asked for is known now.
func (v *View) learn(asked request, refs []eth.L1BlockRef) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if asked.reorgs != v.reorgs {
		return false
	}
	single, rest := refs[:len(asked.single)], refs[len(asked.single):]
	if len(asked.chain) == 0 && rest[0].ID() != asked.link || len(asked.chain) > 0 && !linked(rest, v.window.Tail()) {
		return false
	}
	complete := true
	for i, number := range asked.single {
		if unknown(single[i].ID()) {
			complete = false
			continue
		}
		v.memory(number, asked.finalized).Add(number, remembered{single[i].Hash, v.window.Head().Hash})
	}
	if len(asked.chain) > 0 {
		v.window = v.window.under(rest)
		v.checkLabels()
	}
	return complete
}

// checkLabels gives up a label if the window, which has just grown, shows another block in its place: it came from a
// backend on another fork or, if it is the finalized one, of another network, and so may the answers that relied on it.
func (v *View) checkLabels() {
	if v.contradicts(v.finalized) {
		v.log.Error("The finalized L1 block is not in the chain of the L1 head, dropping the label",
			"finalized", v.finalized, "head", v.window.Head())
		v.finalized = eth.L1BlockRef{}
		v.final.Purge()
	}
	if v.contradicts(v.safe) {
		v.safe = v.finalized
	}
}

func (v *View) contradicts(label eth.L1BlockRef) bool {
	hash, ok := v.window.hashAt(label.Number)
	return ok && !unknown(label.ID()) && hash != label.Hash
}
