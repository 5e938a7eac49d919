package driver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
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
				s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", shared) })
				s.until(5*time.Second, "the end of what is above safe", func() bool { return s.head() == before.SafeL2 })
				reorged := time.Now()
				s.wait(silence)
				require.Empty(s.t, s.net.since(reorged), "blocks that would be lost")
				require.Equal(s.t, before.SafeL2, s.status().SafeL2, "that is for the source to say")
				s.counts.mu.Lock()
				require.LessOrEqual(s.t, s.counts.resets, 2, "asked for while nothing can come of it")
				s.counts.mu.Unlock()

				// The source has gone back on the new L1.
				number := before.SafeL2.Number
				for s.own(number).Ref.L1Origin.Number >= shared {
					number--
				}
				s.source.mu.Lock()
				head := s.own(number).Ref
				s.source.say = follow.Status{Safe: head, LocalSafe: head, Finalized: before.FinalizedL2, CurrentL1: s.l1.Branch().Block(shared + 1).Ref}
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
					require.Equal(s.t, s.l1.Branch().Block(ref.L1Origin.Number).ID(), ref.L1Origin, "block %d", n)
				}
			})
		})
	}
}

// L1 leaves a fork at any moment of an L1 block. No block is made with an origin of that fork once the node knows, and
// blocks do not stop.
func TestLightSequencerTakesNoOriginOfALostFork(t *testing.T) {
	for _, depth := range []uint64{1, 2, 3} {
		for offset := time.Duration(0); offset < l1BlockTime; offset += 900 * time.Millisecond {
			perform(t, func(s *stage) {
				s.production.L1Confs = 1
				s.boot()
				stop := s.keepUp(25)
				s.wait(5*time.Minute + offset)
				stop()
				begin := time.Now()
				head := uint64(time.Since(s.start) / l1BlockTime)
				s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", head-depth) })
				s.wait(time.Second) // to the next L1 head signal, at most
				known := time.Now()
				s.wait(40 * time.Second)
				made := s.net.since(known)
				require.NotEmpty(s.t, made, "depth %d, offset %s: %s", depth, offset, s)
				for _, b := range made[1:] { // the first one may have been begun before
					envelope, err := s.el.PayloadByHash(s.t.Context(), b.ref.Hash)
					require.NoError(s.t, err)
					ref, err := derive.PayloadToBlockRef(s.chain.RollupConfig(), envelope.ExecutionPayload)
					require.NoError(s.t, err)
					require.Equal(s.t, s.l1.Branch().Block(ref.L1Origin.Number).ID(), ref.L1Origin, "block %s, depth %d, offset %s", ref, depth, offset)
				}
				require.LessOrEqual(s.t, s.counts.reorg("walk_back"), 1)
				require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), blockTime+100*time.Millisecond, "depth %d, offset %s", depth, offset)
				require.GreaterOrEqual(s.t, s.head().Time+2, uint64(time.Now().Unix()), "%s", s)
			})
		}
	}
}

// L1 leaves the fork under the safe head, and comes back to it at once: a block that was begun is given up for nothing.
// spec G4.
func TestLightSequencerSurvivesAnL1ThatFlips(t *testing.T) {
	for offset := time.Duration(0); offset < blockTime; offset += 130 * time.Millisecond {
		perform(t, func(s *stage) {
			s.boot()
			stop := s.keepUp(0)
			s.wait(100*time.Second + offset)
			stop()
			begin := time.Now()
			fork := s.chain.L1().Fork("r", s.status().SafeL2.L1Origin.Number-1)
			s.l1.Set(func(l *testutil.L1State) { l.Branch = fork })
			s.wait(1100 * time.Millisecond)
			s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1() })
			s.wait(30 * time.Second)
			require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "offset %s", offset)
			require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "production has caught up: %s", s)
		})
	}
}
