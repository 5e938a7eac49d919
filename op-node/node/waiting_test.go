package node

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/status"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
	"github.com/lightcl/op-node/op-node/rollup/feed"
)

// Whatever changes a label or currentL1 in upstream's status tracker is there for those who wait as soon as the event is through,
// also what the tracker is told past the events, by the handler of one (spec W1).
func TestFeedOfDerivation(t *testing.T) {
	n := &Node{cfg: config.Default(), log: silent(), metrics: metrics.New(), clock: clock.SystemClock}
	events := n.newEventSystem()
	t.Cleanup(events.Stop)
	tracker := status.NewStatusTracker(silent(), n.metrics)
	// The feed is registered first: it is the priority that has it look last.
	f := n.newFeed(events, tracker)
	events.Register("status", event.DeriverFunc(tracker.OnEvent))
	ref := func(number uint64) eth.L2BlockRef {
		return eth.L2BlockRef{Hash: common.Hash{byte(number)}, Number: number}
	}
	events.Register("cross-safe", event.DeriverFunc(func(ctx context.Context, ev event.Event) bool {
		if _, ok := ev.(derive.DeriverIdleEvent); ok {
			tracker.OnCrossSafeUpdate(ctx, ref(3), ref(4))
		}
		return true
	}))
	emitter := events.Register("test", nil)
	known := func() *feed.Answer {
		answer, err := f.Wait(t.Context(), "", 0)
		require.NoError(t, err)
		return answer
	}
	for _, ev := range []event.Event{
		engine.LocalSafeUpdateEvent{Ref: ref(1)},
		engine.ForkchoiceUpdateEvent{SafeL2Head: ref(1)},
		engine.ForkchoiceUpdateEvent{SafeL2Head: ref(1), FinalizedL2Head: ref(1)},
		derive.DeriverL1StatusEvent{Origin: eth.L1BlockRef{Hash: common.Hash{7}}},
		derive.DeriverIdleEvent{},
	} {
		before := known()
		woken := make(chan *feed.Answer, 1)
		go func() {
			answer, _ := f.Wait(t.Context(), before.Version, feed.MaxWait) // no answer is not the right one
			woken <- answer
		}()
		emitter.Emit(t.Context(), ev)
		require.NoError(t, events.drain.Drain())
		require.Equal(t, tracker.SyncStatus(), known().Status, "%T", ev)
		select {
		case answer := <-woken:
			require.Equal(t, tracker.SyncStatus(), answer.Status)
		case <-time.After(10 * time.Second):
			require.Fail(t, "still waiting", "%T", ev)
		}
	}
	version := known().Version
	emitter.Emit(t.Context(), engine.UnsafeUpdateEvent{Ref: ref(9)})
	require.NoError(t, events.drain.Drain())
	require.Equal(t, version, known().Version, "the unsafe head is none of it")
}

// Clients that wait are answered when the node ends, in both modes, and do not hold it up.
func TestWaitingClientsAreAnsweredAtTheEnd(t *testing.T) {
	for name, sources := range map[string][]string{"deriving": nil, "following": {"http://127.0.0.1:1"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Follow.Sources = sources
			n := w.start(t, new(logBook))
			var raw map[string]json.RawMessage
			require.NoError(t, call(t.Context(), n.HTTPEndpoint(), &raw, "follow_statusAfter"))
			require.Len(t, raw, 4)
			waited := make(chan error, 1)
			go func() {
				for { // until there is nothing new
					var answer, next struct{ Version, ID string }
					if err := call(t.Context(), n.HTTPEndpoint(), &answer, "follow_statusAfter"); err != nil {
						waited <- err
						return
					}
					err := call(t.Context(), n.HTTPEndpoint(), &next, "follow_statusAfter", answer.Version, 20_000)
					if err != nil || answer == next {
						waited <- err
						return
					}
				}
			}()
			time.Sleep(time.Second) // real time: for the node's heads to become known, and the client to wait
			start := time.Now()
			require.NoError(t, n.Stop(t.Context()))
			require.Less(t, time.Since(start), 10*time.Second)
			require.NoError(t, <-waited)
		})
	}
}

// A follower waits at a node that derives, and its own follower waits at it: both hear by whom their labels come (spec W1, D1).
func TestFollowersWaitAtOurNodes(t *testing.T) {
	w := newWorld(t)
	source := w.start(t, new(logBook))
	var id string
	for depth := 2; depth <= 3; depth++ {
		next := newWorld(t)
		next.cfg.L1.URL, next.cfg.L2.URL, next.cfg.Chain = w.cfg.L1.URL, w.cfg.L2.URL, w.cfg.Chain
		next.cfg.Follow.Sources = []string{source.HTTPEndpoint()}
		follower := next.start(t, new(logBook))
		var state struct {
			ID   string
			Path []string
		}
		require.Eventually(t, func() bool {
			require.NoError(t, call(t.Context(), follower.HTTPEndpoint(), &state, "follow_status"))
			return len(state.Path) == depth && expired(t, source) > 1
		}, 30*time.Second, 50*time.Millisecond, "it waits in vain again and again: nothing changes here")
		require.Equal(t, state.ID, state.Path[0])
		require.True(t, id == "" || state.Path[1] == id)
		source, id = follower, state.ID
	}
}

// expired is how many waits at a node have brought nothing new.
func expired(t *testing.T, n *Node) float64 {
	families, err := n.metrics.Registry().Gather()
	require.NoError(t, err)
	for _, family := range families {
		if !strings.HasSuffix(family.GetName(), "_follow_waits_total") {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == string(feed.Expired) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
