//go:build !race

package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	conductorclient "github.com/ethereum-optimism/optimism/op-conductor/client"
	"github.com/ethereum-optimism/optimism/op-conductor/health"
	conductormetrics "github.com/ethereum-optimism/optimism/op-conductor/metrics"
	"github.com/ethereum-optimism/optimism/op-proposer/proposer"
	"github.com/ethereum-optimism/optimism/op-proposer/proposer/source"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/dial"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// consumers are what the tests of upstream's programs share: a devnet whose only batcher reads a follower.
type consumers struct {
	stack *stack.Stack
	// first follows the source, second the first.
	first, second *stack.Follower
	// batcherSees stands between the batcher and the first follower.
	batcherSees *faultproxy.Proxy
}

// The programs around a node are given a follower instead, and notice no difference.
func TestConsumers(t *testing.T) {
	t.Parallel()
	c := consumers{stack: startStack(t, func(o *stack.Options) { o.Batcher = false })}
	c.first = startFollower(t, c.stack, stack.FollowerSpec{Name: "first", Extra: []string{"--rpc.enable-admin"}})
	c.second = startFollower(t, c.stack, stack.FollowerSpec{Name: "second", Sources: []string{c.first.RPC()}})
	var err error
	c.batcherSees, err = faultproxy.Start(c.first.RPC())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.batcherSees.Close()) })
	require.NoError(t, c.stack.AddBatcher(t.Context(), c.first, c.batcherSees.URL()))

	for name, test := range map[string]func(*testing.T, consumers){
		"batcher": testBatcher, "proposer": testProposer, "conductor": testConductor, "conductor's control": testControl,
		"peers": testPeers, "chain of followers": testChain, "status and readiness": testStatus,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// complaints are what upstream's batcher logs when the sync status of its node makes no sense to it.
var complaints = []string{
	"out of sync", "currentL1 reversed", "empty BlockRef", "did not make expected progress", "safe chain reorg",
	"safe head above newest block", "next safe block is below oldest block",
}

// batcherWarnings are the lines of the devnet's log in which the batcher complains of its node.
func batcherWarnings(t *testing.T, s *stack.Stack) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Options().Dir, "devnet.log"))
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(text)) {
		for _, complaint := range complaints {
			if strings.Contains(line, "service=batcher") && strings.Contains(line, complaint) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

func testBatcher(t *testing.T, c consumers) {
	const watched = 40 * time.Second
	safe := func() uint64 { return heads(t, c.stack.Source())[mirror.LocalSafe].Number }
	waitFor(t, safeTimeout, "the first batch", func() bool { return safe() > 0 })
	begin, start, last, moved, gap := time.Now(), safe(), safe(), time.Now(), time.Duration(0)
	waitFor(t, watched+5*time.Second, "watched long enough", func() bool {
		if now := safe(); now > last {
			last, moved = now, time.Now()
		}
		gap = max(gap, time.Since(moved))
		return time.Since(begin) > watched
	})
	t.Logf("%d blocks became safe in %s, longest pause %s", last-start, watched, gap.Round(time.Millisecond))
	require.Empty(t, batcherWarnings(t, c.stack))
	require.Greater(t, last, start+uint64(watched/time.Second)*2/3, "batches were posted all the time")

	// The same batcher does notice a node that goes back: nothing was overlooked above.
	c.batcherSees.Set(faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		s["current_l1"]["number"] = 0
		return s
	}))
	waitFor(t, 10*time.Second, "the batcher complains", func() bool {
		found := strings.Join(batcherWarnings(t, c.stack), "")
		return strings.Contains(found, "currentL1 reversed") && strings.Contains(found, "out of sync")
	})
	c.batcherSees.Set(faultproxy.Pass())
}

// silent is for upstream's clients, whose log nobody reads.
func silent() log.Logger { return log.NewLogger(log.DiscardHandler()) }

