package l1chain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

func header(number uint64) *types.Header {
	return &types.Header{
		Number:     new(big.Int).SetUint64(number),
		Time:       1000 + 12*number,
		Difficulty: new(big.Int),
		BaseFee:    big.NewInt(7),
		UncleHash:  types.EmptyUncleHash,
	}
}

func refOf(h *types.Header) eth.L1BlockRef {
	return eth.L1BlockRef{Hash: h.Hash(), Number: h.Number.Uint64(), ParentHash: h.ParentHash, Time: h.Time}
}

type l1Call struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// serveL1 is an L1 endpoint that answers each call by a function and notes the calls of each HTTP request.
func serveL1(t *testing.T, answer func(number string) string) (*RPCFetcher, *[][]string, *RPCFetcher) {
	var requests [][]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var calls []l1Call
		single := json.Unmarshal(body, &calls) != nil
		if single {
			calls = make([]l1Call, 1)
			if err := json.Unmarshal(body, &calls[0]); err != nil {
				t.Errorf("unreadable request %s", body)
			}
		}
		var numbers, replies []string
		for _, call := range calls {
			if call.Method != "eth_getBlockByNumber" || len(call.Params) != 2 || string(call.Params[1]) != "false" {
				t.Errorf("unexpected call %s", body)
			}
			number := strings.Trim(string(call.Params[0]), `"`)
			numbers = append(numbers, number)
			replies = append(replies, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, call.ID, answer(number)))
		}
		requests = append(requests, numbers)
		reply := strings.Join(replies, ",")
		if !single {
			reply = "[" + reply + "]"
		}
		_, _ = io.WriteString(w, reply)
	}))
	t.Cleanup(server.Close)
	dialled, err := rpc.Dial(server.URL)
	require.NoError(t, err)
	t.Cleanup(dialled.Close)
	wrapped := client.NewBaseRPCClient(dialled)
	return NewRPCFetcher(wrapped, false), &requests, NewRPCFetcher(wrapped, true)
}

func encode(h *types.Header) string {
	data, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestRPCFetcher(t *testing.T) {
	good := func(number string) string {
		var n uint64
		if _, err := fmt.Sscanf(number, "0x%x", &n); err != nil {
			return `"error":{"code":-32602,"message":"bad number"}`
		}
		if n > 50 {
			return `"result":null`
		}
		return `"result":` + encode(header(n))
	}
	ctx := context.Background()

	t.Run("one batch, aligned, missing ones are zero", func(t *testing.T) {
		fetcher, requests, _ := serveL1(t, good)
		refs, err := fetcher.Fetch(ctx, []uint64{20, 51, 7})
		require.NoError(t, err)
		require.Equal(t, []eth.L1BlockRef{refOf(header(20)), {}, refOf(header(7))}, refs)
		require.Equal(t, [][]string{{"0x14", "0x33", "0x7"}}, *requests)
	})
	t.Run("a single one is a plain call", func(t *testing.T) {
		fetcher, requests, _ := serveL1(t, good)
		refs, err := fetcher.Fetch(ctx, []uint64{0})
		require.NoError(t, err)
		require.Equal(t, []eth.L1BlockRef{refOf(header(0))}, refs)
		refs, err = fetcher.Fetch(ctx, []uint64{51})
		require.NoError(t, err)
		require.Equal(t, []eth.L1BlockRef{{}}, refs)
		require.Equal(t, [][]string{{"0x0"}, {"0x33"}}, *requests)
	})
	t.Run("a wrong hash counts only if the endpoint is trusted", func(t *testing.T) {
		lie := func(number string) string {
			return strings.Replace(good(number), `"gasLimit":"0x0"`, `"gasLimit":"0x1"`, 1)
		}
		fetcher, _, trusting := serveL1(t, lie)
		_, err := fetcher.Fetch(ctx, []uint64{20, 21})
		require.ErrorContains(t, err, "L1 header 20")
		refs, err := trusting.Fetch(ctx, []uint64{20, 21})
		require.NoError(t, err)
		require.Equal(t, []eth.L1BlockRef{refOf(header(20)), refOf(header(21))}, refs)
	})
	failures := map[string]struct {
		answer func(string) string
		want   string
	}{
		"another number":      {func(string) string { return good("0x9") }, "asked L1 for block 20 and got block 9"},
		"an error":            {func(string) string { return `"error":{"code":-32005,"message":"limit exceeded"}` }, "limit exceeded"},
		"a header of rubbish": {func(string) string { return `"result":{"number":[1]}` }, "fetching"},
		"not even that":       {func(string) string { return `"result":17` }, "fetching"},
	}
	for name, test := range failures {
		t.Run(name, func(t *testing.T) {
			fetcher, _, trusting := serveL1(t, test.answer)
			for _, numbers := range [][]uint64{{20}, {20, 21}} {
				_, err := fetcher.Fetch(ctx, numbers)
				require.ErrorContains(t, err, test.want)
				_, err = trusting.Fetch(ctx, numbers)
				require.ErrorContains(t, err, test.want)
			}
		})
	}
	t.Run("part of a batch fails", func(t *testing.T) {
		fetcher, _, _ := serveL1(t, func(number string) string {
			if number == "0x15" {
				return `"error":{"code":-32000,"message":"try later"}`
			}
			return good(number)
		})
		refs, err := fetcher.Fetch(ctx, []uint64{20, 21, 22})
		require.ErrorContains(t, err, "block 21: try later")
		require.Equal(t, []eth.L1BlockRef{refOf(header(20)), {}, refOf(header(22))}, refs)
	})
	t.Run("the endpoint is gone", func(t *testing.T) {
		fetcher, _, _ := serveL1(t, good)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_, err := fetcher.Fetch(gone, []uint64{20, 21})
		require.ErrorIs(t, err, context.Canceled)
	})
}
