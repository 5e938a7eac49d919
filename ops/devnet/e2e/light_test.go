//go:build !race

package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// startLight brings up a devnet whose blocks a light sequencer makes.
func startLight(t *testing.T, change func(*stack.Options)) (*stack.Stack, []*stack.Follower) {
	t.Helper()
	s := startStack(t, func(o *stack.Options) {
		o.Light = binary
		if change != nil {
			change(o)
		}
	})
	lights := s.Lights()
	for _, light := range lights {
		watchLog(t, light)
	}
	return s, lights
}

// addLight adds a light sequencer to a devnet.
func addLight(t *testing.T, s *stack.Stack, spec stack.LightSpec) *stack.Follower {
	t.Helper()
	spec.Binary = binary
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	light, err := s.AddLightSequencer(ctx, spec)
	require.NoError(t, err)
	watchLog(t, light)
	return light
}

// call makes a call of a node's admin API.
func call(t *testing.T, n *stack.Follower, result any, method string, args ...any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := rpc.DialContext(ctx, n.RPC())
	require.NoError(t, err)
	defer client.Close()
	return client.CallContext(ctx, result, method, args...)
}

// between are the proxies between light sequencers and the servers they use.
type between struct{ l1, source *faultproxy.Proxy }

// interpose puts proxies between the light sequencers of a devnet and L1 and the source.
func (b *between) interpose(t *testing.T, o *stack.Options) {
	first := make(map[string]*faultproxy.Proxy)
	o.Via = func(url string) (string, error) {
		if proxy, ok := first[url]; ok {
			return proxy.URL(), nil
		}
		proxy, err := faultproxy.Start(url)
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { require.NoError(t, proxy.Close()) })
		first[url] = proxy
		if b.l1 == nil { // L1 is asked for first
			b.l1 = proxy
		} else {
			b.source = proxy
		}
		return proxy.URL(), nil
	}
}

// One light sequencer hands over to another, as a conductor has them do it.
func TestLightSequencersHandOver(t *testing.T) {
	t.Parallel()
	s, lights := startLight(t, func(o *stack.Options) { o.Standby = 1 })
	a, b := lights[0], lights[1]
	waitFor(t, safeTimeout, "labels", func() bool { return heads(t, b)[mirror.Safe].Number > 3 })
	produced := watchProduction(t, s.Source().EL())
	begin := time.Now()

	var head common.Hash
	require.NoError(t, call(t, a, &head, "admin_stopSequencer"))
	waitFor(t, 5*time.Second, "the other one to have the last block", func() bool { return heads(t, b)[mirror.Unsafe].Hash == head })
	require.ErrorContains(t, call(t, b, nil, "admin_startSequencer", common.Hash{1}), "block hash does not match")
	require.NoError(t, call(t, b, nil, "admin_startSequencer", head))
	handed := heads(t, b)[mirror.Unsafe]
	waitFor(t, safeTimeout, "blocks of the new one to be safe everywhere", func() bool {
		return heads(t, s.Source())[mirror.Safe].Number > handed.Number+5 && heads(t, a)[mirror.Safe].Number > handed.Number+5
	})
	end := time.Now()
	r := produced.result()
	gap, _ := r.gap(begin, end)
	t.Logf("longest gap %s", gap.Round(time.Millisecond))
	require.LessOrEqual(t, gap, 4*s.Options().L2BlockTime)
	require.Zero(t, r.replaced)
	for _, light := range lights {
		var active bool
		require.NoError(t, call(t, light, &active, "admin_sequencerActive"))
		require.Equal(t, light == b, active, light.Name())
		block, ok := light.EL().Canonical(handed.Number)
		require.True(t, ok)
		require.Equal(t, handed.Hash, block.Hash)
	}
}

// metricOf reads a metric of a node, by a pattern of its name and labels. One that was never counted is "0".
func metricOf(t *testing.T, n *stack.Follower, pattern string) string {
	t.Helper()
	address := regexp.MustCompile(`[Mm]etrics.*addr[^=]*=\S*?(127\.0\.0\.1:\d+)`)
	text, err := os.ReadFile(n.LogFile())
	require.NoError(t, err)
	found := address.FindSubmatch(text)
	require.NotNil(t, found, "the address of the metrics server is in the log")
	response, err := http.Get("http://" + string(found[1]) + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "_up 1")
	value := regexp.MustCompile(`(?m)^\S*` + pattern + ` (\S+)$`).FindSubmatch(body)
	if value == nil {
		return "0"
	}
	return string(value[1])
}
