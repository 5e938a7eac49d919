package driver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// spec T10, I6: blocks wait for nobody.
func TestLightSequencerWhileOthersStall(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(s *stage) }{
		"source": {
			func(s *stage) { s.source.stall(true) },
			func(s *stage) { s.source.stall(false) },
		},
		"L1 does not answer": {
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Stalled = true }) },
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Stalled = false }) },
		},
		"L1 stands still": {
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Behind = 2 }) },
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Behind = 0 }) },
		},
		"L1 is slow": {
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Delay = 3 * time.Second }) },
			func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Delay = 0 }) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Moments before and after an L1 block, with and without the next L1 origin at hand.
			for _, offset := range []time.Duration{0, time.Second, 5 * time.Second, 11900 * time.Millisecond} {
				perform(t, func(s *stage) {
					s.boot()
					s.keepUp(4)
					s.wait(60*time.Second + offset)
					begin := time.Now()
					fault.begin(s)
					s.wait(30 * time.Second)
					fault.end(s)
					s.wait(30 * time.Second)
					require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "offset %s", offset)
					require.GreaterOrEqual(s.t, s.status().SafeL2.Number+6, s.head().Number, "labels have caught up: %s", s)
					require.GreaterOrEqual(s.t, s.head().L1Origin.Number+2, uint64(time.Since(s.start)/l1BlockTime), "L1 origins too")
					require.Zero(s.t, s.counts.reorg("force_reset"))
				})
			}
		})
	}
}

// --sequencer.max-safe-lag: no more than so many blocks are made above the safe head.
func TestLightSequencerMaxSafeLag(t *testing.T) {
	perform(t, func(s *stage) {
		s.production.MaxSafeLag = 10
		s.boot()
		stop := s.keepUp(3)
		s.wait(60 * time.Second)
		require.GreaterOrEqual(s.t, s.head().Number, uint64(29), "no reason to stop: %s", s)
		stop()
		s.wait(60 * time.Second)
		held := s.head()
		require.Equal(s.t, s.status().SafeL2.Number+10, held.Number, "%s", s)
		s.source.derives(held.Number, 5)
		s.wait(10 * time.Second)
		require.Equal(s.t, held.Number+10, s.head().Number, "%s", s)
	})
}

// In recover mode blocks take up L1 origins as fast as their times allow.
func TestLightSequencerRecoverMode(t *testing.T) {
	perform(t, func(s *stage) {
		s.el.Load(s.chain.L2().Fork("old", 0).Blocks(1, 20)...)
		s.source.says(s.chain.Genesis().Ref, s.chain.Genesis().Ref)
		s.wait(10 * time.Minute)
		s.production.Recover = true
		s.boot()
		s.wait(time.Minute) // an L1 origin that is not here yet costs a second
		require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "it has caught up: %s", s)
		for number := uint64(21); number <= 300; number++ { // those that were overdue
			ref := s.own(number).Ref
			require.Equal(s.t, (ref.Time-uint64(s.start.Unix()))/12, ref.L1Origin.Number, "block %d takes the newest L1 origin that its time allows", number)
		}
	})
}

// An engine that restarts or fails is waited for; the sequencer resumes where the engine is.
func TestLightSequencerAndAFailingEngine(t *testing.T) {
	for name, fault := range map[string]func(s *stage){
		"restart":            func(s *stage) { s.el.Restart() },
		"down for a moment":  func(s *stage) { s.engine.Next(4, modelel.Drop()) },
		"answers are lost":   func(s *stage) { s.engine.Next(3, modelel.Late(modelel.Drop()), modelel.FCU) },
		"no payload":         func(s *stage) { s.engine.Next(1, modelel.RPCError(-38001, "unknown payload"), modelel.GetPayload) },
		"-38002":             func(s *stage) { s.engine.Next(1, modelel.RPCError(-38002, "invalid forkchoice state"), modelel.FCU) },
		"nothing":            func(s *stage) { s.engine.Next(3, modelel.NilAnswer()) },
		"something else":     func(s *stage) { s.engine.Next(3, modelel.EmptyAnswer()) },
		"attributes refused": func(s *stage) { s.engine.Next(1, modelel.RPCError(-38003, "invalid payload attributes"), modelel.FCU) },
	} {
		for manner, opts := range testutil.Manners() {
			t.Run(name+", "+manner, func(t *testing.T) {
				for offset := time.Duration(0); offset < blockTime; offset += 500 * time.Millisecond {
					perform(t, func(s *stage) {
						s.reopen(opts...)
						s.survives(offset, fault)
					})
				}
			})
		}
	}
}

// An engine that was killed comes back without its newest blocks, and without peers that have them. The node's client
// still finds them in its cache. The sequencer goes on from what the engine has.
func TestLightSequencerAndAnEngineThatLostItsTip(t *testing.T) {
	for _, opts := range testutil.Manners() {
		for offset := time.Duration(0); offset < blockTime; offset += 500 * time.Millisecond {
			perform(t, func(s *stage) {
				s.reopen(opts...)
				s.survives(offset, func(s *stage) { s.el.Kill(s.el.Heads().Latest.Number - 3) })
			})
		}
	}
}

// survives lets the sequencer meet a fault: half a minute later its blocks are on time, and the labels have moved on.
func (s *stage) survives(offset time.Duration, fault func(s *stage)) {
	s.boot()
	s.keepUp(6)
	s.wait(60*time.Second + offset)
	begin := time.Now()
	safe := s.status().SafeL2
	fault(s)
	s.wait(30 * time.Second)
	require.True(s.t, s.onChain(safe))
	require.GreaterOrEqual(s.t, s.status().SafeL2.Number, safe.Number+8, "%s", s)
	require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "production has caught up: %s", s)
	require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 7*time.Second)
	require.Equal(s.t, s.el.Heads().Latest, s.head())
}
