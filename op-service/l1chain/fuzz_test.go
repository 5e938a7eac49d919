package l1chain

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// canned is an L1 endpoint that answers every call with the same bytes.
type canned struct {
	client.RPC
	result []byte
}

func (c canned) CallContext(_ context.Context, result any, _ string, _ ...any) error {
	return json.Unmarshal(c.result, result)
}

func (c canned) BatchCallContext(_ context.Context, batch []rpc.BatchElem) error {
	for i := range batch {
		batch[i].Error = json.Unmarshal(c.result, batch[i].Result)
	}
	return nil
}

// FuzzFetch gives the fetcher any answer: it fails, or the blocks are those that were asked for.
func FuzzFetch(f *testing.F) {
	good, err := json.Marshal(header(7))
	require.NoError(f, err)
	for _, seed := range []string{string(good), `null`, `{}`, `{"number":"0x7"}`, `{"number":"0x7","hash":"0x12"}`, `[]`, `"0x"`, `{"number":7}`} {
		f.Add([]byte(seed), uint64(7), false)
		f.Add([]byte(seed), uint64(7), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, number uint64, trust bool) {
		fetcher := NewRPCFetcher(canned{result: data}, trust)
		for _, numbers := range [][]uint64{{number}, {number, number}} {
			refs, err := fetcher.Fetch(t.Context(), numbers)
			if err != nil {
				require.Empty(t, refs)
				continue
			}
			require.Len(t, refs, len(numbers))
			for _, ref := range refs {
				if ref != (eth.L1BlockRef{}) {
					require.Equal(t, number, ref.Number)
				}
			}
		}
	})
}
