package driver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/lightcl/op-node/op-node/rollup/engine/modelel"
)

// T12: nobody has to send anything for the first block.
func TestLightSequencerFromGenesis(t *testing.T) {
	for name, elSync := range map[string]bool{"CL sync": false, "EL sync": true} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(s *stage) {
				s.config.ELSync = elSync
				s.boot()
				s.wait(20 * time.Second)
				require.Equal(s.t, uint64(10), s.head().Number, "a block every two seconds: %s", s)
				require.Equal(s.t, s.head(), s.el.Heads().Latest)
				err := s.node.StartSequencer(context.Background(), s.head().Hash)
				require.ErrorIs(s.t, err, sequencing.ErrSequencerAlreadyStarted)
				s.keepUp(3)
				s.wait(40 * time.Second)
				require.GreaterOrEqual(s.t, s.status().SafeL2.Number, uint64(24), "labels are followed: %s", s)
				require.LessOrEqual(s.t, s.net.gap(s.start.Add(blockTime), time.Now()), 2*blockTime)
			})
		})
	}
}

// T12, the other way to start: the conductor decides on genesis.
func TestLightSequencerStartedOnGenesis(t *testing.T) {
	perform(t, func(s *stage) {
		s.config.ELSync = true
		s.production.Stopped = true
		s.boot()
		s.wait(20 * time.Second)
		require.Zero(s.t, s.head().Number)
		require.False(s.t, s.state.started)
		require.ErrorContains(s.t, s.node.StartSequencer(context.Background(), s.chain.Block(1).Hash()), "block hash does not match")
		require.NoError(s.t, s.node.StartSequencer(context.Background(), s.chain.Genesis().Hash()))
		s.wait(10 * time.Second)
		require.GreaterOrEqual(s.t, s.head().Number, uint64(14), "blocks that are overdue are made at once: %s", s)
		require.True(s.t, s.state.started)
	})
}

// T10: blocks wait for nobody.
func TestLightSequencerWhileOthersStall(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(s *stage) }{
		"source": {
			func(s *stage) { s.source.stall(true) },
			func(s *stage) { s.source.stall(false) },
		},
		"L1 does not answer": {
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.stalled = true }) },
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.stalled = false }) },
		},
		"L1 stands still": {
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.behind = 2 }) },
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.behind = 0 }) },
		},
		"L1 is slow": {
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.delay = 3 * time.Second }) },
			func(s *stage) { s.l1.set(func(l *l1Endpoint) { l.delay = 0 }) },
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

// diverge lets a light sequencer make 40 blocks of which 12 are safe, and replaces those above 14.
func (s *stage) diverge() (target []modelel.Block) {
	s.source.derives(0, 0)
	s.until(2*time.Minute, "40 blocks", func() bool { return s.head().Number >= 40 })
	s.source.derives(12, 6)
	s.until(time.Minute, "safe blocks", func() bool { return s.status().SafeL2.Number == 12 })
	return s.replace(14, 10, "replaced")
}

// T6, T8, T9: the source replaced a block; the engine has what came in its place.
func TestLightSequencerDiverges(t *testing.T) {
	perform(t, func(s *stage) {
		s.boot()
		target := s.diverge()
		s.give(target)
		tip := target[len(target)-1].Ref
		polls := s.source.count()
		s.source.says(tip, s.own(6).Ref)
		lowest := s.watchLocalSafe()
		took := s.until(20*time.Second, "the source's chain", func() bool { return s.onChain(tip) && s.head().Number > tip.Number })
		polls = s.source.count() - polls
		t.Logf("converged after %s and %d polls", took, polls)
		require.LessOrEqual(s.t, polls, 2)
		s.wait(30 * time.Second)
		require.True(s.t, s.onChain(tip), "the chain is not left again: %s", s)
		require.Equal(s.t, 1, s.counts.reorg("force_reset"))
		require.Zero(s.t, s.counts.reorg("soft_update"))
		require.Equal(s.t, uint64(12), lowest(), "local-safe never went back")
		require.Equal(s.t, tip, s.status().SafeL2)
		require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "overdue blocks were made up for: %s", s)
	})
}

