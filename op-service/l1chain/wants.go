package l1chain

import (
	"time"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// minSpacing is the least time between two questions for the head that sources ask for.
	minSpacing = 250 * time.Millisecond
	// maxSpacing is the most that a source has to wait whose blocks L1 did not confirm.
	maxSpacing = 8 * time.Second
	// maxDoubts is how many answers in a row that the view does not believe have L1 asked again before the next poll.
	maxDoubts = 4
)

// wants are the questions to L1 that sources give reason for, out of turn. The view only says when to ask; whoever watches
// L1 asks, and passes the answers to OnHead and OnFinalized. It is guarded by the view's mutex.
type wants struct {
	heads map[string]*headWant
	// asked is when L1 was last asked for its head, for whatever reason.
	asked time.Time
	// doubted is whether L1 should be asked again because it answered with a head that takes further answers; doubts
	// counts how often it was since the last answer that took none.
	doubted    bool
	doubts     int
	headWanted chan struct{}

	// finality is the number of the L1 block that is said to be final; zero if that is not above the known finality.
	finality uint64
	// during is the head during which finality was last asked for.
	during         common.Hash
	finalityWanted chan struct{}
}

// headWant is a block that one source names and the view lacks.
type headWant struct {
	number uint64
	// open is whether the block is still asked for.
	open bool
	// spacing is how long the source waits after the next answer that does not confirm it; after is the end of this wait.
	spacing time.Duration
	after   time.Time
}

func newWants() wants {
	return wants{
		heads:          make(map[string]*headWant),
		headWanted:     make(chan struct{}, 1),
		finalityWanted: make(chan struct{}, 1),
	}
}

// WantHead says that a source names an L1 block with a number above the head of the view, which should then be asked for at
// once instead of with the next regular poll (spec C1). It is not, if the view has the number already.
//
// L1 is asked at most once in 250 ms. A source whose block L1 does not confirm waits 250 ms before the next question, then
// twice that each time up to 8 s, and then until it names a block again; a confirmed block ends that. WantHead returns at
// once and does nothing if nobody watches L1. It may be called from any goroutine; sources are told apart by name, of which
// there is a fixed set.
func (v *View) WantHead(source string, number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	head := v.window.Head().Number
	if number <= head {
		return
	}
	want := v.wants.heads[source]
	if want == nil || want.number <= head {
		want = &headWant{spacing: minSpacing}
		v.wants.heads[source] = want
	}
	want.number, want.open = number, true
	wake(v.wants.headWanted)
}

// HeadWanted delivers when HeadDue may have changed. It has one receiver.
func (v *View) HeadWanted() <-chan struct{} { return v.wants.headWanted }

// HeadDue tells when to ask L1 for its head on behalf of a source, if any names a block that the view lacks.
func (v *View) HeadDue() (at time.Time, wanted bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	head := v.window.Head().Number
	for _, want := range v.wants.heads {
		if want.open && want.number > head && (!wanted || want.after.Before(at)) {
			at, wanted = want.after, true
		}
	}
	if again := v.wants.asked.Add(minSpacing << max(v.wants.doubts-1, 0)); v.wants.doubted && (!wanted || again.Before(at)) {
		at, wanted = again, true
	}
	if earliest := v.wants.asked.Add(minSpacing); wanted && at.Before(earliest) {
		at = earliest
	}
	return at, wanted
}

// settle notes whether L1 should be asked again soon, because its answer takes further ones to be believed.
func (v *View) settle(doubted bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wants.doubted = doubted && v.wants.doubts < maxDoubts
	if doubted {
		wake(v.wants.headWanted)
	} else {
		v.wants.doubts = 0
	}
}

// HeadAsked notes that L1 was asked for its head, for whatever reason. The answer, if there was one, has gone to OnHead.
func (v *View) HeadAsked() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, head := v.clock.Now(), v.window.Head().Number
	v.wants.asked = now
	if v.wants.doubted {
		v.wants.doubts++
		v.wants.doubted = v.wants.doubts <= maxDoubts
	}
	for source, want := range v.wants.heads {
		switch {
		case want.number <= head:
			delete(v.wants.heads, source)
		case !want.open || now.Before(want.after):
		default:
			want.after = now.Add(want.spacing)
			want.open = want.spacing < maxSpacing
			want.spacing = min(2*want.spacing, maxSpacing)
		}
	}
}

// WantFinality says that a source names finality for which the L1 block with this number has to be final. If the view does
// not know that it is, L1's finalized block should be asked for: at most once per head of the view, with each new head until
// finality moves (spec V8). WantFinality returns at once and does nothing if nobody watches L1. It may be called from any
// goroutine.
func (v *View) WantFinality(number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if number > v.finalized.Number {
		v.wants.finality = number
		v.askFinality()
	}
}

// FinalityWanted delivers when L1 should be asked for its finalized block. It has one receiver.
func (v *View) FinalityWanted() <-chan struct{} { return v.wants.finalityWanted }

// askFinality has finality asked for, if it is wanted and was not yet during this head.
func (v *View) askFinality() {
	head := v.window.Head().Hash
	if v.wants.finality > v.finalized.Number && head != v.wants.during {
		v.wants.during = head
		wake(v.wants.finalityWanted)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
