package node

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
)

func silent() log.Logger { return log.NewLogger(log.DiscardHandler()) }

func TestAdminState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "state.json")
	state := &adminState{path: path}
	started, err := state.sequencerStarted()
	require.NoError(t, err)
	require.Nil(t, started, "nothing recorded yet")

	require.NoError(t, state.SequencerStarted())
	started, err = (&adminState{path: path}).sequencerStarted()
	require.NoError(t, err)
	require.True(t, *started)
	require.NoError(t, state.SequencerStopped())
	started, err = state.sequencerStarted()
	require.NoError(t, err)
	require.False(t, *started)

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"sequencerStarted":false}`, string(data))
	rest, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, rest, 1, "no temporary file is left")

	for _, garbage := range []string{"", "{", `{"other":1}`} {
		require.NoError(t, os.WriteFile(path, []byte(garbage), 0o600))
		_, err = state.sequencerStarted()
		require.ErrorContains(t, err, "--rpc.admin-state="+path)
		require.Error(t, state.SequencerStarted(), "what cannot be read is not overwritten")
	}
}

func TestAdminStateOfNoFile(t *testing.T) {
	state := new(adminState)
	require.NoError(t, state.SequencerStarted())
	started, err := state.sequencerStarted()
	require.NoError(t, err)
	require.Nil(t, started)
}

// TestDriverConfig: what the admin API did last wins over the flag, on a sequencer.
func TestDriverConfig(t *testing.T) {
	started, stopped := `{"sequencerStarted":true}`, `{"sequencerStarted":false}`
	for _, test := range []struct {
		file                      string
		enabled, flagStopped, out bool
	}{
		{"", true, false, false},
		{"", true, true, true},
		{started, true, true, false},
		{stopped, true, false, true},
		{stopped, false, false, false},
	} {
		n := &Node{cfg: config.Default(), log: silent()}
		n.cfg.Sequencer.Enabled, n.cfg.Sequencer.Stopped = test.enabled, test.flagStopped
		state := &adminState{path: filepath.Join(t.TempDir(), "state.json")}
		if test.file != "" {
			require.NoError(t, os.WriteFile(state.path, []byte(test.file), 0o600))
		}
		cfg, err := n.driverConfig(state)
		require.NoError(t, err)
		require.Equal(t, test.out, cfg.SequencerStopped, "%+v", test)
		require.EqualValues(t, 4, cfg.SequencerConfDepth)
	}
}

// fakeConductor is an op-conductor that fails for a while.
type fakeConductor struct {
	leader   bool
	failures atomic.Int32
	calls    atomic.Int32
	commits  atomic.Int32
}

func (c *fakeConductor) fail() error {
	c.calls.Add(1)
	if c.failures.Add(-1) >= 0 {
		return errors.New("no quorum")
	}
	return nil
}

func (c *fakeConductor) Leader(context.Context) (bool, error) { return c.leader, c.fail() }

func (c *fakeConductor) CommitUnsafePayload(context.Context, *eth.ExecutionPayloadEnvelope) error {
	c.commits.Add(1)
	return c.fail()
}

func newConductorClient(t *testing.T, url string) *conductorClient {
	cfg := config.Conductor{Enabled: true, URL: url, CallTimeout: 5 * time.Second}
	client := &conductorClient{cfg: cfg, recorder: metrics.New().NewRecorder("conductor"), log: silent()}
	t.Cleanup(client.Close)
	return client
}

func TestConductorClient(t *testing.T) {
	server, conductor := rpc.NewServer(), &fakeConductor{leader: true}
	t.Cleanup(server.Stop)
	require.NoError(t, server.RegisterName("conductor", conductor))
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	client := newConductorClient(t, web.URL)
	require.True(t, client.Enabled(t.Context()))

	conductor.failures.Store(1)
	leads, err := client.Leader(t.Context())
	require.NoError(t, err, "one failure is made up for")
	require.True(t, leads)
	require.EqualValues(t, 2, conductor.calls.Load())

	conductor.failures.Store(2)
	_, err = client.Leader(t.Context())
	require.ErrorContains(t, err, "no quorum")

	conductor.failures.Store(0)
	conductor.leader = false
	leads, err = client.Leader(t.Context())
	require.NoError(t, err)
	require.False(t, leads)
	payload := &eth.ExecutionPayloadEnvelope{ExecutionPayload: &eth.ExecutionPayload{}}
	require.NoError(t, client.CommitUnsafePayload(t.Context(), payload))
	require.EqualValues(t, 1, conductor.commits.Load())

	client.Close()
	_, err = client.Leader(t.Context())
	require.NoError(t, err, "connects again")

	require.NoError(t, client.OverrideLeader(t.Context()))
	before := conductor.calls.Load()
	leads, err = client.Leader(t.Context())
	require.NoError(t, err)
	require.True(t, leads)
	require.NoError(t, client.CommitUnsafePayload(t.Context(), payload))
	require.Equal(t, before, conductor.calls.Load(), "nobody is asked any more")
}

func TestConductorDown(t *testing.T) {
	port := reserve(t)
	_, err := newConductorClient(t, "ws://user:secret@"+port).Leader(t.Context())
	require.ErrorContains(t, err, "--conductor.rpc=ws://"+port)
	require.NotContains(t, err.Error(), "secret")
}

// reserve returns the address of a port that nobody listens on.
func reserve(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// fakeGossip counts published blocks.
type fakeGossip struct{ signed, forwarded int }

func (g *fakeGossip) SignAndPublishL2Payload(context.Context, *eth.ExecutionPayloadEnvelope, p2p.Signer) error {
	g.signed++
	return nil
}

func (g *fakeGossip) PublishSignedL2Payload(context.Context, *opsigner.SignedExecutionPayloadEnvelope) error {
	g.forwarded++
	return nil
}

func TestPublisher(t *testing.T) {
	n := &Node{cfg: config.Default(), log: silent()}
	n.cfg.Signer.Key = "0x1111111111111111111111111111111111111111111111111111111111111111"
	gossip := new(fakeGossip)
	envelope := &eth.ExecutionPayloadEnvelope{ExecutionPayload: &eth.ExecutionPayload{}}
	signed := &opsigner.SignedExecutionPayloadEnvelope{Envelope: envelope}

	p, err := n.newPublisher()
	require.NoError(t, err)
	require.NoError(t, p.SignAndPublishL2Payload(t.Context(), envelope), "without peers it is no error")
	require.EqualError(t, p.PublishBlock(t.Context(), signed), "P2P not enabled")
	disconnect := p.connect(gossip)
	require.NoError(t, p.SignAndPublishL2Payload(t.Context(), envelope))
	require.NoError(t, p.PublishBlock(t.Context(), signed))
	disconnect()
	require.NoError(t, p.SignAndPublishL2Payload(t.Context(), envelope))
	require.Equal(t, fakeGossip{signed: 1, forwarded: 1}, *gossip)
	require.NoError(t, n.cleanups.run(t.Context()))

	n.cfg.Signer.Key = ""
	p, err = n.newPublisher()
	require.NoError(t, err)
	p.connect(gossip)
	require.ErrorContains(t, p.SignAndPublishL2Payload(t.Context(), envelope), "no p2p signer")
	require.NoError(t, p.PublishBlock(t.Context(), signed))
}

// fakeL1 answers requests for labelled blocks, and remembers what it hears back.
type fakeL1 struct {
	mu      sync.Mutex
	asked   uint64
	told    []uint64
	failing bool
}

func (l *fakeL1) L1BlockRefByLabel(context.Context, eth.BlockLabel) (eth.L1BlockRef, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.failing {
		return eth.L1BlockRef{}, errors.New("L1 is away")
	}
	return eth.L1BlockRef{Number: l.asked}, nil
}

func (l *fakeL1) hear(_ context.Context, ref eth.L1BlockRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, ref.Number)
}

func (l *fakeL1) setFailing(failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = failing
}

func (l *fakeL1) requireTold(t *testing.T, asked uint64, told ...uint64) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Equal(t, asked, l.asked)
	require.Equal(t, told, l.told)
}

func TestL1Poll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l1 := new(fakeL1)
		poll := &l1Poll{source: l1, label: eth.Safe, tell: l1.hear, interval: time.Minute, clock: clock.SystemClock, log: silent()}
		stop := background(poll.run)
		l1.requireTold(t, 1, 1) // the first answer is not waited for
		time.Sleep(time.Minute)
		l1.requireTold(t, 2, 1, 2)
		l1.setFailing(true)
		time.Sleep(time.Minute)
		l1.requireTold(t, 3, 1, 2)
		l1.setFailing(false)
		time.Sleep(time.Minute)
		l1.requireTold(t, 4, 1, 2, 4)
		stop()
		time.Sleep(time.Hour)
		l1.requireTold(t, 4, 1, 2, 4)

		wanted := make(chan struct{})
		poll.interval, poll.wanted = 0, wanted // no polls, but it may be wanted
		stop = background(poll.run)
		l1.requireTold(t, 4, 1, 2, 4)
		wanted <- struct{}{}
		l1.requireTold(t, 5, 1, 2, 4, 5)
		stop()
	})
}