// watchLocalSafe notes the lowest local-safe head from now on, of the status and of the engine's label.
func (s *stage) watchLocalSafe() (lowest func() uint64) {
	low := s.status().LocalSafeL2.Number
	done := make(chan struct{})
	s.t.Cleanup(func() { <-done })
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if st, err := s.node.SyncStatus(ctx); err == nil {
				low = min(low, st.LocalSafeL2.Number, s.el.Heads().Safe.Number)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func() uint64 {
		cancel()
		<-done
		return low
	}
}

// T7: the engine has to fetch the source's chain first.
func TestLightSequencerDivergesToABlockToFetch(t *testing.T) {
	perform(t, func(s *stage) {
		peers := modelel.NewNetwork()
		s.reopen(modelel.WithNetwork(peers), modelel.SyncAfterTime(8*time.Second, time.Now))
		s.boot()
		target := s.diverge()
		tip := target[len(target)-1].Ref
		peers.Publish(target...)
		s.source.says(tip, s.own(6).Ref)
		old := s.head()
		s.until(10*time.Second, "the engine to be asked", func() bool { _, syncing := s.el.Syncing(); return syncing })
		asked := time.Now()
		s.until(20*time.Second, "the source's chain", func() bool { return s.onChain(tip) })
		fetched := time.Now()
		require.Greater(s.t, fetched.Sub(asked), 7*time.Second)
		for _, b := range s.net.since(asked.Add(100 * time.Millisecond)) {
			require.False(s.t, b.at.Before(fetched), "block %s was made while building was held", b.ref)
		}
		require.Less(s.t, old.Number, s.head().Number+40)
		s.until(5*time.Second, "the next block", func() bool {
			return s.head().Number > tip.Number && s.status().LocalSafeL2 == tip
		})
		s.requireConductorCanStart()
		require.Equal(s.t, 1, s.counts.reorg("force_reset"))
	})
}

// requireConductorCanStart stops production and starts it again by the hash of the head, as a conductor does.
func (s *stage) requireConductorCanStart() {
	s.t.Helper()
	head, err := s.node.StopSequencer(context.Background())
	require.NoError(s.t, err)
	require.Equal(s.t, s.el.Heads().Latest.Hash, head)
	s.wait(3 * time.Second)
	require.Equal(s.t, head, s.head().Hash)
	require.NoError(s.t, s.node.StartSequencer(context.Background(), head))
	before := s.head().Number
	s.wait(5 * time.Second)
	require.Greater(s.t, s.head().Number, before+2)
}

// T7: nobody has what the source names. One source alone does not stop the chain for long; what several agree on does.
func TestLightSequencerDivergesToABlockNobodyHas(t *testing.T) {
	for name, quorum := range map[string]int{"one source": 1, "two agree": 2} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(s *stage) {
				s.config.Quorum = quorum
				d := s.boot()
				target := s.diverge()
				tip := target[len(target)-1].Ref
				s.source.says(tip, s.own(6).Ref)
				s.until(10*time.Second, "the engine to be asked", func() bool { return d.State().Pending != nil })
				asked := time.Now()
				old := s.head()
				s.wait(29 * time.Second)
				require.Empty(s.t, s.net.since(asked.Add(100*time.Millisecond)), "building is held")
				s.wait(31 * time.Second)
				require.Zero(s.t, s.counts.reorg("force_reset"))
				require.True(s.t, s.onChain(old), "nothing is given up for what the engine does not have")
				require.Equal(s.t, uint64(12), s.status().SafeL2.Number)
				made := s.net.since(asked.Add(100 * time.Millisecond))
				if quorum > 1 {
					require.Empty(s.t, made)
					return
				}
				require.NotEmpty(s.t, made)
				require.Equal(s.t, old.Hash, made[0].ref.ParentHash, "the next block is on the old head")
				require.Less(s.t, made[0].at.Sub(asked), 34*time.Second)
				require.GreaterOrEqual(s.t, s.head().Time+4, uint64(time.Now().Unix()), "production has caught up: %s", s)
				require.Equal(s.t, "reorg_unresolved", d.State().Applied.Reason)
				// The next lie does not hold building again: the first one is not resolved.
				s.source.says(s.replace(14, 11, "again")[10].Ref, s.own(6).Ref)
				begin := time.Now()
				s.wait(40 * time.Second)
				require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime)
				// The source comes back to reason.
				s.source.derives(40, 20)
				s.until(10*time.Second, "labels", func() bool { return s.status().SafeL2.Number == 40 })
			})
		})
	}
}

