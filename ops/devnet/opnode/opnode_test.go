package opnode

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary plays op-node when this is set, and behaves as its value says.
const fakeEnv = "DEVNET_FAKE_NODE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeEnv); mode != "" {
		fake(mode)
		return
	}
	os.Exit(m.Run())
}

func fake(mode string) {
	fmt.Println("pid", os.Getpid())
	fmt.Println("args", strings.Join(os.Args[1:], " "))
	if os.Getenv("OP_NODE_L1_ETH_RPC") != "" {
		fmt.Println("the environment leaks")
	}
	switch mode {
	case "broken":
		fmt.Println("CRIT Application failed message=\"no such flag\"")
		os.Exit(1)
	case "silent":
		<-time.After(time.Hour)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("INFO [11-22|08:10:43.240] Started JSON-RPC server addr=%s\n", listener.Addr())
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"unsafe_l2":{"number":7}}}`)
	}))
}

func newFake(t *testing.T, mode string) *Node {
	t.Helper()
	t.Setenv(fakeEnv, mode)
	n, err := New("fake", os.Args[0], t.TempDir(), Flags{L1: "ws://l1"})
	require.NoError(t, err)
	t.Cleanup(n.Kill9)
	return n
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestLives(t *testing.T) {
	t.Setenv("OP_NODE_L1_ETH_RPC", "ws://elsewhere")
	n := newFake(t, "good")
	_, err := n.SyncStatus(t.Context())
	require.ErrorIs(t, err, ErrNotRunning)
	require.NoError(t, n.Stop(t.Context()), "nothing to stop")
	require.ErrorIs(t, n.Exit(), ErrNotRunning)

	require.NoError(t, n.Start(t.Context()))
	first := n.PID()
	status, err := n.SyncStatus(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, status.UnsafeL2.Number)
	require.ErrorContains(t, n.Start(t.Context()), "already running")
	require.Contains(t, n.Tail()[1], "--l1=ws://l1")
	require.NotContains(t, strings.Join(n.Tail(), "\n"), "leaks")

	n.Kill9()
	<-n.Exited()
	require.False(t, alive(first))
	require.ErrorContains(t, n.Exit(), "killed")
	_, err = n.SyncStatus(t.Context())
	require.ErrorIs(t, err, ErrNotRunning)

	require.NoError(t, n.Restart(t.Context()))
	second := n.PID()
	require.NotEqual(t, first, second)
	var result struct{}
	require.NoError(t, n.Call(t.Context(), &result, "optimism_syncStatus"))
	require.NoError(t, n.Stop(t.Context()))
	require.False(t, alive(second))

	log, err := os.ReadFile(n.LogFile())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(log), rpcStarted), "both lives are in the log")
}

func TestFailingStartShowsWhyAndLeavesNothing(t *testing.T) {
	n := newFake(t, "broken")
	err := n.Start(t.Context())
	require.ErrorContains(t, err, "exit status 1")
	require.ErrorContains(t, err, "Application failed")
	require.Zero(t, n.PID())
}

func TestStartGivenUpLeavesNothing(t *testing.T) {
	n := newFake(t, "silent")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := n.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no RPC server")
	require.Zero(t, n.PID())
	shown := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(err.Error())
	require.NotNil(t, shown, "%v", err)
	pid, err := strconv.Atoi(shown[1])
	require.NoError(t, err)
	require.False(t, alive(pid))
}

func TestStopKillsADeafNode(t *testing.T) {
	n := newFake(t, "deaf")
	require.NoError(t, n.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, n.Stop(ctx), context.DeadlineExceeded)
	require.False(t, alive(n.PID()))
}

func TestRPCAddress(t *testing.T) {
	const want = "127.0.0.1:40123"
	for name, line := range map[string]string{
		"logfmt":   `t=2026-11-22T08:10:43+0000 lvl=info msg="Started JSON-RPC server" addr=127.0.0.1:40123`,
		"terminal": `INFO [11-22|08:10:43.240] Started JSON-RPC server                  addr=127.0.0.1:40123 node=x`,
		"coloured": "\x1b[32mINFO \x1b[0m[11-22|08:10:43.240] Started JSON-RPC server \x1b[32maddr\x1b[0m=127.0.0.1:40123",
		"json":     `{"t":"2026-11-22T08:10:43Z","lvl":"info","msg":"Started JSON-RPC server","addr":"127.0.0.1:40123"}`,
		"sorted":   `{"addr":"127.0.0.1:40123","lvl":"info","msg":"Started JSON-RPC server"}`,
		"url":      `lvl=info msg="Started JSON-RPC server" addr=http://127.0.0.1:40123`,
	} {
		addr, ok := rpcAddress(line)
		require.True(t, ok, name)
		require.Equal(t, want, addr, name)
	}
	for _, line := range []string{
		"", `msg="started metrics server" addr=127.0.0.1:7300`, `msg="Started JSON-RPC server"`, `msg="Started JSON-RPC server" addr=`,
	} {
		_, ok := rpcAddress(line)
		require.False(t, ok, line)
	}
}

func TestArgs(t *testing.T) {
	follow := Flags{
		L1: "ws://l1", L2: "http://l2", JWT: "jwt", Rollup: "r.json", L1Chain: "l1.json",
		Follow: []string{"http://a", "http://b"},
		Gossip: &Gossip{Static: []string{"/ip4/1/p2p/x", "/ip4/2/p2p/y"}, Key: "key"},
		Extra:  []string{"--log.level=debug"},
	}.Args()
	require.Equal(t, []string{
		"--l1=ws://l1", "--l1.epoch-poll-interval=1s", "--l2=http://l2", "--l2.jwt-secret=jwt", "--l2.enginekind=geth",
		"--l2.follow.source=http://a,http://b", "--rollup.config=r.json", "--rollup.l1-chain-config=l1.json",
		"--rpc.addr=127.0.0.1", "--rpc.port=0", "--p2p.listen.ip=127.0.0.1", "--p2p.listen.tcp=0", "--p2p.no-discovery",
		"--p2p.static=/ip4/1/p2p/x,/ip4/2/p2p/y", "--p2p.priv.path=key", "--p2p.peerstore.path=memory", "--log.level=debug",
	}, follow)

	derive := Flags{L1: "ws://l1", Beacon: "http://beacon", Metrics: true}.Args()
	require.Contains(t, derive, "--l1.beacon=http://beacon")
	require.Contains(t, derive, "--p2p.disable")
	require.Contains(t, derive, "--metrics.port=0")
	require.NotContains(t, strings.Join(derive, " "), "follow")
}

func TestCommandLineSurvivesAShell(t *testing.T) {
	require.Equal(t, "bin/op-node \\\n    --l1=ws://h:1 \\\n    '--x=a b' \\\n    '--y=it'\\''s' \\\n    ''",
		CommandLine("bin/op-node", []string{"--l1=ws://h:1", "--x=a b", "--y=it's", ""}))
}

func TestCheck(t *testing.T) {
	require.NoError(t, Check(os.Args[0]))
	require.Error(t, Check(t.TempDir()))
	require.ErrorIs(t, Check("/nowhere/op-node"), os.ErrNotExist)
}
