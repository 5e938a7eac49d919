package sources

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

func l2Block(number uint64) eth.L2BlockRef {
	return eth.L2BlockRef{
		Hash:           common.Hash{0x22, byte(number)},
		Number:         number,
		ParentHash:     common.Hash{0x22, byte(number - 1)},
		Time:           1000 + 2*number,
		L1Origin:       eth.BlockID{Hash: common.Hash{0x11, byte(number / 6)}, Number: number / 6},
		SequenceNumber: number % 6,
	}
}

func l1Block(number uint64) eth.L1BlockRef {
	return eth.L1BlockRef{
		Hash:       common.Hash{0x11, byte(number)},
		Number:     number,
		ParentHash: common.Hash{0x11, byte(number - 1)},
		Time:       1000 + 12*number,
	}
}

// fullStatus is what a deriving node reports.
func fullStatus() eth.SyncStatus {
	return eth.SyncStatus{
		CurrentL1:          l1Block(30),
		CurrentL1Finalized: l1Block(10),
		HeadL1:             l1Block(31),
		SafeL1:             l1Block(20),
		FinalizedL1:        l1Block(10),
		UnsafeL2:           l2Block(190),
		SafeL2:             l2Block(150),
		FinalizedL2:        l2Block(60),
		PendingSafeL2:      l2Block(151),
		LocalSafeL2:        l2Block(152),
	}
}

func needed(s eth.SyncStatus) follow.Status {
	return follow.Status{Safe: s.SafeL2, LocalSafe: s.LocalSafeL2, Finalized: s.FinalizedL2, CurrentL1: s.CurrentL1}
}

func toJSON(t testing.TB, v any) string {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

// edit returns the full status with one value replaced, or left out if it is "". The path is dotted.
func edit(t testing.TB, path, value string) string {
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(toJSON(t, fullStatus())), &doc))
	keys := strings.Split(path, ".")
	at := doc
	for _, key := range keys[:len(keys)-1] {
		at = at[key].(map[string]any)
	}
	last := keys[len(keys)-1]
	require.Contains(t, at, last)
	if value == "" {
		delete(at, last)
	} else {
		at[last] = json.RawMessage(value)
	}
	return toJSON(t, doc)
}

func TestDecodeStatus(t *testing.T) {
	want := needed(fullStatus())
	status, err := decodeStatus([]byte(toJSON(t, fullStatus())))
	require.NoError(t, err)
	require.Equal(t, want, status)

	zeroHash := `"0x0000000000000000000000000000000000000000000000000000000000000000"`
	for field, forget := range map[string]func(*follow.Status){
		"current_l1":    func(s *follow.Status) { s.CurrentL1 = eth.L1BlockRef{} },
		"safe_l2":       func(s *follow.Status) { s.Safe = eth.L2BlockRef{} },
		"local_safe_l2": func(s *follow.Status) { s.LocalSafe = eth.L2BlockRef{} },
		"finalized_l2":  func(s *follow.Status) { s.Finalized = eth.L2BlockRef{} },
	} {
		expected := want
		forget(&expected)
		for name, doc := range map[string]string{
			"missing":      edit(t, field, ""),
			"null":         edit(t, field, "null"),
			"empty":        edit(t, field, "{}"),
			"no hash":      edit(t, field+".hash", ""),
			"null hash":    edit(t, field+".hash", "null"),
			"zero hash":    edit(t, field+".hash", zeroHash),
			"all the zero": edit(t, field, `{"hash":`+zeroHash+`,"number":0}`),
		} {
			t.Run(field+" "+name+" is unknown", func(t *testing.T) {
				status, err := decodeStatus([]byte(doc))
				require.NoError(t, err)
				require.Equal(t, expected, status)
			})
		}
	}
	t.Run("an empty object is all unknown", func(t *testing.T) {
		status, err := decodeStatus([]byte(`{}`))
		require.NoError(t, err)
		require.Equal(t, follow.Status{}, status)
	})
	t.Run("what is not needed may be anything", func(t *testing.T) {
		for _, field := range []string{"unsafe_l2", "head_l1", "pending_safe_l2", "safe_l1", "finalized_l1", "current_l1_finalized"} {
			status, err := decodeStatus([]byte(edit(t, field, `"rubbish"`)))
			require.NoError(t, err)
			require.Equal(t, want, status)
		}
	})
	t.Run("the largest number", func(t *testing.T) {
		status, err := decodeStatus([]byte(edit(t, "safe_l2.number", "9223372036854775807")))
		require.NoError(t, err)
		require.Equal(t, uint64(math.MaxInt64), status.Safe.Number)
	})
}

