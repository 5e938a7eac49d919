package driver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// spec S1, I6: a source that names what nobody has, now and then or for good, holds up no block; and what it says in between
// is applied at once.
func TestLightSequencerAndAFlappingSource(t *testing.T) {
	for name, period := range map[string]time.Duration{"every poll": 4 * time.Second, "every other poll": 8 * time.Second, "for good": time.Hour} {
		t.Run(name, func(t *testing.T) {
			for offset := time.Duration(0); offset < blockTime; offset += 700 * time.Millisecond {
				perform(t, func(s *stage) {
					s.boot()
					s.keepUp(6)
					s.wait(60*time.Second + offset)
					begin := time.Now()
					lie := s.replace(s.own(20), 20, "nobody has it")[19].Ref
					for time.Since(begin) < time.Minute {
						stop := time.Now().Add(period)
						for now := time.Now(); now.Before(stop) && now.Sub(begin) < time.Minute; now = time.Now() {
							s.source.says(lie, s.own(3).Ref)
							s.wait(100 * time.Millisecond)
						}
						if period < time.Minute {
							s.wait(period) // the truth, by keepUp
						}
					}
					require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "offset %s", offset)
					require.Zero(s.t, s.counts.reorg("force_reset"))
					require.GreaterOrEqual(s.t, s.head().Time+2, uint64(time.Now().Unix()))
					s.wait(2 * pollTime)
					require.GreaterOrEqual(s.t, s.status().SafeL2.Number+6+uint64(pollTime/blockTime)+1, s.head().Number, "%s", s)
				})
			}
		})
	}
}

// A source names a block that nobody has, once, and is honest again afterwards: blocks go on as if nothing was said.
func TestLightSequencerAndAnUnobtainableTarget(t *testing.T) {
	perform(t, func(s *stage) {
		s.boot()
		stop := s.keepUp(6)
		s.wait(time.Minute)
		stop()
		tip := s.head().Number
		lie := s.replace(s.own(tip-5), 8, "nobody has it")
		begin := time.Now()
		s.source.says(lie[len(lie)-1].Ref, s.own(tip/2).Ref)
		s.wait(3 * blockTime)
		s.keepUp(6)
		s.wait(20 * time.Second)
		require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), blockTime+100*time.Millisecond)
		require.GreaterOrEqual(s.t, s.status().SafeL2.Number+10, s.head().Number, "the labels are those of the honest source")
		require.True(s.t, s.onChain(s.own(tip).Ref), "no block was lost")
	})
}

// spec S6: production stops within two block times in every state, or says that it could not.
func TestStopAnswersInTime(t *testing.T) {
	for name, state := range map[string]func(s *stage){
		"as usual": func(*stage) {},
		"after a divergence": func(s *stage) {
			other := s.replace(s.own(20), 20, "replaced")
			require.NoError(s.t, s.el.Give(other...))
			s.source.says(other[19].Ref, s.own(3).Ref)
			s.source.set(func(a *sourceActor) { a.reads = true })
			s.until(l1BlockTime+2*pollTime, "the divergence", func() bool { return s.counts.reorg("force_reset") == 1 })
		},
		"a divergence that leaves no origin to build with": func(s *stage) {
			other := s.replace(s.own(20), 20, "replaced")
			require.NoError(s.t, s.el.Give(other...))
			s.source.says(other[19].Ref, s.own(3).Ref)
			s.source.set(func(a *sourceActor) { a.reads = true })
			s.until(l1BlockTime+pollTime, "the first word of it", func() bool {
				return s.node.(interface{ State() driver.State }).State().Sources[0].Reason == follow.Unconfirmed.Code()
			})
			s.l1.Set(func(l *testutil.L1State) { l.Stalled = true })
			s.until(l1BlockTime+2*pollTime, "the divergence", func() bool { return s.counts.reorg("force_reset") == 1 })
		},
		"a walk-back": func(s *stage) {
			s.l1.Set(func(l *testutil.L1State) { l.Branch = s.chain.L1().Fork("r", s.head().L1Origin.Number-1) })
			s.until(5*time.Second, "the walk-back", func() bool { return s.counts.reorg("walk_back") == 1 })
		},
		"a block that the engine does not take": func(s *stage) {
			s.engine.Always(modelel.RPCError(-32000, "out of disk"), modelel.NewPayload)
			s.wait(3 * blockTime)
		},
		"an engine that hangs": func(s *stage) {
			s.engine.Always(modelel.NewGate().Hold())
			s.wait(3 * blockTime)
		},
		"an engine that lost its tip": func(s *stage) {
			s.engine.Always(modelel.RPCError(-32000, "out of disk"), modelel.NewPayload)
			s.el.Rewind(s.el.Heads().Latest.Number - 3)
			s.wait(blockTime)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for offset := time.Duration(0); offset < blockTime; offset += 300 * time.Millisecond {
				perform(t, func(s *stage) {
					s.config.EngineTimeout = 10 * time.Second
					s.l1Open = true
					s.boot()
					stop := s.keepUp(12)
					s.wait(80*time.Second + offset)
					stop()
					state(s)
					asked := time.Now()
					_, err := s.node.StopSequencer(context.Background())
					require.LessOrEqual(s.t, time.Since(asked), 2*blockTime, "offset %s", offset)
					if active, activeErr := s.node.SequencerActive(context.Background()); err == nil {
						require.NoError(s.t, activeErr)
						require.False(s.t, active)
					} else {
						require.Equal(s.t, "an engine that hangs", name)
						require.ErrorContains(s.t, err, "did not stop within two block times")
					}
					s.engine.Heal()
				})
			}
		})
	}
}
