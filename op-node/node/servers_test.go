package node

import (
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"

	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

// series counts the series of the metrics of the RPC server, and how many bytes the values of their labels have.
func series(t *testing.T, n *Node) (count, bytes int) {
	families, err := n.metrics.Registry().Gather()
	require.NoError(t, err)
	for _, family := range families {
		if !strings.Contains(family.GetName(), "_rpc_server_") {
			continue
		}
		count += len(family.GetMetric())
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				bytes += len(label.GetValue())
			}
		}
	}
	return count, bytes
}

// TestUnknownMethodsCostNothing: names of methods that nobody serves leave nothing behind, neither in memory nor in metrics.
func TestUnknownMethodsCostNothing(t *testing.T) {
	w := newWorld(t)
	w.cfg.P2P.Disabled = true
	n := w.start(t, new(logBook))
	ask := func(name string) {
		require.Error(t, call(t.Context(), n.HTTPEndpoint(), nil, name))
	}
	ask("warm_up")
	ask(strings.Repeat("warm_up", 1000))
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before, size := series(t, n)
	held := heap()
	for i := range 300 {
		ask(fmt.Sprintf("x%d_%s", i, strings.Repeat("y", 64<<10)))
		ask(fmt.Sprintf("short_%d", i))
	}
	after, grown := series(t, n)
	t.Logf("series %d to %d, label bytes %d to %d, heap %d to %d KiB", before, after, size, grown, held>>10, heap()>>10)
	require.Equal(t, before, after)
	require.Equal(t, size, grown)
	require.Less(t, int64(heap())-int64(held), int64(8<<20))
}

// TestAdminListener: with a listener of its own, what changes the node is served there and nowhere else; what reads, in both places.
func TestAdminListener(t *testing.T) {
	w, secret := newWorld(t), [32]byte{5}
	w.cfg.RPC.EnableAdmin, w.cfg.RPC.SequencerAPI = true, true
	w.cfg.RPC.AdminListen, w.cfg.RPC.AdminJWTSecret = "127.0.0.1:0", secret[:]
	n := w.start(t, new(logBook))
	signed, err := rpc.DialOptions(t.Context(), "http://"+n.adminRPC.address(), rpc.WithHTTPAuth(gethnode.NewJWTAuth(secret)))
	require.NoError(t, err)
	defer signed.Close()
	everything := exposed(t, n.adminRPC)
	for _, method := range []string{"admin_stopSequencer", "admin_setLogLevel", "opp2p_blockPeer", "opp2p_self", "opstack_openBlockV1", "optimism_syncStatus"} {
		require.Contains(t, everything, method)
	}
	reading := exposed(t, n.rpc)
	for _, method := range []string{"optimism_syncStatus", "superroot_atTimestamp", "opp2p_self", "opp2p_peers", "opp2p_listBlockedAddrs", "health_status"} {
		require.Contains(t, reading, method)
		require.Contains(t, everything, method)
	}
	for method := range everything {
		namespace, name, _ := strings.Cut(method, "_")
		changes := namespace == "admin" || namespace == "opstack" ||
			namespace == "opp2p" && regexp.MustCompile("^(un)?(block|protect)|connect").MatchString(name)
		require.Equal(t, !changes, reading[method], method)
		if changes {
			err := call(t.Context(), n.HTTPEndpoint(), nil, method, []int{}, []int{}, []int{})
			require.ErrorContains(t, err, "does not exist/is not available", method)
		}
	}
	var active bool
	require.NoError(t, signed.CallContext(t.Context(), &active, "admin_sequencerActive"))
	require.ErrorContains(t, call(t.Context(), "http://"+n.adminRPC.address(), nil, "admin_sequencerActive"), "401")
	resp, err := http.Get("http://" + n.adminRPC.address() + "/healthz")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// exposed are the methods of a listener.
func exposed(t *testing.T, l *rpcListener) map[string]bool {
	methods := make(map[string]bool)
	for _, method := range l.Methods() {
		methods[method] = true
	}
	require.NotEmpty(t, methods)
	return methods
}
