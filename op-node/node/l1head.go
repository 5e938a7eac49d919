package node

import (
	"context"
	"net/url"
	"time"

	"github.com/ethereum/go-ethereum"
	gethevent "github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const (
	// resubscribeBackoff is the longest pause before the L1 head is subscribed to again.
	resubscribeBackoff = 10 * time.Second
	// silentSlots is after how many slots without a head a subscription is backed by polling.
	silentSlots = 3
	// defaultSlot stands for a slot that is not known yet, and for the interval of polling if there is none.
	defaultSlot = 12 * time.Second
)

// l1Wants are reasons to ask L1 out of turn. In follow mode the L1 view has them.
type l1Wants interface {
	// HeadWanted delivers when HeadDue may have changed.
	HeadWanted() <-chan struct{}
	// HeadDue tells when to ask for the head, if anybody wants it.
	HeadDue() (at time.Time, wanted bool)
	// HeadAsked is called when the answer to any question for the head has been passed on.
	HeadAsked()
	// FinalityWanted delivers when to ask for the finalized block.
	FinalityWanted() <-chan struct{}
}

// noWants are the reasons of a mode that has none.
type noWants struct{}

func (noWants) HeadWanted() <-chan struct{}     { return nil }
func (noWants) HeadDue() (time.Time, bool)      { return time.Time{}, false }
func (noWants) HeadAsked()                      {}
func (noWants) FinalityWanted() <-chan struct{} { return nil }

// l1HeadWatch tells of the head of L1, from one goroutine: of every head that L1 pushes, and of every answer, repetitions
// included. An L1 that does not push is polled; so is one that does, while it has been silent for three slots (spec C2). It
// is asked out of turn where that is wanted (spec C1).
type l1HeadWatch struct {
	ask  func(context.Context) (eth.L1BlockRef, error)
	tell eth.HeadSignalFn
	// subscribe has heads pushed to a function; nil where L1 does not push.
	subscribe func(context.Context, eth.HeadSignalFn) (ethereum.Subscription, error)
	wants     l1Wants
	// interval is the time between polls, on average; without one a silent subscription alone is backed by polls.
	interval time.Duration
	clock    clock.Clock
	log      log.Logger

	polls bool
	timer slotTimer
	// asking is whether a question is out, turn whether it is a poll. answers has its answer.
	asking, turn bool
	answers      chan l1HeadAnswer
	// heard is when the subscription delivered last, or began; silent whether polling stands in for it.
	heard   time.Time
	silent  bool
	failing bool
}

type l1HeadAnswer struct {
	ref eth.L1BlockRef
	err error
}

// run watches until the context ends, and asks at once: a subscription only tells of the next head.
func (w *l1HeadWatch) run(ctx context.Context) {
	pushed := make(chan eth.L1BlockRef)
	if w.subscribe != nil {
		subscription := w.stayInformed(func(_ context.Context, ref eth.L1BlockRef) {
			select {
			case pushed <- ref:
			case <-ctx.Done():
			}
		})
		defer subscription.Unsubscribe()
	}
	w.polls = w.subscribe != nil || w.interval > 0
	if !w.polls {
		w.log.Warn("The L1 head is not polled, and this L1 does not push it", "interval", w.interval)
	}
	if w.interval <= 0 {
		w.interval = defaultSlot
	}
	w.timer = slotTimer{interval: w.interval}
	w.heard, w.answers = w.clock.Now(), make(chan l1HeadAnswer, 1)
	for ctx.Err() == nil {
		at, asks := w.next()
		var due <-chan time.Time
		stop := func() {}
		if asks {
			timer := w.clock.NewTimer(max(at.Sub(w.clock.Now()), 0))
			due, stop = timer.Ch(), func() { timer.Stop() }
		}
		select {
		case <-ctx.Done():
		case <-w.wants.HeadWanted():
		case ref := <-pushed:
			w.onPush(ctx, ref)
		case answer := <-w.answers:
			w.onAnswer(ctx, answer)
		case <-due:
			w.put(ctx)
		}
		stop()
	}
}

// stayInformed subscribes, again and again if need be.
func (w *l1HeadWatch) stayInformed(push eth.HeadSignalFn) gethevent.Subscription {
	return gethevent.ResubscribeErr(resubscribeBackoff, func(ctx context.Context, err error) (gethevent.Subscription, error) {
		if err != nil {
			w.log.Warn("resubscribing after failed L1 subscription", "err", err)
		}
		return w.subscribe(ctx, push)
	})
}

// next is when to ask, if at all.
func (w *l1HeadWatch) next() (time.Time, bool) {
	if w.asking {
		return time.Time{}, false
	}
	at, polls := w.poll()
	if wanted, wants := w.wants.HeadDue(); wants && (!polls || wanted.Before(at)) {
		return wanted, true
	}
	return at, polls
}

// poll is when to ask for no other reason than the time, if ever.
func (w *l1HeadWatch) poll() (time.Time, bool) {
	switch {
	case w.subscribe == nil:
		return w.timer.next(), w.polls
	case w.timer.asked.IsZero():
		return w.heard, true
	case w.failing:
		return w.timer.asked.Add(w.interval), true
	}
	slot := w.timer.slot
	if slot == 0 {
		slot = defaultSlot
	}
	return latest(w.heard.Add(silentSlots*slot), w.timer.asked.Add(w.interval)), true
}

// put puts the question. The answer comes later, so that a slow one does not hold up what is pushed meanwhile.
func (w *l1HeadWatch) put(ctx context.Context) {
	now := w.clock.Now()
	at, polls := w.poll()
	w.asking, w.turn = true, polls && !at.After(now)
	if w.turn {
		if w.subscribe != nil && !w.silent && !w.timer.asked.IsZero() && !w.failing {
			w.silent = true
			w.log.Warn("The L1 head subscription is silent, polling meanwhile", "since", w.heard)
		}
		w.timer.onAsk(now)
	}
	go func() {
		ref, err := w.ask(ctx)
		w.answers <- l1HeadAnswer{ref, err}
	}()
}

func (w *l1HeadWatch) onAnswer(ctx context.Context, answer l1HeadAnswer) {
	w.asking = false
	if ctx.Err() != nil {
		return
	}
	defer w.wants.HeadAsked()
	if answer.err != nil {
		w.timer.onFailure()
		if !w.failing {
			w.log.Warn("failed to fetch the L1 head", "err", answer.err)
		}
		w.failing = true
		return
	}
	if w.failing {
		w.failing = false
		w.log.Info("L1 head fetched again", "head", answer.ref)
	}
	w.timer.onHead(w.clock.Now(), answer.ref, w.turn)
	w.tell(ctx, answer.ref)
}

func (w *l1HeadWatch) onPush(ctx context.Context, ref eth.L1BlockRef) {
	w.heard = w.clock.Now()
	if w.silent {
		w.silent = false
		w.log.Info("The L1 head subscription speaks again", "head", ref)
	}
	w.timer.onHead(w.heard, ref, false)
	w.tell(ctx, ref)
}

// pushes tells whether an L1 endpoint can tell of new heads by itself.
func pushes(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err != nil || u.Scheme != "http" && u.Scheme != "https"
}
