package sources

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// records serves look-ups as upstream's types are encoded, and notes the arguments of each.
func records(t *testing.T, answer any) (c *FollowClient, arguments *[]string) {
	arguments = new([]string)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var call struct{ Params json.RawMessage }
		if err := json.Unmarshal(body, &call); err != nil {
			t.Error(err)
		}
		*arguments = append(*arguments, string(call.Params))
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,`+toJSON(t, answer)[1:])
	}), arguments
}

func TestRecords(t *testing.T) {
	c, arguments := records(t, map[string]any{"result": eth.SafeHeadResponse{L1Block: l1Block(7).ID(), SafeHead: l2Block(9).ID()}})
	for _, hops := range []Hops{Untold, 0, MaxHops} {
		head, err := c.SafeHeadAtL1(t.Context(), 16, hops)
		require.NoError(t, err)
		require.Equal(t, SafeHead{L1: l1Block(7).ID(), L2: l2Block(9).ID()}, head)
	}
	require.Equal(t, []string{`["0x10"]`, `["0x10","0x0"]`, `["0x10","0x3"]`}, *arguments)

	chain := eth.ChainIDFromUInt64(10)
	output := &eth.OutputV0{BlockHash: l2Block(9).Hash}
	super := eth.SuperRootAtTimestampResponse{OptimisticAtTimestamp: map[eth.ChainID]eth.OutputWithRequiredL1{
		chain: {Output: output, OutputRoot: eth.OutputRoot(output), RequiredL1: l1Block(7).ID()},
	}}
	c, arguments = records(t, map[string]any{"result": super})
	required, found, err := c.RequiredL1(t.Context(), 1018, chain, 1)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, RequiredL1{L2: l2Block(9).Hash, L1: l1Block(7).ID()}, required)
	require.Equal(t, []string{`["0x3fa","0x1"]`}, *arguments)
	_, found, err = c.RequiredL1(t.Context(), 1018, eth.ChainIDFromUInt64(11), Untold)
	require.NoError(t, err)
	require.False(t, found)

	for code, want := range map[int]error{methodNotFound: ErrMethodMissing, invalidParams: ErrArguments} {
		c, _ = records(t, map[string]any{"error": map[string]any{"code": code, "message": "no"}})
		_, err = c.SafeHeadAtL1(t.Context(), 16, 1)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, err, ErrFetch)
	}
}

func TestDecodeRequiredL1Refuses(t *testing.T) {
	for doc, want := range map[string]string{
		`null`: "null",
		`{"optimistic_at_timestamp":{"10":{"required_l1":{}}}}`:                                      "output.blockHash is missing",
		`{"optimistic_at_timestamp":{"10":{"output":{"blockHash":"` + common.Hash{1}.Hex() + `"}}}}`: "required_l1: missing",
		`{"optimistic_at_timestamp":[]}`:                                                             "array",
	} {
		_, _, err := decodeRequiredL1([]byte(doc), eth.ChainIDFromUInt64(10))
		require.ErrorContains(t, err, want)
	}
}

func TestHopsLeft(t *testing.T) {
	require.Equal(t, MaxHops, HopsLeft(t.Context()), "a client that does not say")
	require.Equal(t, MaxHops, HopsLeft(WithHops(t.Context(), nil)))
	for said, want := range map[hexutil.Uint64]Hops{0: 0, 1: 1, 3: 3, 4: 3, 1<<64 - 1: 3} {
		require.Equal(t, want, HopsLeft(WithHops(t.Context(), &said)))
	}
}
