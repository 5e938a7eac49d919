package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
)

// logBook keeps what was logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() log.Logger {
	level := new(slog.LevelVar)
	return log.NewLogger(levelHandler{slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}), level})
}

// levelHandler is a handler whose level the admin API can change, without the data race of upstream's.
type levelHandler struct {
	slog.Handler
	level *slog.LevelVar
}

// SetLogLevel implements upstream's oplog.LvlSetter.
func (h levelHandler) SetLogLevel(level slog.Level) { h.level.Set(level) }

// boot makes a node for the world.
func (w *world) boot(t *testing.T, book *logBook) (*Node, error) {
	return New(t.Context(), w.cfg, book.logger(), "v1", metrics.New(), clock.SystemClock)
}

// start makes and starts a node that has to start, and stops it after the test.
func (w *world) start(t *testing.T, book *logBook) *Node {
	n, err := w.boot(t, book)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Stop(context.Background())) })
	require.NoError(t, n.Start(t.Context()))
	return n
}

// fix gives the RPC a port of its own, so that one can see whether it was given back.
func (w *world) fix(t *testing.T) (address string) {
	address = reserve(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	w.cfg.RPC.ListenPort, err = strconv.Atoi(port)
	require.NoError(t, err)
	return address
}

// requireFree shows that nobody listens on an address any more.
func requireFree(t *testing.T, address string) {
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestDerivationMode(t *testing.T) {
	w, book := newWorld(t), new(logBook)
	address := w.fix(t)
	w.cfg.SafeDBPath = filepath.Join(t.TempDir(), "safedb")
	w.cfg.Metrics.Enabled, w.cfg.Metrics.ListenAddr, w.cfg.Metrics.ListenPort = true, "127.0.0.1", 0
	w.cfg.Pprof.ListenEnabled, w.cfg.Pprof.ListenAddr, w.cfg.Pprof.ListenPort = true, "127.0.0.1", 0
	n, err := w.boot(t, book)
	require.NoError(t, err)
	require.False(t, n.Stopped())
	require.NotZero(t, w.beacon.Load(), "the beacon API is checked")

	response, err := http.Get(n.HTTPEndpoint() + "/healthz")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode, "bound, but not open yet")

	require.NoError(t, n.Start(t.Context()))
	response, err = http.Get(n.HTTPEndpoint() + "/healthz")
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.JSONEq(t, `{"version":"v1"}`, string(body))
	require.DirExists(t, w.cfg.SafeDBPath)
	for _, line := range []string{"Rollup node started", "Started JSON-RPC server", "started metrics server", "started p2p host", "addr=" + address} {
		require.Contains(t, book.String(), line)
	}
	require.ErrorContains(t, n.Start(t.Context()), "before", "a node starts once")

	var status map[string]struct {
		Number uint64      `json:"number"`
		Hash   common.Hash `json:"hash"`
	}
	require.Eventually(t, func() bool {
		require.NoError(t, call(t.Context(), n.HTTPEndpoint(), &status, "optimism_syncStatus"))
		return status["unsafe_l2"].Hash == w.l2.genesis.Hash() && status["head_l1"].Hash == w.l1.genesis.Hash()
	}, 10*time.Second, 20*time.Millisecond, "heads of both chains become known")
	response, err = http.Get(n.HTTPEndpoint() + "/readyz?labels=false")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode, "in derivation mode too (spec X1)")

	require.NoError(t, n.Stop(t.Context()))
	require.True(t, n.Stopped())
	require.NoError(t, n.Stop(t.Context()), "again is harmless")
	requireFree(t, address)
	require.ErrorContains(t, n.Start(t.Context()), "before")
}

// TestFollowMode (spec I2, X4): the source does not answer, and the node runs; what follow mode does without is not touched.
func TestFollowMode(t *testing.T) {
	w, book := newWorld(t), new(logBook)
	w.cfg.Follow.Sources = []string{"http://user:hunter2@" + reserve(t) + "/key/hunter2"}
	w.cfg.SafeDBPath = filepath.Join(t.TempDir(), "safedb")
	w.cfg.RPC.EnableAdmin, w.cfg.RPC.SequencerAPI = true, true
	n := w.start(t, book)

	var status map[string]any
	require.NoError(t, call(t.Context(), n.HTTPEndpoint(), &status, "optimism_syncStatus"))
	require.Zero(t, w.beacon.Load(), "no beacon API")
	require.NoDirExists(t, w.cfg.SafeDBPath)
	require.Contains(t, book.String(), "safe head database is not written in follow mode")
	require.NotContains(t, book.String(), "hunter2")
	for method, want := range map[string]string{
		"admin_resetDerivationPipeline": "--l2.follow.source",
		"admin_stopSequencer":           "sequencer is not enabled",
	} {
		require.ErrorContains(t, call(t.Context(), n.HTTPEndpoint(), nil, method), want)
	}
	err := call(t.Context(), n.HTTPEndpoint(), nil, "optimism_safeHeadAtL1Block", "0x1")
	require.EqualError(t, err, "failed to get safe head at l1 block 0x1: safe head database not enabled")
}

