package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// slottedL1 has a block for each slot, known a while after its time.
type slottedL1 struct {
	genesis      time.Time
	slot, spread time.Duration
	missing      func(slot int) bool
	down         func(at time.Duration) bool

	calls int
	heard int
	lags  []time.Duration
}

// known is when the block of a slot is known.
func (l *slottedL1) known(slot int) time.Time {
	return l.genesis.Add(time.Duration(slot)*l.slot + 700*time.Millisecond + l.spread*time.Duration(slot*7%10)/10)
}

func (l *slottedL1) ask(context.Context) (eth.L1BlockRef, error) {
	l.calls++
	now := time.Now()
	if l.down != nil && l.down(now.Sub(l.genesis)) {
		return eth.L1BlockRef{}, errors.New("down")
	}
	last, number := 0, uint64(0)
	for slot := 0; !l.known(slot).After(now); slot++ {
		if l.missing == nil || !l.missing(slot) {
			last, number = slot, number+1
		}
	}
	return eth.L1BlockRef{
		Number: number, Hash: common.Hash{byte(number >> 8), byte(number), 1}, Time: uint64(l.genesis.Unix()) + uint64(time.Duration(last)*l.slot/time.Second),
	}, nil
}

// hear notes for each slot that had a block how late it, or a later one, was heard of.
func (l *slottedL1) hear(_ context.Context, ref eth.L1BlockRef) {
	slot := int((time.Duration(ref.Time)*time.Second - time.Duration(l.genesis.Unix())*time.Second) / l.slot)
	if l.heard == 0 {
		l.heard = slot - 1
	}
	for ; l.heard < slot; l.heard++ {
		if l.missing == nil || !l.missing(l.heard+1) {
			l.lags = append(l.lags, time.Since(l.known(l.heard+1)))
		}
	}
}

// TestL1HeadPoll (spec C4): an L1 that is polled shows its blocks soon after they are known, whatever the interval, for no more
// than a poll in an interval on average.
func TestL1HeadPoll(t *testing.T) {
	const mainnet, late = 12 * time.Second, 2 * time.Second
	for name, c := range map[string]struct {
		l1          slottedL1
		interval    time.Duration
		median, max time.Duration
	}{
		"slots of the interval": {slottedL1{slot: mainnet}, mainnet, time.Second, mainnet + time.Second},
		"uneven":                {slottedL1{slot: mainnet, spread: late}, mainnet, 2 * time.Second, mainnet + time.Second},
		"missing blocks":        {slottedL1{slot: mainnet, missing: func(slot int) bool { return slot%40 == 39 }}, mainnet, time.Second, mainnet + time.Second},
		"shorter interval":      {slottedL1{slot: mainnet}, 4 * time.Second, 500 * time.Millisecond, 5 * time.Second},
		"longer interval":       {slottedL1{slot: 2 * time.Second}, mainnet, mainnet / 2, mainnet + time.Second},
		"a short slot":          {slottedL1{slot: 4 * time.Second, spread: late}, time.Second, 500 * time.Millisecond, 2 * time.Second},
		"down for a while": {slottedL1{slot: mainnet, down: func(at time.Duration) bool {
			return at > 20*time.Minute && at < 25*time.Minute
		}}, mainnet, time.Second, 5*time.Minute + mainnet},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l1 := &c.l1
				l1.genesis = time.Now().Truncate(time.Second).Add(-5*time.Second - 10*l1.slot) // so that an interval finds blocks late
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				watchHead(l1.ask, l1.hear, c.interval).run(ctx)
				lags := l1.lags[3:]
				t.Logf("median %s, mean %s, longest %s, %d calls", median(lags), mean(lags), slices.Max(lags), l1.calls)
				require.LessOrEqual(t, median(lags), c.median)
				require.LessOrEqual(t, slices.Max(lags), c.max)
				require.LessOrEqual(t, l1.calls, int(time.Since(begin)/c.interval)+10)
			})
		})
	}
}

func mean(list []time.Duration) (sum time.Duration) {
	for _, d := range list {
		sum += d / time.Duration(len(list))
	}
	return sum
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// FuzzSlotTimer (spec C4, I8): whatever L1 answers, and whenever, there is no more than one question in an interval on average.
func FuzzSlotTimer(f *testing.F) {
	f.Add([]byte{1, 2, 3}, int64(time.Second))
	f.Add([]byte{2, 2, 187, 152, 152}, int64(time.Second)) // numbers that run ahead of the time
	f.Add([]byte("002\a1\xc211108*0"), int64(11999999803)) // a slot that gets shorter, and a question put early in the long one
	f.Add([]byte("a long story of heads that come and go"), int64(12*time.Second))
	f.Fuzz(func(t *testing.T, answers []byte, interval int64) {
		if interval <= 0 || interval > int64(time.Hour) {
			return
		}
		s := slotTimer{interval: time.Duration(interval)}
		start := time.Unix(1700000000, 0)
		now, head := start, l1At(100, uint64(start.Unix()))
		var longest time.Duration // slot, of all that were believed
		for i, answer := range answers {
			at := s.next()
			now = latest(now, at)
			if i > 0 {
				require.LessOrEqual(t, now.Sub(s.asked), s.interval+2*longest, "never put off for long")
			}
			s.onAsk(now)
			switch answer % 5 {
			case 0:
				s.onFailure()
			case 1:
				s.onHead(now, head, true)
			case 2:
				head = l1At(head.Number+uint64(answer/5), head.Time+uint64(answer%8))
				s.onHead(now, head, true)
			case 3:
				head = l1At(head.Number+1, uint64(now.Unix()))
				s.onHead(now, head, answer > 100)
			case 4:
				head = l1At(uint64(answer)<<(answer%57), uint64(answer)<<(answer%58))
				s.onHead(now, head, true)
			}
			longest = max(longest, s.slot)
			require.True(t, s.slot == 0 || s.slot >= minSlot && s.slot <= maxSlot, s.slot)
			allowed := now.Sub(start)/s.interval + time.Duration(s.perSlot()) + 3
			require.LessOrEqual(t, time.Duration(i), allowed)
		}
	})
}
