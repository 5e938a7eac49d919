package driver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// An L1 reorg takes the origin of the safe block away. How far that goes back only the source can tell. Until it does no
// block is made that would be lost, and the sequencer is not reset over and over; then blocks go on at once.
func TestLightSequencerWaitsOutAnL1ReorgUnderTheSafeBlock(t *testing.T) {
	for name, silence := range map[string]time.Duration{"a moment": 5 * time.Second, "a minute": time.Minute} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(s *stage) {
				s.boot()
				stop := s.keepUp(2)
				s.wait(100 * time.Second)
				stop()
				s.wait(pollTime)
				before := s.status()
				shared := before.SafeL2.L1Origin.Number - 2
				require.Less(s.t, before.FinalizedL2.L1Origin.Number, shared)
				s.l1.set(func(l *l1Endpoint) { l.branch = s.chain.L1().Fork("r", shared) })
				s.until(5*time.Second, "the end of what is above safe", func() bool { return s.head() == before.SafeL2 })
				reorged := time.Now()
				s.wait(silence)
				require.Empty(s.t, s.net.since(reorged), "blocks that would be lost")
				require.Equal(s.t, before.SafeL2, s.status().SafeL2, "that is for the source to say")
				s.counts.mu.Lock()
				require.LessOrEqual(s.t, s.counts.resets, 1, "asked for while nothing can come of it")
				s.counts.mu.Unlock()

				// The source has gone back on the new L1.
				number := before.SafeL2.Number
				for s.own(number).Ref.L1Origin.Number >= shared {
					number--
				}
				s.source.mu.Lock()
				head := s.own(number).Ref
				s.source.say = follow.Status{Safe: head, LocalSafe: head, Finalized: before.FinalizedL2, CurrentL1: s.l1.branch.Block(shared + 1).Ref}
				s.source.mu.Unlock()
				told := time.Now()
				took := s.until(pollTime+blockTime, "the next block", func() bool { return len(s.net.since(told)) > 0 })
				s.t.Logf("the next block %s after the source went back", took)
				s.wait(20 * time.Second)
				require.LessOrEqual(s.t, s.net.gap(told.Add(took), time.Now()), 2*blockTime)
				require.Equal(s.t, head, s.status().LocalSafeL2)
				require.Equal(s.t, before.FinalizedL2, s.status().FinalizedL2)
				for n := head.Number; n <= s.head().Number; n++ {
					ref := s.own(n).Ref
					require.Equal(s.t, s.l1.branch.Block(ref.L1Origin.Number).ID(), ref.L1Origin, "block %d", n)
				}
			})
		})
	}
}
