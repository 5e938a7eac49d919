package driver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil"
)

// spec G1, G2, P3, R8, I6: an L1 reorg takes L1 origins below the local-safe head away, and the current L1 of the labels. What is left
// is what was derived of the L1 that is left; blocks go on there after a block time, whether the source speaks or not, and
// once it does the labels are what it says.
func TestLightSequencerAndAnL1ReorgUnderTheLabels(t *testing.T) {
	for name, source := range map[string]func(s *stage, stop func()){
		"source up":     func(*stage, func()) {},
		"source slow":   func(s *stage, _ func()) { s.source.set(func(a *sourceActor) { a.delay = 3 * time.Second }) },
		"source silent": func(s *stage, stop func()) { stop(); s.source.set(func(a *sourceActor) { a.down = true }) },
	} {
		for _, depth := range []uint64{2, 6} {
			t.Run(fmt.Sprintf("%s, %d blocks", name, depth), func(t *testing.T) {
				for offset := time.Duration(0); offset < l1BlockTime; offset += 1700 * time.Millisecond {
					perform(t, func(s *stage) {
						s.l1Open = true
						s.boot()
						stop := s.keepUp(2)
						s.wait(5*time.Minute + offset)
						source(s, stop)
						begin, before := time.Now(), s.status()
						fork := uint64(time.Since(s.start)/l1BlockTime) - depth
						require.Greater(s.t, before.CurrentL1.Number, fork)
						s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", fork) })
						s.wait(30 * time.Second)
						st := s.status()
						require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime+100*time.Millisecond, "offset %s: %s", offset, s)
						require.GreaterOrEqual(s.t, st.FinalizedL2.Number, before.FinalizedL2.Number)
						require.GreaterOrEqual(s.t, st.LocalSafeL2.L1Origin.Number+2, fork, "no further than L1: %s", s)
						for _, id := range []eth.BlockID{st.CurrentL1.ID(), st.LocalSafeL2.L1Origin, st.SafeL2.L1Origin, st.UnsafeL2.L1Origin} {
							require.True(s.t, s.l1.Has(id), "%s is gone: %s, current L1 %s", id, s, st.CurrentL1)
						}
						if name == "source silent" {
							require.LessOrEqual(s.t, st.CurrentL1.Number, fork)
							s.source.set(func(a *sourceActor) { a.down = false })
							s.keepUp(2)
						}
						s.wait(10 * time.Second)
						require.GreaterOrEqual(s.t, s.status().LocalSafeL2.Number+6, s.head().Number, "labels are those of the source: %s", s)
						require.True(s.t, s.onChain(s.status().LocalSafeL2))
						require.LessOrEqual(s.t, s.counts.reorg("walk_back"), 2)
						require.Zero(s.t, s.counts.reorg("force_reset"))
					})
				}
			})
		}
	}
}

// spec G4: L1 that comes back within a block time moves no label.
func TestL1ThatComesBackMovesNoLabel(t *testing.T) {
	perform(t, func(s *stage) {
		s.l1Open = true
		s.boot()
		stop := s.keepUp(10)
		s.wait(5 * time.Minute)
		stop()
		s.wait(pollTime)
		before := s.status()
		s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", before.LocalSafeL2.L1Origin.Number) })
		s.until(2*time.Second, "the loss", func() bool { return s.counts.reorg("walk_back") > 0 })
		require.Equal(s.t, before.LocalSafeL2, s.status().LocalSafeL2)
		s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1() }) // which is seen a second later
		s.wait(5 * time.Second)
		st := s.status()
		require.Equal(s.t, before.LocalSafeL2, st.LocalSafeL2)
		require.Equal(s.t, before.CurrentL1, st.CurrentL1)
		require.Zero(s.t, s.counts.reorg("force_reset"))
	})
}

// spec G3: L1 was reorged while the node was down, and no source answers: there are no pairs, and the view of L1 knows its
// newest blocks alone. L1 is asked for the others, and blocks go on on what it has.
func TestLightSequencerStartsAfterAnL1Reorg(t *testing.T) {
	for _, depth := range []uint64{2, 6, 20} {
		t.Run(fmt.Sprintf("%d blocks", depth), func(t *testing.T) {
			perform(t, func(s *stage) {
				s.l1Open = true
				s.boot()
				stop := s.keepUp(2)
				s.wait(10 * time.Minute)
				stop()
				before := s.status()
				s.source.set(func(a *sourceActor) { a.down = true })
				s.stop()
				fork := uint64(time.Since(s.start)/l1BlockTime) - depth
				s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", fork) })
				s.wait(time.Minute)
				begin := time.Now()
				s.boot()
				s.until(2*blockTime+time.Second, "a block", func() bool { return len(s.net.since(begin)) > 0 })
				s.wait(10 * time.Second)
				st := s.status()
				require.GreaterOrEqual(s.t, st.UnsafeL2.Time+2, uint64(time.Now().Unix()), "production has caught up: %s", s)
				require.Equal(s.t, before.FinalizedL2, st.FinalizedL2)
				for _, ref := range []eth.L2BlockRef{st.LocalSafeL2, st.SafeL2, st.UnsafeL2} {
					require.True(s.t, s.l1.Has(ref.L1Origin), "%s", s)
				}
				require.GreaterOrEqual(s.t, st.LocalSafeL2.L1Origin.Number, fork-1, "no further than L1: %s", s)

				// Any status of the L1 that is left is applied, even one that is below.
				lower := s.own(st.LocalSafeL2.Number - 10).Ref
				s.source.set(func(a *sourceActor) { a.down = false })
				s.source.says(lower, before.FinalizedL2)
				s.wait(2 * pollTime)
				require.Equal(s.t, lower, s.status().LocalSafeL2)
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
				s.l1Open = true
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
			s.l1Open = true
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
