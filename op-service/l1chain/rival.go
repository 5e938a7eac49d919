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

// certify asks L1 whether the chain of a head has in it what is known for sure: the anchor and the finalized block. That
// takes one request, so that one backend answers for all of it. An anchor that L1 does not keep any more is no objection.
func (v *View) certify(ctx context.Context, ref eth.L1BlockRef) error {
	v.mu.Lock()
	finalized := v.finalized.ID()
	v.mu.Unlock()
	numbers := []uint64{ref.Number}
	sure := []struct {
		id       eth.BlockID
		optional bool
		err      error
	}{{v.cfg.Anchor, true, errOtherNetwork}, {finalized, false, errFinalityConflict}}
	for _, s := range sure {
		if ref.Number < s.id.Number {
			return s.err
		}
		if !unknown(s.id) {
			numbers = append(numbers, s.id.Number)
		}
	}
	if len(numbers) == 1 {
		return nil
	}
	for range maxAttempts {
		refs, err := v.fetch(ctx, numbers)
		if err != nil {
			return err
		}
		if refs[0].Hash != ref.Hash {
			continue // another backend
		}
		refs = refs[1:]
		for _, s := range sure {
			if unknown(s.id) {
				continue
			}
			if got := refs[0].ID(); got != s.id && !(s.optional && unknown(got)) {
				return s.err
			}
			refs = refs[1:]
		}
		return nil
	}
	return errUnlinked
}
