package sources

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// What a source tells beside its status is decoded by the targets below: whatever it sends, the answer is either an error
// of bounded length and nothing else, or complete.

func FuzzDecodeIdentity(f *testing.F) {
	for _, seed := range []string{
		`{"genesis":{"l1":{"hash":"0x01000000000000000000000000000000000000000000000000000000000000aa","number":1},"l2":{"hash":"0x02000000000000000000000000000000000000000000000000000000000000aa","number":0}},"l1_chain_id":1,"l2_chain_id":10}`,
		`{"genesis":{}}`, `{"genesis":null,"l1_chain_id":-1}`, `{"l1_chain_id":1e400}`, `null`, `[]`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := decodeIdentity(data)
		if err != nil {
			require.Zero(t, id)
			require.Less(t, len(err.Error()), 2*maxErrorText)
			return
		}
		require.NotZero(t, id.GenesisL1.Hash)
		require.NotZero(t, id.GenesisL2.Hash)
	})
}

func FuzzDecodeLineage(f *testing.F) {
	for _, seed := range []string{`{"id":"a","path":["a","b"]}`, `{"id":"a"}`, `{"id":"","path":[]}`, `{"path":[1]}`, `null`, `"x"`, `{"id":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lineage, err := decodeLineage(data)
		if err != nil {
			require.Zero(t, lineage)
			require.Less(t, len(err.Error()), 2*maxErrorText)
			return
		}
		require.NotEmpty(t, lineage.ID)
		require.LessOrEqual(t, len(lineage.Path), MaxPath)
		for _, id := range lineage.IDs() {
			require.NotEmpty(t, id)
			require.LessOrEqual(t, len(id), maxIDBytes)
			require.Equal(t, id, clip(id))
		}
	})
}

func FuzzDecodeUpdate(f *testing.F) {
	for _, seed := range []string{
		`{"version":"v","status":{},"id":"a","path":["a"]}`, `{"version":"","status":{}}`, `{"version":"v","status":null}`, `null`, `[]`,
		`{"version":"v","status":{"current_l1":{"hash":"0x01000000000000000000000000000000000000000000000000000000000000aa","number":1}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := decodeUpdate(data)
		if err != nil {
			require.Zero(t, u)
			require.Less(t, len(err.Error()), 2*maxErrorText)
			return
		}
		require.NotEmpty(t, u.Version)
		require.LessOrEqual(t, len(u.Version), maxIDBytes)
		require.NotEqual(t, u.LineageErr == nil, u.Lineage.ID == "")
	})
}

func FuzzDecodeHistory(f *testing.F) {
	for _, seed := range []string{
		`{"l1Block":{"hash":"0x01000000000000000000000000000000000000000000000000000000000000aa","number":1},"safeHead":{"hash":"0x02000000000000000000000000000000000000000000000000000000000000aa","number":7}}`,
		`{"l1Block":{"number":1}}`, `{"safeHead":null}`, `null`, `0`,
		`{"current_l1":{"hash":"0x01000000000000000000000000000000000000000000000000000000000000aa","number":1},"optimistic_at_timestamp":{"10":{"output":null,"required_l1":{"number":3}}},"chain_ids":[10]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if head, err := decodeSafeHead(data); err == nil {
			require.NotZero(t, head.L1.Hash)
			require.NotZero(t, head.L2.Hash)
		} else {
			require.Less(t, len(err.Error()), 4*maxErrorText)
		}
		required, found, err := decodeRequiredL1(data, eth.ChainIDFromUInt64(10))
		switch {
		case err != nil:
			require.Less(t, len(err.Error()), 2*maxErrorText)
			require.False(t, found)
		case found:
			require.NotZero(t, required.L1.Hash)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"id":"1","error":{"code":-32601,"message":"no"}}`, `{"id":null,"error":{}}`,
		`{"method":"x"}`, `[]`, `null`, `{"id":1,"id":2,"result":1}`, `{"error":{"code":1e9}}`, `{"Result":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, got, err := decodeAnswer(data)
		if err != nil {
			require.Zero(t, got)
			require.Less(t, len(err.Error()), 2*maxErrorText)
			return
		}
		require.True(t, got.err != nil || got.result != nil)
	})
}