func connect(t *testing.T, url string) client.RPC {
	t.Helper()
	conn, err := client.NewRPC(t.Context(), silent(), url)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// newProposer is what of upstream's proposer decides which output to propose.
func newProposer(t *testing.T, url string) *proposer.L2OutputSubmitter {
	t.Helper()
	provider, err := dial.NewStaticL2RollupProvider(t.Context(), silent(), url)
	require.NoError(t, err)
	t.Cleanup(provider.Close)
	return &proposer.L2OutputSubmitter{DriverSetup: proposer.DriverSetup{
		Log: silent(), Cfg: proposer.ProposerConfig{NetworkTimeout: callTimeout}, ProposalSource: source.NewRollupProposalSource(provider),
	}}
}

const callTimeout = 10 * time.Second

func testProposer(t *testing.T, c consumers) {
	ofSource, ofFollower := newProposer(t, c.stack.Source().RPC()), newProposer(t, c.first.RPC())
	var final uint64
	waitFor(t, finalTimeout, "something to propose", func() bool {
		var err error
		final, err = ofFollower.FetchCurrentBlockNumber(t.Context())
		require.NoError(t, err)
		return final > 2
	})
	roots := map[common.Hash]bool{}
	for number := range final + 1 {
		want, err := ofSource.FetchOutput(t.Context(), number)
		require.NoError(t, err)
		got, err := ofFollower.FetchOutput(t.Context(), number)
		require.NoError(t, err)
		require.Equal(t, want.Root, got.Root, "output root at %d", number)
		require.Equal(t, want.Legacy.BlockRef, got.Legacy.BlockRef)
		require.Equal(t, want.ExtraData(), got.ExtraData())
		require.NotZero(t, got.CurrentL1)
		require.GreaterOrEqual(t, got.Legacy.FinalizedL2.Number, final)
		require.GreaterOrEqual(t, got.Legacy.SafeL2.Number, got.Legacy.FinalizedL2.Number)
		require.NotZero(t, got.Legacy.HeadL1)
		roots[got.Root] = true
	}
	require.Len(t, roots, int(final+1), "every block has an output root of its own")
	_, err := ofFollower.FetchOutput(t.Context(), final+1_000_000)
	require.Error(t, err)
}

func testConductor(t *testing.T, c consumers) {
	conn := connect(t, c.first.RPC())
	node, peers := sources.NewRollupClient(conn), sources.NewP2PClient(conn)
	check := func(minPeers uint64) error {
		const interval, unsafeInterval, safeInterval = 1, 20, 60 // seconds
		monitor := health.NewSequencerHealthMonitor(silent(), conductormetrics.NoopMetrics, interval, unsafeInterval, safeInterval,
			minPeers, true, c.stack.Rollup(), node, peers, nil, nil, 0, 0, 0)
		require.NoError(t, monitor.Start(t.Context()))
		defer func() { require.NoError(t, monitor.Stop()) }()
		for range 5 {
			if err := <-monitor.Subscribe(); err != nil {
				return err
			}
		}
		return nil
	}
	waitFor(t, startTimeout, "peers", func() bool {
		stats, err := peers.PeerStats(t.Context())
		require.NoError(t, err)
		return stats.Connected >= 2
	})
	require.NoError(t, check(2))
	require.ErrorIs(t, check(100), health.ErrSequencerNotHealthy)
}

func testControl(t *testing.T, c consumers) {
	chain := sources.L2ClientDefaultConfig(c.stack.Rollup(), true)
	engine, err := sources.NewL2Client(connect(t, c.first.EL().HTTP()), silent(), nil, chain)
	require.NoError(t, err)
	control := conductorclient.NewSequencerControl(engine.EthClient, sources.NewRollupClient(connect(t, c.first.RPC())))

	enabled, err := control.ConductorEnabled(t.Context())
	require.NoError(t, err)
	require.False(t, enabled)
	active, err := control.SequencerActive(t.Context())
	require.NoError(t, err)
	require.False(t, active)
	_, err = control.StopSequencer(t.Context())
	require.ErrorContains(t, err, "sequencer is not enabled")

	waitFor(t, startTimeout, "unsafe blocks", func() bool { return heads(t, c.first)[mirror.Unsafe].Number > 2 })
	head, err := control.LatestUnsafeBlock(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, control.StartSequencer(t.Context(), head.Hash()), "sequencer is not enabled")
	payload, err := engine.PayloadByNumber(t.Context(), head.NumberU64())
	require.NoError(t, err)
	require.NoError(t, control.PostUnsafePayload(t.Context(), payload), "a block that is there already does no harm")
	payload.ExecutionPayload.GasUsed++
	require.ErrorContains(t, control.PostUnsafePayload(t.Context(), payload), "payload has bad block hash")
}

func testPeers(t *testing.T, c consumers) {
	peers := sources.NewP2PClient(connect(t, c.first.RPC()))
	self, err := peers.Self(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, self.PeerID)
	require.NotZero(t, self.NodeID)
	require.NotEmpty(t, self.Addresses)

	others := []*stack.Node{c.stack.Sequencer(), c.stack.Source()}
	waitFor(t, startTimeout, "connected", func() bool {
		stats, err := peers.PeerStats(t.Context())
		require.NoError(t, err)
		return stats.Connected >= uint(len(others)) && stats.BlocksTopicV4 >= uint(len(others))
	})
	dump, err := peers.Peers(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, int(dump.TotalConnected), len(dump.Peers))
	for _, other := range others {
		_, id, _ := strings.Cut(other.Multiaddr(), "/p2p/")
		require.Contains(t, dump.Peers, id, other.Name())
		require.Equal(t, network.Connected, dump.Peers[id].Connectedness)
		require.True(t, dump.Peers[id].GossipBlocks)
		require.NotEqual(t, self.PeerID, dump.Peers[id].PeerID)
	}
}

func testChain(t *testing.T, c consumers) { requireMirrored(t, c.stack, c.second, 5*time.Second) }

func testStatus(t *testing.T, c consumers) {
	for _, f := range []*stack.Follower{c.first, c.second} {
		waitFor(t, startTimeout, f.Name()+" is ready", func() bool {
			status, body := get(t, f.RPC()+"/readyz")
			return status == http.StatusOK && body == "ready\n"
		})
	}
	var first, second driver.State
	require.NoError(t, c.first.Call(t.Context(), &first, "follow_status"))
	require.NoError(t, c.second.Call(t.Context(), &second, "follow_status"))

	require.NotEmpty(t, first.ID)
	require.Equal(t, []string{first.ID}, first.Path, "a node that derives ends the path")
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, []string{second.ID, first.ID}, second.Path)
	for _, state := range []driver.State{first, second} {
		require.True(t, state.Ready, state.Why)
		require.Len(t, state.Sources, 1)
		require.Equal(t, "accepted", state.Sources[0].Reason)
		require.Equal(t, state.Sources[0].Name, state.Followed)
		require.NotZero(t, state.Applied.LocalSafe)
		require.NotZero(t, state.Applied.CurrentL1)
	}
	require.Empty(t, first.Sources[0].ID)
	require.Equal(t, first.ID, second.Sources[0].ID)
	require.Equal(t, c.first.RPC(), second.Sources[0].Name)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}