// TestFailedStart: whatever goes wrong, the error says what, and nothing is left behind.
func TestFailedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	for name, test := range map[string]struct {
		spoil func(*world)
		want  string
	}{
		"RPC port in use": {func(w *world) { w.cfg.RPC.ListenPort = port }, "--rpc.port"},
		"metrics port in use": {func(w *world) {
			w.cfg.Metrics.Enabled, w.cfg.Metrics.ListenAddr, w.cfg.Metrics.ListenPort = true, "127.0.0.1", port
		}, "--metrics.port"},
		"profiler port in use": {func(w *world) {
			w.cfg.Pprof.ListenEnabled, w.cfg.Pprof.ListenAddr, w.cfg.Pprof.ListenPort = true, "127.0.0.1", port
		}, "--pprof"},
		"another L1":             {func(w *world) { w.l1.id.Store(5) }, "incorrect L1 RPC chain id 5, expected 900"},
		"another L1 genesis":     {func(w *world) { w.l1.genesis.Extra = []byte{1} }, "incorrect L1 genesis block hash"},
		"another L2":             {func(w *world) { w.l2.id.Store(5) }, "incorrect L2 RPC chain id 5, expected 901"},
		"another L2 genesis":     {func(w *world) { w.l2.genesis.Extra = []byte{1} }, "failed to get L2 genesis blockhash"},
		"no beacon API":          {func(w *world) { w.cfg.Beacon.URL = "" }, "l1.beacon"},
		"safe head database":     {func(w *world) { w.cfg.SafeDBPath = file }, "--safedb.path=" + file},
		"admin state":            {func(w *world) { w.cfg.Sequencer.Enabled, w.cfg.RPC.AdminStatePath = true, file }, "--rpc.admin-state=" + file},
		"peerstore":              {func(w *world) { w.cfg.P2P.Peers.StorePath = file }, "--p2p.peerstore.path=" + file},
		"discovery database":     {func(w *world) { w.cfg.P2P.Discovery = config.Discovery{Path: file} }, "--p2p.discovery.path=" + file},
		"peer-to-peer port":      {func(w *world) { w.cfg.P2P.Listen.TCP = uint16(port) }, "P2P"},
		"remote signer is down":  {func(w *world) { w.cfg.Signer.Remote.Endpoint = "http://" + taken.Addr().String() }, "--signer.endpoint"},
		"option out of question": {func(w *world) { w.cfg.L1.MaxBatchSize = 0 }, "--l1.rpc-max-batch-size=0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			address := w.fix(t)
			w.cfg.Signer.Remote.TLSConfig.Enabled = false
			test.spoil(w)
			if w.cfg.Signer.Remote.Endpoint != "" {
				w.cfg.Signer.Remote.Address = common.Address{1}.Hex()
			}
			n, err := w.boot(t, new(logBook))
			if err == nil {
				err = n.Start(t.Context())
				require.True(t, n.Stopped())
			}
			require.ErrorContains(t, err, test.want)
			requireFree(t, address)
		})
	}
}

// TestInterruptedStart: a node that waits for its L1 gives up at once when told to.
func TestInterruptedStart(t *testing.T) {
	w := newWorld(t)
	w.cfg.L1.URL = "http://" + reserve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := New(ctx, w.cfg, silent(), "v1", metrics.New(), clock.SystemClock)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 5*time.Second)
}

// TestStoresSurvive: the databases on disk are closed well enough to be opened again.
func TestStoresSurvive(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t)
	w.cfg.P2P.Peers.StorePath = filepath.Join(dir, "peers")
	w.cfg.P2P.Discovery = config.Discovery{Path: filepath.Join(dir, "nodes"), AdvertiseIP: net.IPv4(127, 0, 0, 1)}
	for range 2 {
		n := w.start(t, new(logBook))
		require.NoError(t, n.Stop(t.Context()))
	}
}

func TestCriticalErrorIsDelivered(t *testing.T) {
	n := &Node{log: silent(), critical: make(chan error, 1)}
	n.fail(fmt.Errorf("engine is gone"))
	n.fail(fmt.Errorf("and something else"))
	require.EqualError(t, <-n.Critical(), "critical error: engine is gone")
	require.Empty(t, n.Critical())
}

