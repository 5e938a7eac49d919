package mirror

import (
	"slices"
	"sort"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// historyLimit is how many heights of a chain are remembered, at least.
const historyLimit = 4096

// sourceHistory is everything the source was seen to show.
type sourceHistory struct {
	// shown is when each label first named a block, by height and hash.
	shown [labels]map[uint64]map[common.Hash]time.Duration
	// steps are the rises of each label: when it first showed a number as high as that.
	steps [labels][]step
	// blocks are the hashes seen at each height of a chain, under whatever label.
	blocks [chains]map[uint64][]common.Hash
	newest [chains]uint64
}

type step struct {
	number uint64
	at     time.Duration
}

func newSourceHistory() *sourceHistory {
	var s sourceHistory
	for l := range s.shown {
		s.shown[l] = make(map[uint64]map[common.Hash]time.Duration)
	}
	for c := range s.blocks {
		s.blocks[c] = make(map[uint64][]common.Hash)
	}
	return &s
}

func (s *sourceHistory) observe(at time.Duration, heads Heads) {
	for _, l := range Labels() {
		ref := heads[l]
		if !ref.Known() {
			continue
		}
		s.block(l.chain(), ref)
		if s.shown[l][ref.Number] == nil {
			s.shown[l][ref.Number] = make(map[common.Hash]time.Duration)
		}
		if _, seen := s.shown[l][ref.Number][ref.Hash]; !seen {
			s.shown[l][ref.Number][ref.Hash] = at
		}
		if n := len(s.steps[l]); n == 0 || ref.Number > s.steps[l][n-1].number {
			s.steps[l] = append(s.steps[l], step{number: ref.Number, at: at})
		}
	}
	s.forget()
}

// block notes that a block exists on a chain.
func (s *sourceHistory) block(c chainID, ref Ref) {
	if slices.Contains(s.blocks[c][ref.Number], ref.Hash) {
		return
	}
	s.blocks[c][ref.Number] = append(s.blocks[c][ref.Number], ref.Hash)
	s.newest[c] = max(s.newest[c], ref.Number)
}

// reached reports whether a label was ever as high as number.
func (s *sourceHistory) reached(l Label, number uint64) bool {
	n := len(s.steps[l])
	return n > 0 && s.steps[l][n-1].number >= number
}

// passedAt is when a label first was higher than number.
func (s *sourceHistory) passedAt(l Label, number uint64) (time.Duration, bool) {
	steps := s.steps[l]
	i := sort.Search(len(steps), func(i int) bool { return steps[i].number > number })
	if i == len(steps) {
		return 0, false
	}
	return steps[i].at, true
}

// agrees reports whether the source has shown this block under this label. The source is looked at now and then
// only: a block it must have gone through between two looks counts, if it was seen under another label.
func (s *sourceHistory) agrees(l Label, ref Ref) bool {
	if hashes := s.shown[l][ref.Number]; len(hashes) > 0 {
		_, shown := hashes[ref.Hash]
		return shown
	}
	return s.reached(l, ref.Number) && slices.Contains(s.blocks[l.chain()][ref.Number], ref.Hash)
}

// contradicts reports whether the source is known to have another block there.
func (s *sourceHistory) contradicts(l Label, ref Ref) bool {
	hashes := s.blocks[l.chain()][ref.Number]
	return len(s.shown[l][ref.Number]) > 0 && !s.agrees(l, ref) || len(hashes) > 0 && !slices.Contains(hashes, ref.Hash)
}

// forget drops what lies far behind, once in a while.
func (s *sourceHistory) forget() {
	for c := range s.blocks {
		if len(s.blocks[c]) <= 2*historyLimit {
			continue
		}
		oldest := s.newest[c] - min(s.newest[c], historyLimit)
		for number := range s.blocks[c] {
			if number < oldest {
				delete(s.blocks[c], number)
			}
		}
		for _, l := range Labels() {
			if l.chain() == chainID(c) {
				s.forgetLabel(l, oldest)
			}
		}
	}
}

func (s *sourceHistory) forgetLabel(l Label, oldest uint64) {
	for number := range s.shown[l] {
		if number < oldest {
			delete(s.shown[l], number)
		}
	}
	i := sort.Search(len(s.steps[l]), func(i int) bool { return s.steps[l][i].number >= oldest })
	s.steps[l] = append(s.steps[l][:0], s.steps[l][i:]...)
}