// T13: a restart changes nothing, whatever L1 is like; only blocks of an L1 fork are left.
func TestLightSequencerRestarts(t *testing.T) {
	open := func(s *stage) {
		s.el.Load(s.chain.L2().Blocks(1, 1000)...)
		s.el.SetLabels(s.chain.Block(900).Hash(), s.chain.Block(800).Hash())
		s.source.says(s.chain.Block(900).Ref, s.chain.Block(800).Ref)
		s.wait(2001 * time.Second)
	}
	t.Run("stale L1", func(t *testing.T) {
		perform(t, func(s *stage) {
			open(s)
			s.l1.set(func(l *l1Endpoint) { l.behind = 25 })
			s.boot()
			s.wait(time.Minute)
			require.Equal(s.t, s.chain.Block(1000).Ref, s.head())
			require.Equal(s.t, s.chain.Block(900).Ref, s.status().SafeL2)
			s.l1.set(func(l *l1Endpoint) { l.behind = 0 })
			s.until(5*time.Second, "the next block", func() bool { return s.head().Number > 1000 })
			require.Equal(s.t, s.chain.Block(1000).Hash(), s.own(1001).Ref.ParentHash)
		})
	})
	t.Run("slow L1", func(t *testing.T) {
		perform(t, func(s *stage) {
			open(s)
			s.l1.set(func(l *l1Endpoint) { l.delay = 5 * time.Second })
			s.boot()
			s.until(25*time.Second, "the next block", func() bool { return s.head().Number > 1000 })
			require.Equal(s.t, s.chain.Block(1000).Hash(), s.own(1001).Ref.ParentHash)
			require.Equal(s.t, s.chain.Block(900).Ref, s.status().SafeL2)
		})
	})
	t.Run("L1 and source are silent", func(t *testing.T) {
		perform(t, func(s *stage) {
			open(s)
			s.source.stall(true)
			s.l1.set(func(l *l1Endpoint) { l.stalled = true })
			s.boot()
			s.wait(time.Minute)
			require.Equal(s.t, s.chain.Block(1000).Ref, s.head())
			s.l1.set(func(l *l1Endpoint) { l.stalled = false })
			s.until(15*time.Second, "the next block", func() bool { return s.head().Number > 1000 })
			require.Equal(s.t, s.chain.Block(1000).Hash(), s.own(1001).Ref.ParentHash)
		})
	})
	t.Run("reorged L1", func(t *testing.T) {
		perform(t, func(s *stage) {
			open(s)
			// The L1 origin of block 1000 is 166; from 164 on there is another L1 now.
			origin := s.chain.Block(1000).Ref.L1Origin.Number
			s.l1.set(func(l *l1Endpoint) { l.branch = s.chain.L1().Fork("r", origin-3) })
			s.boot()
			s.until(20*time.Second, "a walk back", func() bool { return s.counts.reorg("walk_back") > 0 })
			s.until(20*time.Second, "blocks on the new L1", func() bool { return s.head().L1Origin.Number > origin+1 })
			for number := uint64(900); number <= s.head().Number; number++ {
				ref := s.own(number).Ref
				require.Equal(s.t, s.l1.branch.Block(ref.L1Origin.Number).ID(), ref.L1Origin, "block %d", number)
			}
			require.Equal(s.t, s.chain.Block(900).Ref, s.status().SafeL2, "not below safe")
			require.LessOrEqual(s.t, s.counts.reorg("walk_back"), 2, "one, or two if the view of L1 reached less far down at first")
		})
	})
}

// An L1 reorg takes the origin of the head away while blocks are made.
func TestLightSequencerSurvivesAnL1Reorg(t *testing.T) {
	perform(t, func(s *stage) {
		s.boot()
		stop := s.keepUp(10)
		s.wait(100 * time.Second)
		stop()
		s.wait(time.Second)
		safe := s.status().SafeL2
		head := s.head()
		shared := head.L1Origin.Number - 1
		require.Greater(s.t, shared, safe.L1Origin.Number)
		begin := time.Now()
		s.l1.set(func(l *l1Endpoint) { l.branch = s.chain.L1().Fork("r", shared) })
		s.wait(40 * time.Second)
		require.Equal(s.t, 1, s.counts.reorg("walk_back"))
		require.Equal(s.t, safe, s.status().SafeL2)
		for number := safe.Number; number <= s.head().Number; number++ {
			ref := s.own(number).Ref
			require.Equal(s.t, s.l1.branch.Block(ref.L1Origin.Number).ID(), ref.L1Origin, "block %d", number)
		}
		require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "%s", s)
	})
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

// An engine that restarts, forgets or fails is waited for; the sequencer resumes where the engine is.
func TestLightSequencerAndAFailingEngine(t *testing.T) {
	for name, fault := range map[string]func(s *stage){
		"restart":            func(s *stage) { s.el.Restart() },
		"down for a moment":  func(s *stage) { s.engine.Next(4, modelel.Drop()) },
		"answers are lost":   func(s *stage) { s.engine.Next(3, modelel.Late(modelel.Drop()), modelel.FCU) },
		"no payload":         func(s *stage) { s.engine.Next(1, modelel.RPCError(-38001, "unknown payload"), modelel.GetPayload) },
		"-38002":             func(s *stage) { s.engine.Next(1, modelel.RPCError(-38002, "invalid forkchoice state"), modelel.FCU) },
		"nothing":            func(s *stage) { s.engine.Next(3, modelel.NilAnswer()) },
		"something else":     func(s *stage) { s.engine.Next(3, modelel.EmptyAnswer()) },
		"blocks are lost":    func(s *stage) { s.el.Rewind(s.el.Heads().Latest.Number - 3) },
		"attributes refused": func(s *stage) { s.engine.Next(1, modelel.RPCError(-38003, "invalid payload attributes"), modelel.FCU) },
	} {
		t.Run(name, func(t *testing.T) {
			for offset := time.Duration(0); offset < blockTime; offset += 500 * time.Millisecond {
				perform(t, func(s *stage) {
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
				})
			}
		})
	}
}