// TestMethodsEqualUpstream: in both modes, each method is there under the flags it is documented for, and only then.
func TestMethodsEqualUpstream(t *testing.T) {
	data, err := os.ReadFile("testdata/upstream_rpc.json")
	require.NoError(t, err)
	var facts struct {
		Methods []struct {
			Method    string   `json:"method"`
			Params    []string `json:"params"`
			Available string   `json:"available"`
		} `json:"methods"`
	}
	require.NoError(t, json.Unmarshal(data, &facts))
	require.Len(t, facts.Methods, 40)

	gates := map[string]bool{"always": false, "always (built into the rpc server)": false,
		"only with --rpc.enable-admin": true, "only with --experimental.sequencer-api": true, "when p2p is not disabled": true}
	var fullURL string
	for _, sources := range [][]string{nil, {"http://127.0.0.1:1"}} { // deriving, following
		bare, full := newWorld(t), newWorld(t)
		bare.cfg.Follow.Sources, full.cfg.Follow.Sources = sources, sources
		bare.cfg.P2P.Disabled = true
		full.cfg.RPC.EnableAdmin, full.cfg.RPC.SequencerAPI = true, true
		bareURL := bare.start(t, new(logBook)).HTTPEndpoint()
		fullURL = full.start(t, new(logBook)).HTTPEndpoint()
		for _, fact := range facts.Methods {
			gated, known := gates[fact.Available]
			require.True(t, known, fact.Available)
			require.True(t, exists(t, fullURL, fact.Method, len(fact.Params)), fact.Method)
			require.Equal(t, !gated, exists(t, bareURL, fact.Method, len(fact.Params)), fact.Method)
		}
		require.Equal(t, sources != nil, exists(t, bareURL, "follow_status", 0), "ours, of follow mode alone")
		require.True(t, exists(t, bareURL, "follow_statusAfter", 2), "ours, of both modes (spec W1)")
	}

	var fields map[string]map[string]any
	require.NoError(t, call(t.Context(), fullURL, &fields, "optimism_syncStatus"))
	for _, name := range strings.Fields("current_l1 current_l1_finalized head_l1 safe_l1 finalized_l1 unsafe_l2 safe_l2 finalized_l2 pending_safe_l2 local_safe_l2") {
		require.NotNil(t, fields[name], name)
		delete(fields, name)
	}
	require.Empty(t, fields)
	var version string
	require.NoError(t, call(t.Context(), fullURL, &version, "optimism_version"))
	require.Equal(t, "v0.0.0-dev", version)
	require.NoError(t, call(t.Context(), fullURL, &version, "health_status"))
	require.Equal(t, "v1", version)
	require.NoError(t, call(t.Context(), fullURL, nil, "admin_setLogLevel", "debug"))
}

// exists tells whether a method is served with this number of parameters. Calling it with what it cannot take shows that without
// effect.
func exists(t *testing.T, url, method string, params int) bool {
	args := make([]any, params+1)
	for i := range args {
		args[i] = []int{} // no parameter is a list
	}
	err := call(t.Context(), url, nil, method, args...)
	require.Error(t, err)
	return !strings.Contains(err.Error(), "does not exist/is not available")
}

// TestP2PConfig: every option reaches upstream's configuration, which accepts it.
func TestP2PConfig(t *testing.T) {
	w := newWorld(t)
	c := w.cfg.P2P
	c.Transport.Security = []string{"noise", "tls"}
	setup, err := p2pConfig(c, 2)
	require.NoError(t, err)
	require.Len(t, setup.HostMux, 2)
	require.Len(t, setup.HostSecurity, 2)
	require.NotNil(t, setup.ScoringParams)
	require.Equal(t, 8, setup.MeshD)
	require.Equal(t, time.Minute, setup.GossipTimestampThreshold)
	require.True(t, setup.BanPeers())
	setup.Store, err = openPeerstore(config.InMemory)
	require.NoError(t, err)
	require.NoError(t, setup.Check())

	c.Transport.Security, c.Peers.Scoring = []string{"none"}, ""
	setup, err = p2pConfig(c, 2)
	require.NoError(t, err)
	require.True(t, setup.NoTransportSecurity)
	require.Empty(t, setup.HostSecurity)
	require.Nil(t, setup.ScoringParams)
}

// TestSequencerNode: in both modes, the admin API reaches the sequencer, and stopping the node is an orderly end of sequencing.
func TestSequencerNode(t *testing.T) {
	for name, sources := range map[string][]string{"deriving": nil, "following": {"http://127.0.0.1:1"}} {
		t.Run(name, func(t *testing.T) { testSequencerNode(t, sources) })
	}
}

func testSequencerNode(t *testing.T, sources []string) {
	w, book := newWorld(t), new(logBook)
	w.cfg.Follow.Sources = sources
	w.cfg.Sequencer.Enabled, w.cfg.Sequencer.Stopped = true, true
	w.cfg.RPC.EnableAdmin, w.cfg.RPC.AdminStatePath = true, filepath.Join(t.TempDir(), "state.json")
	n := w.start(t, book)
	var active bool
	require.NoError(t, call(t.Context(), n.HTTPEndpoint(), &active, "admin_sequencerActive"))
	require.False(t, active)
	require.EqualError(t, call(t.Context(), n.HTTPEndpoint(), nil, "admin_stopSequencer"), "sequencer not running")
	wrong := common.BigToHash(big.NewInt(7))
	require.Eventually(t, func() bool {
		err := call(t.Context(), n.HTTPEndpoint(), nil, "admin_startSequencer", wrong)
		return err != nil && strings.HasPrefix(err.Error(), "block hash does not match")
	}, 10*time.Second, 20*time.Millisecond)
	start := time.Now()
	require.NoError(t, n.Stop(t.Context()))
	require.Less(t, time.Since(start), releaseLimit)
	require.Contains(t, book.String(), "sequencer already stopped")
}
