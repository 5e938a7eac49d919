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

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// slottedL1 has a block for each slot, known a while after its time.
type slottedL1 struct {
	genesis      time.Time
	slot, spread time.Duration
	missing      func(slot int) bool
	down         func(at time.Duration) bool

	calls int
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

func (l *slottedL1) hear(_ context.Context, ref eth.L1BlockRef) {
	slot := int((time.Duration(ref.Time)*time.Second - time.Duration(l.genesis.Unix())*time.Second) / l.slot)
	l.lags = append(l.lags, time.Since(l.known(slot)))
}

func TestL1HeadPoll(t *testing.T) {
	const mainnet = 12 * time.Second
	for name, c := range map[string]struct {
		l1          slottedL1
		interval    time.Duration
		median, max time.Duration
	}{
		"slots of the interval": {slottedL1{slot: mainnet}, mainnet, time.Second, mainnet},
		"uneven":                {slottedL1{slot: mainnet, spread: 2 * time.Second}, mainnet, 4 * time.Second, mainnet + time.Second},
		"missing blocks":        {slottedL1{slot: mainnet, missing: func(slot int) bool { return slot%40 == 39 }}, mainnet, time.Second, mainnet},
		"shorter interval":      {slottedL1{slot: mainnet}, 4 * time.Second, time.Second, 5 * time.Second},
		"longer interval":       {slottedL1{slot: 2 * time.Second}, mainnet, 1500 * time.Millisecond, 2 * time.Second},
		"down for a while": {slottedL1{slot: mainnet, down: func(at time.Duration) bool {
			return at > 20*time.Minute && at < 25*time.Minute
		}}, mainnet, time.Second, mainnet},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l1 := &c.l1
				l1.genesis = time.Now().Truncate(time.Second).Add(-5*time.Second - 10*l1.slot) // so that an interval finds blocks late
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				poll := &l1HeadPoll{ask: l1.ask, tell: l1.hear, interval: c.interval, clock: clock.SystemClock, log: silent()}
				poll.run(ctx)
				lags := l1.lags[3:]
				t.Logf("median %s, longest %s, %d calls", median(lags), slices.Max(lags), l1.calls)
				require.LessOrEqual(t, median(lags), c.median)
				require.LessOrEqual(t, slices.Max(lags), c.max)
				require.LessOrEqual(t, l1.calls, int(time.Since(begin)/c.interval)*21/20+5)
			})
		})
	}
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func TestPushes(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"ws://l1:8546": true, "wss://l1": true, "/run/l1.ipc": true, "http://l1:8545": false, "https://user:secret@l1/key": false,
	} {
		require.Equal(t, want, pushes(endpoint), endpoint)
	}
}
