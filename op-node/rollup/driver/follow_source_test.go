package driver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// spy is a cadence that notes what it is told.
type spy struct{ changed *[]bool }

func (s spy) OnL1Head(time.Time, uint64) follow.Cadence { return s }

func (s spy) OnRequest(time.Time) follow.Cadence { return s }

func (s spy) OnPoll(_ time.Time, answer follow.Answer) follow.Cadence {
	*s.changed = append(*s.changed, answer.Changed)
	return s
}

func (s spy) Next(now time.Time) time.Time { return now }

// Finality moves between an L1 head and the moment the source has digested that head. A poll in between must not be taken
// for the one that found what the head brings, or the safe head would wait for the next keep-alive.
func TestOnlyDigestedL1CountsAsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var changed []bool
		source := w.honest("source")
		p := &poller{source: source, clock: clock.SystemClock, cadence: spy{&changed}, known: introduction{source: source, identified: true}}
		say := func(status follow.Status) {
			source.does(func() (follow.Status, error) { return status, nil })
			require.NoError(t, p.poll(t.Context()).err)
		}
		before, after := w.truth(8), w.truth(9)
		final := before
		final.Finalized = after.Finalized
		onlyL1 := after
		onlyL1.CurrentL1 = w.truth(10).CurrentL1
		for _, status := range []follow.Status{before, before, final, after, after, onlyL1} {
			say(status)
		}
		require.Equal(t, []bool{true, false, false, true, false, true}, changed)
	})
}
