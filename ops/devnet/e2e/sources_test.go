//go:build !race

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// manySources puts a number of proxies in front of the devnet's source: to a follower they are that many sources.
func manySources(t *testing.T, s *stack.Stack, n int) (list []*faultproxy.Proxy, urls []string) {
	t.Helper()
	for range n {
		p, err := faultproxy.Start(s.Source().RPC())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		list, urls = append(list, p), append(urls, p.URL())
	}
	return list, urls
}

// followStatus is the part of follow_status that the tests look at.
type followStatus struct {
	ID       string
	Path     []string
	Ready    bool
	Why      string
	Followed string
	Sources  []struct{ Name, Reason string }
}

func statusOf(t *testing.T, f *stack.Follower) (s followStatus) {
	t.Helper()
	answer, err := http.Post(f.RPC(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"follow_status","params":[]}`))
	require.NoError(t, err)
	defer answer.Body.Close()
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&struct{ Result *followStatus }{&s}))
	return s
}

// The followed source dies: the next one is followed within three poll periods, which are six seconds here, and no label
// goes back.
func TestNextSourceTakesOver(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	list, urls := manySources(t, s, 2)
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower", Sources: urls})
	waitFor(t, safeTimeout, "safe mirrored", func() bool { return heads(t, f)[mirror.Safe].Number > 2 })
	// Which one came first depends on which answered first once the source had something to say.
	first := slices.Index(urls, statusOf(t, f).Followed)
	require.NotEqual(t, -1, first)
	next := 1 - first

	require.NoError(t, list[first].Close())
	died, last := time.Now(), heads(t, f)
	waitFor(t, 20*time.Second, "the next source is followed", func() bool {
		now := heads(t, f)
		for _, l := range mirror.Labels() {
			require.GreaterOrEqual(t, now[l].Number, last[l].Number, "%s went back", l)
		}
		last = now
		return statusOf(t, f).Followed == urls[next]
	})
	took := time.Since(died)
	t.Logf("the next source was followed after %d ms", took.Milliseconds())
	// A poll that is in flight and the machine's noise come on top.
	require.Less(t, took, 6*time.Second+4*time.Second)
	requireMirrored(t, s, f, 3*time.Second)
}

func TestTwoOfThreeSourcesOutvoteALiar(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	list, urls := manySources(t, s, 3)
	// It does not lie about finalized blocks: it would be refused for that before it contradicts anybody.
	list[0].Set(faultproxy.AlterStatus(func(status faultproxy.Status) faultproxy.Status {
		for _, label := range []string{"safe_l2", "local_safe_l2"} {
			if head := status[label]; blockID(head).Number > 0 {
				head["hash"] = common.Hash{0xbd}
			}
		}
		return status
	}))
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower", Sources: urls, Extra: []string{"--l2.follow.quorum=2"}})
	requireMirrored(t, s, f, 5*time.Second)
	text, err := os.ReadFile(f.LogFile())
	require.NoError(t, err)
	require.Contains(t, string(text), "Sources contradict each other")
}

// A ring of two followers: one refuses the other and says so. A path counts only while its source is accepted, so the
// other has nothing to refuse; what it follows just stands still.
func TestCycleIsRefused(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	list, _ := manySources(t, s, 1)
	var ring faultproxy.Switch
	list[0].Set(&ring)
	a := startFollower(t, s, stack.FollowerSpec{Name: "a", Sources: []string{list[0].URL()}})
	b := startFollower(t, s, stack.FollowerSpec{Name: "b", Sources: []string{a.RPC()}})
	require.NoError(t, ring.To(s.Source().RPC()))
	waitFor(t, safeTimeout, "both follow", func() bool { return heads(t, b)[mirror.Safe].Number > 0 })
	require.NoError(t, ring.To(b.RPC()))
	refuses := func(f *stack.Follower) bool { return statusOf(t, f).Sources[0].Reason == "cycle" }
	// Whom a source follows is asked again every half minute.
	waitFor(t, 75*time.Second, "one refuses", func() bool { return refuses(a) || refuses(b) })
	one, other := a, b
	if refuses(b) {
		one, other = b, a
	}
	waitFor(t, 30*time.Second, "it is not ready", func() bool { return !statusOf(t, one).Ready })
	status := statusOf(t, one)
	require.Contains(t, status.Why, "cycle")
	require.Equal(t, []string{status.ID}, status.Path)
	answer, err := http.Get(one.RPC() + "/readyz")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	text, err := os.ReadFile(one.LogFile())
	require.NoError(t, err)
	require.Contains(t, string(text), "reason=cycle")
	for _, f := range []*stack.Follower{one, other} {
		waitFor(t, safeTimeout, "unsafe blocks go on", func() bool { return heads(t, f)[mirror.Unsafe].Number > 5 })
	}
}
