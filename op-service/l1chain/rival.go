package l1chain

import (
	"context"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const (
	// farAnswers is how many answers, each the descendant of the one before, a head far above the view's takes.
	farAnswers = 2
	// lowerAnswers is how many answers in a row that agree a lower head takes.
	lowerAnswers = 3
)

// rival is a head that L1 answers with and the view does not believe yet.
type rival struct {
	head eth.L1BlockRef
	// answers is how many in a row agree on it; zero if there is no rival.
	answers int
	far     bool
}

// believes tells whether an answer is enough to follow the head. It keeps the rival.
func (v *View) believes(ctx context.Context, ref eth.L1BlockRef) (believed bool, err error) {
	v.mu.Lock()
	far := v.far(ref)
	lower := ref.Number < v.window.Head().Number && !v.window.holds(ref.ID())
	known := v.window.Len() > 0
	v.mu.Unlock()
	if !known || !far && !lower {
		v.rival = rival{}
		v.settle(false)
		return true, nil
	}
	defer func() { v.settle(lower && !believed) }()
	before := v.rival
	v.rival = rival{head: ref, answers: 1, far: far}
	if before.answers == 0 || before.far != far {
		return false, nil
	}
	switch agree, err := v.agree(ctx, before.head, ref); {
	case err != nil:
		v.rival = before
		return false, err
	case !agree:
		return false, nil
	case far && ref.Number <= before.head.Number: // nothing that grows
		v.rival = before
		return false, nil
	}
	v.rival.answers = before.answers + 1
	if far {
		return v.rival.answers >= farAnswers, nil
	}
	return v.rival.answers >= lowerAnswers, nil
}

// agree tells whether two heads that L1 answered with are of one chain.
func (v *View) agree(ctx context.Context, a, b eth.L1BlockRef) (bool, error) {
	switch {
	case a.Hash == b.Hash || b.ParentID() == a.ID():
		return true, nil
	case a.Number == b.Number:
		return false, nil
	}
	refs, err := v.fetch(ctx, []uint64{a.Number, b.Number})
	if err != nil {
		return false, err
	}
	return refs[0].Hash == a.Hash && refs[1].Hash == b.Hash, nil
}

// certify asks L1 whether the chain of a head has in it what is known for sure: the finalized block and the anchor. That
// takes one request, so that one backend answers for all of it. An anchor that L1 does not keep any more is no objection.
func (v *View) certify(ctx context.Context, ref eth.L1BlockRef) error {
	v.mu.Lock()
	finalized, anchor := v.finalized.ID(), v.cfg.Anchor
	v.mu.Unlock()
	switch {
	case ref.Number < anchor.Number:
		return errOtherNetwork
	case ref.Number < finalized.Number:
		return errFinalityConflict
	case unknown(finalized) && unknown(anchor):
		return nil
	}
	for range maxAttempts {
		got, err := v.headWith(ctx, ref.Number, finalized, anchor)
		switch {
		case err != nil:
			return err
		case got[0].Hash != ref.Hash: // another backend
		case !unknown(finalized) && got[1].ID() != finalized:
			return errFinalityConflict
		case !unknown(anchor) && got[2].ID() != anchor && !unknown(got[2].ID()):
			return errOtherNetwork
		default:
			return nil
		}
	}
	return errUnlinked
}

// headWith asks for the block with a number and, as far as they are known, for what is canonical in place of the finalized
// block and of the anchor, in this order. That there is no answer for the anchor alone is no error.
func (v *View) headWith(ctx context.Context, number uint64, finalized, anchor eth.BlockID) (got [3]eth.L1BlockRef, err error) {
	numbers, places := []uint64{number}, []int{0}
	for i, id := range []eth.BlockID{finalized, anchor} {
		if !unknown(id) {
			numbers, places = append(numbers, id.Number), append(places, i+1)
		}
	}
	refs, err := v.fetch(ctx, numbers)
	for i := range refs {
		got[places[i]] = refs[i]
	}
	if !unknown(got[0].ID()) && (unknown(finalized) || !unknown(got[1].ID())) {
		return got, nil
	}
	return got, err
}
