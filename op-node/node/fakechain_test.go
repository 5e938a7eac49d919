package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"

	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/config"
)

const (
	l1ID = 900
	l2ID = 901
)

// fakeChain is an endpoint that knows one block, its genesis.
type fakeChain struct {
	id      atomic.Int64
	genesis *types.Header
	asked   atomic.Int64
}

func newFakeChain(id int64, at uint64) *fakeChain {
	c := &fakeChain{genesis: &types.Header{
		Difficulty: new(big.Int), Number: new(big.Int), BaseFee: big.NewInt(1), GasLimit: 30_000_000, Time: at,
		UncleHash: types.EmptyUncleHash, TxHash: types.EmptyTxsHash, ReceiptHash: types.EmptyReceiptsHash, Root: types.EmptyRootHash,
	}}
	c.id.Store(id)
	return c
}

// ChainId serves eth_chainId.
func (c *fakeChain) ChainId() *hexutil.Big { return (*hexutil.Big)(big.NewInt(c.id.Load())) }

// GetBlockByNumber serves eth_getBlockByNumber.
func (c *fakeChain) GetBlockByNumber(number rpc.BlockNumber, _ bool) map[string]any {
	c.asked.Add(1)
	if number > 0 {
		return nil
	}
	data, err := json.Marshal(c.genesis)
	if err != nil {
		panic(err)
	}
	block := map[string]any{"transactions": []any{}, "uncles": []any{}}
	if err := json.Unmarshal(data, &block); err != nil {
		panic(err)
	}
	return block
}

// GetBlockByHash serves eth_getBlockByHash.
func (c *fakeChain) GetBlockByHash(hash common.Hash, full bool) map[string]any {
	if hash != c.genesis.Hash() {
		return nil
	}
	return c.GetBlockByNumber(0, full)
}

// GetStorageAt serves eth_getStorageAt: the unsafe block signer of the fake chain.
func (c *fakeChain) GetStorageAt(common.Address, common.Hash, string) common.Hash {
	return common.Hash{31: 1}
}

// fakeEngine is an engine API that finds everything valid.
type fakeEngine struct{}

// ForkchoiceUpdatedV3 serves engine_forkchoiceUpdatedV3.
func (fakeEngine) ForkchoiceUpdatedV3(state eth.ForkchoiceState, _ *eth.PayloadAttributes) eth.ForkchoiceUpdatedResult {
	return eth.ForkchoiceUpdatedResult{PayloadStatus: eth.PayloadStatusV1{Status: eth.ExecutionValid, LatestValidHash: &state.HeadBlockHash}}
}

// world is what a node is surrounded by.
type world struct {
	l1, l2 *fakeChain
	beacon atomic.Int64 // requests
	cfg    *config.Config
}

// newWorld starts fakes of L1, beacon API and execution layer, and makes the options of a node that belongs there.
func newWorld(t *testing.T) *world {
	now := uint64(time.Now().Unix())
	w := &world{l1: newFakeChain(l1ID, now-2), l2: newFakeChain(l2ID, now)}
	w.cfg = config.Default()
	w.cfg.Chain = config.Chain{Rollup: w.rollup(), L1: &params.ChainConfig{ChainID: big.NewInt(l1ID)}}
	w.cfg.L1.URL = serve(t, map[string]any{"eth": w.l1})
	w.cfg.L1.TrustRPC = true
	w.cfg.L2.URL = serve(t, map[string]any{"eth": w.l2, "engine": fakeEngine{}})
	beacon := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.beacon.Add(1)
		_, _ = rw.Write([]byte(`{"data":{"genesis_time":"1"}}`))
	}))
	t.Cleanup(beacon.Close)
	w.cfg.Beacon.URL = beacon.URL
	w.cfg.RPC.ListenAddr, w.cfg.RPC.ListenPort = "127.0.0.1", 0
	key, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	require.NoError(t, err)
	w.cfg.P2P.Identity = key.(*crypto.Secp256k1PrivateKey)
	w.cfg.P2P.Listen = config.Listen{IP: net.IPv4(127, 0, 0, 1)}
	w.cfg.P2P.Peers.StorePath = config.InMemory
	w.cfg.P2P.Discovery = config.Discovery{Disabled: true, Path: config.InMemory}
	w.cfg.Sync.OffsetELSafe = 0
	return w
}

func (w *world) rollup() *rollup.Config {
	genesis := uint64(0)
	denominator := uint64(250)
	return &rollup.Config{
		Genesis: rollup.Genesis{
			L1: eth.BlockID{Hash: w.l1.genesis.Hash()}, L2: eth.BlockID{Hash: w.l2.genesis.Hash()}, L2Time: w.l2.genesis.Time,
			SystemConfig: eth.SystemConfig{BatcherAddr: common.Address{1}, Scalar: eth.Bytes32{31: 1}, GasLimit: 30_000_000},
		},
		BlockTime: 1, MaxSequencerDrift: 600, SeqWindowSize: 100, ChannelTimeoutBedrock: 50,
		L1ChainID: big.NewInt(l1ID), L2ChainID: big.NewInt(l2ID),
		RegolithTime: &genesis, CanyonTime: &genesis, DeltaTime: &genesis, EcotoneTime: &genesis,
		BatchInboxAddress: common.Address{2}, DepositContractAddress: common.Address{3}, L1SystemConfigAddress: common.Address{4},
		ChainOpConfig: &opparams.OptimismConfig{EIP1559Elasticity: 6, EIP1559Denominator: 50, EIP1559DenominatorCanyon: &denominator},
	}
}

// serve runs a JSON-RPC server with the given namespaces for the time of the test.
func serve(t *testing.T, namespaces map[string]any) (url string) {
	server := rpc.NewServer()
	t.Cleanup(server.Stop)
	for name, service := range namespaces {
		require.NoError(t, server.RegisterName(name, service))
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	return web.URL
}

// call asks a node.
func call(ctx context.Context, url string, result any, method string, args ...any) error {
	client, err := rpc.DialContext(ctx, url)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.CallContext(ctx, result, method, args...)
}
