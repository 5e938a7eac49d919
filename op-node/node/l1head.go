package node

import (
	"context"
	"net/url"
	"time"

	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// l1HeadPoll asks an L1 that cannot push for its head, no more often than once in an interval on average, and tells of each
// new one. It does not ask at just any moment: blocks of L1 come in slots, so it asks when the next one has usually come.
// At an interval of one slot that shows a block after a moment instead of half a slot.
type l1HeadPoll struct {
	ask      func(context.Context) (eth.L1BlockRef, error)
	tell     eth.HeadSignalFn
	interval time.Duration
	clock    clock.Clock
	log      log.Logger

	cadence follow.Cadence
	head    eth.L1BlockRef
	failing bool
	asked   time.Time
	// slot is the shortest time seen between two blocks; zero while unknown. due is when the next block may come.
	slot time.Duration
	due  time.Time
}

// run polls until the context ends, beginning at once.
func (p *l1HeadPoll) run(ctx context.Context) {
	if p.interval <= 0 {
		p.log.Warn("The L1 head is not polled, and this L1 does not push it", "interval", p.interval)
		return
	}
	p.cadence = follow.Every(p.interval)
	for ctx.Err() == nil {
		now := p.clock.Now()
		next := p.cadence.Next(now)
		if latest := p.asked.Add(p.interval + p.interval/4); !p.asked.IsZero() && latest.Before(next) {
			next = latest // where blocks do not come in slots after all
		}
		if p.slot > 0 && p.due.Before(next) {
			next = p.due
		}
		timer := p.clock.NewTimer(max(next.Sub(now), 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.Ch():
		}
		if p.slot > 0 && next.Equal(p.due) {
			p.cadence = p.cadence.OnL1Head(p.due, p.slotOf(p.due))
			p.due = p.due.Add(p.slot)
			continue
		}
		p.poll(ctx)
	}
}

func (p *l1HeadPoll) poll(ctx context.Context) {
	p.asked = p.clock.Now()
	ref, err := p.ask(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		p.cadence = p.cadence.OnPoll(p.asked, p.answer(false))
		if !p.failing {
			p.log.Warn("failed to fetch the L1 head", "err", err)
		}
		p.failing = true
		return
	case p.failing:
		p.failing = false
		p.log.Info("L1 head fetched again", "head", ref)
	}
	before := p.head
	p.head = ref
	p.cadence = p.cadence.OnPoll(p.asked, p.answer(ref.Hash != before.Hash))
	if ref.Hash != before.Hash {
		p.learnSlot(before)
		p.tell(ctx, ref)
	}
}

func (p *l1HeadPoll) answer(changed bool) follow.Answer {
	return follow.Answer{Changed: changed, CurrentL1: p.slotOf(timeOf(p.head))}
}

// slotOf counts slots.
func (p *l1HeadPoll) slotOf(at time.Time) uint64 {
	return uint64(at.UnixNano() / int64(max(p.slot, time.Second)))
}

// learnSlot finds out from two blocks how far apart blocks are, and when the next one is due.
func (p *l1HeadPoll) learnSlot(before eth.L1BlockRef) {
	if before == (eth.L1BlockRef{}) || p.head.Number <= before.Number || p.head.Time <= before.Time {
		return
	}
	gap := timeOf(p.head).Sub(timeOf(before)) / time.Duration(p.head.Number-before.Number)
	if p.slot > 0 && gap >= p.slot {
		return
	}
	p.slot = gap
	p.due = timeOf(p.head).Add(gap)
	if late := p.clock.Since(p.due); late >= 0 {
		p.due = p.due.Add(gap * (late/gap + 1))
	}
	p.cadence = follow.Clocked(p.interval, 0).OnPoll(p.asked, p.answer(true))
}

func timeOf(ref eth.L1BlockRef) time.Time { return time.Unix(int64(ref.Time), 0) }

// pushes tells whether an L1 endpoint can tell of new heads by itself.
func pushes(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err != nil || u.Scheme != "http" && u.Scheme != "https"
}
