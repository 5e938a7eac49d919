package driver_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-conductor/health"
	"github.com/ethereum-optimism/optimism/op-conductor/metrics"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/dial"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/testlog"
	"github.com/lightcl/op-node/op-node/testutil"
)

// spec S4: the conductor's own health monitor finds nothing while labels hold, while a target is pending, and while the engine
// has lost its tip. It looks every second, and wants a head that is not older than two block times and a half.
func TestConductorFindsTheSequencerHealthy(t *testing.T) {
	for name, state := range map[string]func(s *stage){
		"labels hold": func(s *stage) { s.source.set(func(a *sourceActor) { a.down = true }) },
		"a target is pending": func(s *stage) {
			lie := s.replace(s.own(20), 20, "nobody has it")
			s.source.says(lie[19].Ref, s.own(3).Ref)
		},
		"L1 stands still":   func(s *stage) { s.l1.Set(func(l *testutil.L1State) { l.Stalled = true }) },
		"the engine forgot": func(s *stage) { s.el.Rewind(s.el.Heads().Latest.Number - 3) },
	} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(s *stage) {
				s.boot()
				stop := s.keepUp(6)
				s.wait(time.Minute)
				stop()
				state(s)
				monitor := health.NewSequencerHealthMonitor(testlog.Logger(s.t, slog.LevelError), &metrics.NoopMetricsImpl{}, 1,
					uint64(2*blockTime/time.Second)+1, 0, 1, false, s.chain.RollupConfig(), watchedNode{s: s}, onePeer{}, nil, nil, 0, 0, 0)
				require.NoError(s.t, monitor.Start(context.Background()))
				for range 120 {
					require.NoError(s.t, <-monitor.Subscribe(), "%s", s)
				}
				require.NoError(s.t, monitor.Stop())
			})
		})
	}
}

// watchedNode is the node as a conductor sees it.
type watchedNode struct {
	dial.RollupClientInterface
	s *stage
}

func (w watchedNode) SyncStatus(context.Context) (*eth.SyncStatus, error) { return w.s.status(), nil }

// onePeer is a node's gossip with one peer.
type onePeer struct{ apis.P2PClient }

func (onePeer) PeerStats(context.Context) (*apis.PeerStats, error) {
	return &apis.PeerStats{Connected: 1}, nil
}
