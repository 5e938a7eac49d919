package modelel_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// replay performs engine calls, a line each, and returns what a log shows of them.
func replay(t *testing.T, chain *modelel.Chain, el *modelel.EL, calls string) string {
	t.Helper()
	el.Log().Take()
	for _, call := range strings.Split(strings.TrimSpace(calls), "\n") {
		require.NoError(t, modelel.Perform(context.Background(), el, chain.Find, call))
	}
	return el.Log().String()
}

// The differences between the two clients, beside each other. Both have 1 to 6 with safe 4 and finalized 2; branch b
// leaves after 4, and they have executed 5b and 6b.
func TestBothKindsOfEngine(t *testing.T) {
	for _, test := range []struct{ name, calls, geth, reth string }{
		{"a branch is not served before it is canonical", "byHash 5b\nFCU head=6b\nbyHash 5b\nbyHash 6",
			"byHash 5b → 5b\nFCU head=6b safe=- fin=- → VALID\nbyHash 5b → 5b\nbyHash 6 → 6\n",
			"byHash 5b → not found\nFCU head=6b safe=- fin=- → VALID\nbyHash 5b → 5b\nbyHash 6 → not found\n"},
		{"a child of the head is served", "newPayload 7\nbyHash 7",
			"newPayload 7 → VALID\nbyHash 7 → 7\n", "newPayload 7 → VALID\nbyHash 7 → 7\n"},
		{"an update to a canonical block below the head", "FCU head=5 safe=5 fin=3\nbyLabel latest\nbyLabel safe\nbyLabel finalized",
			"FCU head=5 safe=5 fin=3 → VALID\nbyLabel latest → 6\nbyLabel safe → 5\nbyLabel finalized → 3\n",
			"FCU head=5 safe=5 fin=3 → VALID\nbyLabel latest → 6\nbyLabel safe → 4\nbyLabel finalized → 2\n"},
		{"what a refused update leaves behind", "FCU head=6b safe=5 fin=3\nbyLabel latest\nbyLabel safe\nbyLabel finalized",
			"FCU head=6b safe=5 fin=3 → error -38002\nbyLabel latest → 6b\nbyLabel safe → 4\nbyLabel finalized → 3\n",
			"FCU head=6b safe=5 fin=3 → error -38002\nbyLabel latest → 6b\nbyLabel safe → 4\nbyLabel finalized → 3\n"},
		{"the zero hash", "FCU head=-", "FCU head=- safe=- fin=- → INVALID\n", "FCU head=- safe=- fin=- → error -38002\n"},
		{"a gap that is filled from below", "newPayload 8\nFCU head=8\nnewPayload 7\nbyLabel latest",
			"newPayload 8 → SYNCING\nFCU head=8 safe=- fin=- → SYNCING\nnewPayload 7 → VALID\nbyLabel latest → 6\n",
			"newPayload 8 → SYNCING\nFCU head=8 safe=- fin=- → SYNCING\nnewPayload 7 → VALID\nbyLabel latest → 8\n"},
	} {
		for kind, want := range map[string]string{"op-geth": test.geth, "op-reth": test.reth} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				var opts []modelel.Option
				if kind == "op-reth" {
					opts = append(opts, modelel.Reth())
				}
				chain, el := twoBranches(opts...)
				require.Equal(t, want, replay(t, chain, el, test.calls))
			})
		}
	}
}

func twoBranches(opts ...modelel.Option) (*modelel.Chain, *modelel.EL) {
	chain := modelel.NewChain()
	el := chain.NewEL(opts...)
	el.Load(chain.L2().Blocks(1, 4)...)
	el.Load(chain.L2().Fork("b", 4).Blocks(5, 6)...)
	el.Load(chain.L2().Blocks(5, 6)...)
	el.SetLabels(chain.Block(4).Hash(), chain.Block(2).Hash())
	return chain, el
}

func TestRethRestarts(t *testing.T) {
	chain, el := twoBranches(modelel.Reth())
	el.Restart()
	require.Equal(t, "latest=6 safe=4 finalized=2", el.String())
	require.Equal(t, "FCU head=6b safe=- fin=- → SYNCING\n", replay(t, chain, el, "FCU head=6b"))
	el.Rewind(3)
	require.Equal(t, "latest=3 safe=- finalized=2", el.String(), "what was safe is gone")
}

// A block that nobody announced is got from peers.
func TestRethFetchesByHash(t *testing.T) {
	net := modelel.NewNetwork()
	chain, el := twoBranches(modelel.Reth(), modelel.WithNetwork(net))
	require.Equal(t, "FCU head=9 safe=- fin=- → SYNCING\n", replay(t, chain, el, "FCU head=9"))
	require.False(t, el.CompleteSync())
	net.Publish(chain.L2().Blocks(1, 9)...)
	require.True(t, el.CompleteSync())
	require.Equal(t, "latest=9 safe=4 finalized=2", el.String())
}
