package modelel_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

var (
	_ upstream.ExecEngine = (*modelel.EL)(nil)
	_ upstream.ExecEngine = (*modelel.Faulty)(nil)
	_ upstream.ExecEngine = (*modelel.Recorder)(nil)
)

// tell runs the left sides of a story on an engine and compares what happened with the story. Engine calls look as they
// do in a log; other lines are
//
//	labels …           the labels of the engine
//	restart            EL.Restart
//	rewind 3           EL.Rewind
//	invalid 3b         EL.MarkInvalid
//	drop state 3       EL.DropState
//	publish 3 4 5      let peers have blocks
//	complete sync → …  EL.CompleteSync
//	advance sync 2 → … EL.AdvanceSync
func tell(t *testing.T, chain *modelel.Chain, el *modelel.EL, net *modelel.Network, story string) {
	t.Helper()
	var got, want []string
	for line := range strings.Lines(story) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		want = append(want, line)
		command, _, _ := strings.Cut(line, " → ")
		got = append(got, perform(t, chain, el, net, command))
	}
	require.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}

func perform(t *testing.T, chain *modelel.Chain, el *modelel.EL, net *modelel.Network, command string) string {
	t.Helper()
	find := func(name string) modelel.Block {
		b, err := chain.Find(name)
		require.NoError(t, err)
		return b
	}
	words := strings.Fields(command)
	switch words[0] {
	case "newPayload", "FCU", "byNumber", "byHash", "byLabel":
		el.Log().Take()
		call(t, chain, el, command)
		return strings.TrimSpace(modelel.Lines(el.Log().Take()))
	case "labels":
		return "labels " + el.String()
	case "restart":
		el.Restart()
	case "rewind":
		n, err := strconv.ParseUint(words[1], 10, 64)
		require.NoError(t, err)
		el.Rewind(n)
	case "invalid":
		el.MarkInvalid(find(words[1]).Hash())
	case "drop":
		el.DropState(find(words[2]).Hash())
	case "publish":
		for _, name := range words[1:] {
			net.Publish(find(name))
		}
	case "complete":
		return fmt.Sprintf("%s → %v", command, el.CompleteSync())
	case "advance":
		n, err := strconv.Atoi(words[2])
		require.NoError(t, err)
		return fmt.Sprintf("%s → %v", command, el.AdvanceSync(n))
	default:
		t.Fatalf("unknown command %q", command)
	}
	return command
}

// call makes an engine call from the way a log shows it. The name "?" stands for a block that nobody has.
func call(t *testing.T, chain *modelel.Chain, el modelel.Engine, command string) {
	t.Helper()
	find := func(name string) (modelel.Block, error) {
		if name == "?" {
			return modelel.Block{Ref: eth.L2BlockRef{Hash: unknown}}, nil
		}
		return chain.Find(name)
	}
	require.NoError(t, modelel.Perform(context.Background(), el, find, command))
}

// unknown is a hash that no block has; chains call it "?".
var unknown = common.HexToHash("0xdead")

// world is a chain with a fork b that shares blocks up to 3 with the main branch.
func world(opts ...modelel.ChainOption) *modelel.Chain {
	chain := modelel.NewChain(opts...)
	chain.L2().Fork("b", 3)
	chain.Call(unknown, "?")
	return chain
}
