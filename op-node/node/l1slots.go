package node

import (
	"slices"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const (
	// minSlot and maxSlot bound what is believed of the time between two L1 blocks.
	minSlot, maxSlot = 250 * time.Millisecond, 5 * time.Minute
	// maxL1Time bounds the times of L1 blocks, in seconds; it is in the year 2242.
	maxL1Time = 1 << 33
	// gapsKept is how many distances between heads the slot is taken from: the least of them, as slots may be empty.
	gapsKept = 8
)

// slotTimer says when to ask for the L1 head. The blocks of L1 come in slots, and one is known some delay after the time in
// its header; a question at just that moment shows it earlier than one at any other. The timer learns slot and delay from
// the answers. What it learns only picks the moment: however absurd the answers are, there is no more than one question in
// an interval on average, and none is put off by more than a slot or an interval (spec C4).
type slotTimer struct {
	interval time.Duration
	// asked is when the last question was put. spent is when its interval is over: saved intervals make it lie in the past.
	asked, spent time.Time
	failed       bool

	head eth.L1BlockRef
	gaps []time.Duration
	// slot is the time between two blocks, zero while unknown.
	slot time.Duration
	// delay is how long after the time in its header a block is first asked for. It holds the difference of the clocks too.
	delay time.Duration
	// creep is how much delay gets shorter when the first question finds the block. It is itself halved by each miss, down to
	// where a block in eighty is missed, which costs as much as what is gained (TestL1HeadPoll).
	creep time.Duration
	// misses counts the questions of this slot that did not find its block.
	misses int
}

// next is when to ask the next time.
func (t *slotTimer) next() time.Time {
	switch {
	case t.asked.IsZero():
		return t.spent
	case t.slot == 0 || t.failed:
		return latest(t.asked.Add(t.interval), t.spent)
	}
	due := timeOf(t.head).Add(t.slot + t.delay + time.Duration(t.misses)*t.step())
	if earliest := latest(t.asked.Add(min(t.step(), t.interval)), t.spent.Add(-t.slot/8)); due.Before(earliest) {
		due = due.Add((earliest.Sub(due) + t.slot - 1) / t.slot * t.slot)
	}
	return due
}

// onAsk notes a question that is put because next said so.
func (t *slotTimer) onAsk(now time.Time) {
	t.asked = now
	t.spent = latest(t.spent, now.Add(-time.Duration(t.perSlot()+2)*t.interval)).Add(t.interval)
}

// onFailure notes that the question was not answered.
func (t *slotTimer) onFailure() { t.failed = true }

// onHead takes a head that was answered to a question of the timer or became known otherwise.
func (t *slotTimer) onHead(now time.Time, ref eth.L1BlockRef, asked bool) {
	t.failed = t.failed && !asked
	before, slot := t.head, t.slot
	switch {
	case ref.Time > maxL1Time:
		return
	case ref.Hash == before.Hash:
		if asked && t.misses < t.perSlot()+1 {
			t.misses++
		}
		return
	}
	t.head = ref
	t.learnSlot(before)
	misses := t.misses
	t.misses = 0
	switch late := now.Sub(timeOf(ref)) - t.delay; {
	case t.slot == 0:
	case t.slot != slot || late < -t.slot:
		t.delay, t.creep = now.Sub(timeOf(ref)), t.slot/6
	case late < 0 || asked && misses == 0 && late < t.slot:
		t.delay -= t.creep
	default:
		if asked && misses >= t.perSlot() && !t.skipped(before) {
			t.delay += t.step()
			t.creep = max(t.creep/2, t.slot/960)
		}
		if late -= time.Duration(misses) * t.step(); asked && late >= t.slot { // the block of the slot before
			t.misses = 1
		}
	}
}

// learnSlot takes the slot from the distances of the last heads.
func (t *slotTimer) learnSlot(before eth.L1BlockRef) {
	const far = 64
	after := t.head
	if before == (eth.L1BlockRef{}) || after.Number <= before.Number || after.Number-before.Number > far || after.Time <= before.Time {
		return
	}
	gap := timeOf(after).Sub(timeOf(before)) / time.Duration(after.Number-before.Number)
	if gap < minSlot || gap > maxSlot {
		return
	}
	if len(t.gaps) == gapsKept {
		t.gaps = t.gaps[1:]
	}
	t.gaps = append(t.gaps, gap)
	t.slot = slices.Min(t.gaps)
}

// skipped tells whether slots were empty between an earlier head and the last one.
func (t *slotTimer) skipped(before eth.L1BlockRef) bool {
	return timeOf(t.head).Sub(timeOf(before)) > time.Duration(t.head.Number-before.Number)*t.slot
}

// perSlot is how many questions a slot has room for, at least one.
func (t *slotTimer) perSlot() int { return max(1, int(t.slot/t.interval)) }

// step is the time between two questions for the block of one slot.
func (t *slotTimer) step() time.Duration { return t.slot / 12 }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func timeOf(ref eth.L1BlockRef) time.Time { return time.Unix(int64(ref.Time), 0) }