func TestDecodeStatusRefuses(t *testing.T) {
	for _, test := range []struct{ name, doc, want string }{
		{"nothing", ``, "empty or cut off"},
		{"null", `null`, "null"},
		{"an array", `[]`, "array"},
		{"a string", `"0x"`, "string"},
		{"cut off", `{"safe_l2":`, "empty or cut off"},
		{"more after the end", toJSON(t, fullStatus()) + `{}`, "after top-level value"},
		{"a ref of the wrong type", edit(t, "safe_l2", `[]`), "safe_l2"},
		{"a number as text", edit(t, "safe_l2.number", `"150"`), "string"},
		{"a negative number", edit(t, "local_safe_l2.number", `-1`), "number -1"},
		{"a fraction", edit(t, "finalized_l2.number", `1.5`), "number 1.5"},
		{"an exponent", edit(t, "finalized_l2.number", `1e3`), "number 1e3"},
		{"a number out of range", edit(t, "current_l1.number", `9223372036854775808`), "current_l1: number is out of range"},
		{"a number beyond 64 bits", edit(t, "current_l1.number", `18446744073709551616`), "number 18446744073709551616"},
		{"no number", edit(t, "safe_l2.number", ``), "safe_l2: number is missing"},
		{"no timestamp", edit(t, "safe_l2.timestamp", `null`), "safe_l2: timestamp is missing"},
		{"no parent", edit(t, "current_l1.parentHash", ``), "current_l1: parentHash is missing"},
		{"no origin", edit(t, "safe_l2.l1origin", ``), "safe_l2: l1origin is missing"},
		{"an origin without a hash", edit(t, "safe_l2.l1origin.hash", ``), "safe_l2: l1origin is missing"},
		{"an origin without a number", edit(t, "safe_l2.l1origin.number", ``), "safe_l2: l1origin: number is missing"},
		{"no sequence number", edit(t, "safe_l2.sequenceNumber", ``), "safe_l2: sequenceNumber is missing"},
		{"a hash that is too short", edit(t, "safe_l2.hash", `"0x1234"`), "length"},
		{"a hash without prefix", edit(t, "safe_l2.hash", `"`+strings.Repeat("12", 32)+`"`), "prefix"},
		{"a hash of the wrong type", edit(t, "safe_l2.hash", `12`), "Hash"},
		{"deep nesting", `{"other":` + strings.Repeat("[", 20000), "depth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, err := decodeStatus([]byte(test.doc))
			require.ErrorContains(t, err, test.want)
			require.Zero(t, status)
		})
	}
	t.Run("a long text does not get into the error", func(t *testing.T) {
		_, err := decodeStatus([]byte(edit(t, "safe_l2.number", strings.Repeat("9", 5000))))
		require.Error(t, err)
		require.Less(t, len(err.Error()), 2*maxErrorText)
	})
}

func rollupConfig() *rollup.Config {
	cfg := &rollup.Config{
		Genesis:   rollup.Genesis{L1: l1Block(3).ID(), L2: l2Block(0).ID(), L2Time: 1000},
		BlockTime: 2,
		L1ChainID: eth.ChainIDFromUInt64(1).ToBig(),
		L2ChainID: eth.ChainIDFromUInt64(10).ToBig(),
	}
	return cfg
}

func TestDecodeIdentity(t *testing.T) {
	want := Identity{
		L1ChainID: eth.ChainIDFromUInt64(1),
		L2ChainID: eth.ChainIDFromUInt64(10),
		GenesisL1: l1Block(3).ID(),
		GenesisL2: l2Block(0).ID(),
	}
	doc := toJSON(t, rollupConfig())
	id, err := decodeIdentity([]byte(doc))
	require.NoError(t, err)
	require.Equal(t, want, id)
	require.Equal(t, want, IdentityOf(rollupConfig()))

	for _, test := range []struct{ name, old, new, want string }{
		{"null", doc, `null`, "null"},
		{"no genesis", `"genesis"`, `"begin"`, "genesis is missing"},
		{"no L1 chain id", `"l1_chain_id":1`, `"l1_chain_id":null`, "l1_chain_id: missing"},
		{"no L2 chain id", `"l2_chain_id":10`, `"other":10`, "l2_chain_id: missing"},
		{"a negative chain id", `"l2_chain_id":10`, `"l2_chain_id":-10`, "l2_chain_id: not a chain id"},
		{"an endless chain id", `"l2_chain_id":10`, `"l2_chain_id":1` + strings.Repeat("0", 90), "l2_chain_id: not a chain id"},
		{"a chain id as text", `"l2_chain_id":10`, `"l2_chain_id":"ten"`, "big.Int"},
		{"no L1 genesis", `"l1":{`, `"l3":{`, "genesis.l1: missing"},
		{"no L2 genesis", `"l2":{`, `"l3":{`, "genesis.l2: missing"},
		{"a genesis without a number", `"number":3`, `"n":3`, "genesis.l1: number is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Contains(t, doc, test.old)
			_, err := decodeIdentity([]byte(strings.Replace(doc, test.old, test.new, 1)))
			require.ErrorContains(t, err, test.want)
		})
	}
}

// FuzzDecodeStatus: nothing makes the decoder panic, and what it lets through is well-formed and survives a round trip.
func FuzzDecodeStatus(f *testing.F) {
	f.Add([]byte(toJSON(f, fullStatus())))
	f.Fuzz(func(t *testing.T, data []byte) {
		status, err := decodeStatus(data)
		if err != nil {
			require.Zero(t, status)
			require.Less(t, len(err.Error()), 2*maxErrorText)
			return
		}
		for _, ref := range []eth.L2BlockRef{status.Safe, status.LocalSafe, status.Finalized} {
			if ref.Hash == (common.Hash{}) {
				require.Zero(t, ref)
				continue
			}
			require.NotZero(t, ref.L1Origin.Hash)
			require.LessOrEqual(t, max(ref.Number, ref.Time, ref.L1Origin.Number, ref.SequenceNumber), uint64(math.MaxInt64))
		}
		if status.CurrentL1.Hash == (common.Hash{}) {
			require.Zero(t, status.CurrentL1)
		}
		again, err := decodeStatus([]byte(toJSON(t, eth.SyncStatus{
			CurrentL1: status.CurrentL1, SafeL2: status.Safe, LocalSafeL2: status.LocalSafe, FinalizedL2: status.Finalized,
		})))
		require.NoError(t, err)
		require.Equal(t, status, again)
	})
}

// The committed corpus holds an answer of each kind, so that a short run has something to start from.
func TestFuzzCorpusIsThere(t *testing.T) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzDecodeStatus/*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(seeds), 8)
	for _, seed := range seeds {
		data, err := os.ReadFile(seed)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(data), "go test fuzz v1\n"), seed)
	}
}
