package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-core/eip1559"
	"github.com/ethereum-optimism/optimism/op-core/forks"
	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-core/predeploys"
	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/geth"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// modelWorld is a chain that op-geth made, block by block, for op-geth and its model to be told of.
type modelWorld struct {
	chain    *modelel.Chain // its L1 is this chain's L1
	cfg      *rollup.Config
	genesis  *core.Genesis
	blocks   map[string]modelel.Block
	order    []string // of blocks, parents first
	names    map[common.Hash]string
	producer *realEL
}

var modelJWT = [32]byte{1}

func newModelWorld(t *testing.T) *modelWorld {
	t.Helper()
	w := &modelWorld{
		chain:  modelel.NewChain(),
		blocks: make(map[string]modelel.Block),
		names:  map[common.Hash]string{{}: "-"},
	}
	cfg := *w.chain.RollupConfig()
	w.genesis = modelGenesis(&cfg)
	genesis := w.genesis.ToBlock()
	cfg.Genesis.L2 = eth.BlockID{Hash: genesis.Hash(), Number: genesis.NumberU64()}
	require.NoError(t, cfg.Check())
	w.cfg = &cfg
	envelope, err := eth.BlockAsPayloadEnv(genesis, w.cfg)
	require.NoError(t, err)
	w.add(t, "0", envelope)
	w.producer = w.startReal(t, listening)

	for n := 1; n <= 8; n++ {
		w.produce(t, fmt.Sprint(n), fmt.Sprint(n-1))
	}
	w.produce(t, "4b", "3")
	w.produce(t, "5b", "4b")
	w.produce(t, "6b", "5b")
	w.produce(t, "7b", "6b")
	w.produce(t, "6c", "5")
	w.produce(t, "7c", "6c")
	w.produce(t, "8c", "7c")
	w.spoil(t, "5x", "5", func(p *eth.ExecutionPayload) { p.StateRoot = eth.Bytes32{1} })
	w.spoil(t, "6x", "6", func(p *eth.ExecutionPayload) { p.ParentHash = w.blocks["5x"].Hash() })
	w.blocks["?"] = modelel.Block{Ref: eth.L2BlockRef{Hash: common.Hash{0xff}}}
	w.names[common.Hash{0xff}] = "?"
	w.order = append(w.order, "?")
	return w
}

// modelGenesis is the L2 genesis with the forks of cfg and as good as no state.
func modelGenesis(cfg *rollup.Config) *core.Genesis {
	chainCfg := &opparams.ChainConfig{ChainID: cfg.L2ChainID, BedrockBlock: new(big.Int), Optimism: cfg.ChainOpConfig}
	for _, fork := range forks.From(forks.Regolith) {
		if fork != forks.Delta && cfg.IsForkActive(fork, cfg.Genesis.L2Time) {
			chainCfg.SetActivationTime(fork, new(uint64))
		}
	}
	return &core.Genesis{
		Config:     chainCfg.GethChainConfig(),
		Timestamp:  cfg.Genesis.L2Time,
		ExtraData:  eip1559.EncodeJovianExtraData(250, 6, 0),
		GasLimit:   cfg.Genesis.SystemConfig.GasLimit,
		Difficulty: new(big.Int),
		BaseFee:    big.NewInt(params.InitialBaseFee),
		Coinbase:   predeploys.SequencerFeeVaultAddr,
		Alloc: types.GenesisAlloc{
			// Its storage root is the withdrawals root of a block, which may not be that of an empty trie.
			predeploys.L2ToL1MessagePasserAddr: {
				Balance: new(big.Int), Nonce: 1, Storage: map[common.Hash]common.Hash{{}: {1}},
			},
		},
	}
}

func (w *modelWorld) add(t *testing.T, name string, envelope *eth.ExecutionPayloadEnvelope) {
	t.Helper()
	ref, err := derive.PayloadToBlockRef(w.cfg, envelope.ExecutionPayload)
	require.NoError(t, err)
	_, ok := envelope.CheckBlockHash()
	require.True(t, ok)
	w.blocks[name] = modelel.Block{Ref: ref, Envelope: envelope}
	w.names[ref.Hash] = name
	w.order = append(w.order, name)
}

// produce lets the producer build a block, and remember it.
func (w *modelWorld) produce(t *testing.T, name, parent string) {
	t.Helper()
	attr := w.attributes(w.blocks[parent], name)
	head := w.blocks[parent].Hash()
	res, err := w.producer.client.ForkchoiceUpdate(t.Context(), &eth.ForkchoiceState{HeadBlockHash: head}, attr)
	require.NoError(t, err)
	envelope, err := w.producer.client.GetPayload(t.Context(), eth.PayloadInfo{ID: *res.PayloadID, Timestamp: uint64(attr.Timestamp)})
	require.NoError(t, err)
	status, err := w.producer.client.NewPayload(t.Context(), envelope.ExecutionPayload, envelope.ParentBeaconBlockRoot)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, status.Status)
	w.add(t, name, envelope)
}

// spoil remembers a changed copy of a block.
func (w *modelWorld) spoil(t *testing.T, name, like string, change func(*eth.ExecutionPayload)) {
	t.Helper()
	payload := *w.blocks[like].Envelope.ExecutionPayload
	change(&payload)
	envelope := &eth.ExecutionPayloadEnvelope{
		ParentBeaconBlockRoot: w.blocks[like].Envelope.ParentBeaconBlockRoot, ExecutionPayload: &payload,
	}
	payload.BlockHash, _ = envelope.CheckBlockHash()
	w.add(t, name, envelope)
}

// attributes ask for a child; the name tells it from its siblings.
func (w *modelWorld) attributes(parent modelel.Block, name string) *eth.PayloadAttributes {
	sequence := parent.Ref.SequenceNumber + 1
	origin := w.chain.L1().Block(0)
	time := parent.Ref.Time + w.cfg.BlockTime
	deposit, err := derive.L1InfoDepositBytes(w.cfg, w.chain.L1ChainConfig(), w.cfg.Genesis.SystemConfig, sequence, origin.Info, time)
	if err != nil {
		panic(err)
	}
	gasLimit := eth.Uint64Quantity(w.cfg.Genesis.SystemConfig.GasLimit)
	attr := &eth.PayloadAttributes{
		Timestamp:             eth.Uint64Quantity(time),
		SuggestedFeeRecipient: predeploys.SequencerFeeVaultAddr,
		Withdrawals:           &types.Withdrawals{},
		ParentBeaconBlockRoot: new(common.Hash),
		Transactions:          []eth.Data{deposit},
		NoTxPool:              true,
		GasLimit:              &gasLimit,
		EIP1559Params:         new(eth.Bytes8),
		MinBaseFee:            new(uint64),
	}
	copy(attr.PrevRandao[:], name)
	return attr
}

// extraData is what a block built of the attributes has to carry.
func (w *modelWorld) extraData(attr *eth.PayloadAttributes) []byte {
	denominator, elasticity := eip1559.DecodeHolocene1559Params(attr.EIP1559Params[:])
	if denominator == 0 {
		denominator, elasticity = 250, 6
	}
	return eip1559.EncodeJovianExtraData(denominator, elasticity, 0)
}

func (w *modelWorld) find(name string) (modelel.Block, error) {
	b, ok := w.blocks[name]
	if !ok {
		return b, fmt.Errorf("no block %q", name)
	}
	return b, nil
}

func (w *modelWorld) name(hash common.Hash) string {
	if name, ok := w.names[hash]; ok {
		return name
	}
	return hash.TerminalString()
}

// ancestor goes back some blocks, to genesis at most.
func (w *modelWorld) ancestor(hash common.Hash, back int) common.Hash {
	for range back {
		if parent := w.blocks[w.name(hash)].Ref.ParentHash; parent != (common.Hash{}) {
			hash = parent
		}
	}
	return hash
}

// conflict says whether no chain contains both blocks.
func (w *modelWorld) conflict(a, b modelel.Block) bool {
	if a.Ref.Number < b.Ref.Number {
		a, b = b, a
	}
	return w.ancestor(a.Hash(), int(a.Ref.Number-b.Ref.Number)) != b.Hash()
}

// realEL is an op-geth.
type realEL struct {
	w      *modelWorld
	jwt    string
	opts   []geth.GethOption
	inst   *geth.GethInstance
	client *sources.EngineClient
}

func (w *modelWorld) startReal(t *testing.T, opts ...geth.GethOption) *realEL {
	t.Helper()
	r := &realEL{w: w, jwt: filepath.Join(t.TempDir(), "jwt"), opts: append([]geth.GethOption{quiet}, opts...)}
	require.NoError(t, os.WriteFile(r.jwt, []byte(hex.EncodeToString(modelJWT[:])), 0o600))
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// quiet keeps an op-geth from looking for peers, from complaining about every block, and from an index of logs that makes
// it slow to start on a database.
func quiet(cfg *ethconfig.Config, nodeCfg *node.Config) error {
	cfg.SlowBlockThreshold = -1
	cfg.LogNoHistory = true
	nodeCfg.P2P = p2p.Config{NoDiscovery: true}
	return nil
}

// onDisk lets an op-geth keep its database when it restarts. It also gives it a freezer, which drops blocks that do not
// descend from finalized, and keeps what it has frozen canonical. The model has none.
func onDisk(t *testing.T) geth.GethOption {
	dir := t.TempDir()
	return func(_ *ethconfig.Config, cfg *node.Config) error {
		cfg.DataDir = dir
		return nil
	}
}

func (r *realEL) start(t *testing.T) {
	t.Helper()
	var err error
	r.inst, err = geth.InitL2("model", r.w.genesis, r.jwt, r.opts...)
	require.NoError(t, err)
	require.NoError(t, r.inst.Node.Start())
	r.connect(t)
}

// connect makes a client without memory of blocks that may be gone.
func (r *realEL) connect(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	lgr := log.NewLogger(log.DiscardHandler())
	conn, err := client.NewRPC(ctx, lgr, r.inst.Node.WSAuthEndpoint(),
		client.WithGethRPCOptions(rpc.WithHTTPAuth(node.NewJWTAuth(modelJWT))))
	require.NoError(t, err)
	r.client, err = sources.NewEngineClient(conn, lgr, nil, sources.EngineClientDefaultConfig(r.w.cfg))
	require.NoError(t, err)
}

func (r *realEL) stop(t *testing.T) {
	r.client.L2Client.Close()
	require.NoError(t, r.inst.Close())
}

// listening lets an op-geth accept peers.
func listening(_ *ethconfig.Config, cfg *node.Config) error {
	cfg.P2P.ListenAddr, cfg.P2P.MaxPeers = "127.0.0.1:0", 10
	return nil
}

func peerOf(other *realEL) geth.GethOption {
	return func(_ *ethconfig.Config, cfg *node.Config) error {
		cfg.P2P.MaxPeers = 1
		cfg.P2P.StaticNodes = []*enode.Node{other.inst.Node.Server().Self()}
		return nil
	}
}

// hasPeer says whether there is a peer that the sync can ask for blocks.
func (r *realEL) hasPeer() bool {
	for _, peer := range r.inst.Node.Server().PeersInfo() {
		if eth, ok := peer.Protocols["eth"]; ok && eth != "handshake" {
			return true
		}
	}
	return false
}

func snapSync(cfg *ethconfig.Config, _ *node.Config) error {
	cfg.SyncMode = ethconfig.SnapSync
	cfg.SnapshotCache = 16
	return nil
}

// modelPair is op-geth and its model, at the same point of the same story.
type modelPair struct {
	w        *modelWorld
	real     *realEL
	realLog  *modelel.Recorder
	model    *modelel.EL
	modelLog *modelel.Recorder
	story    []string
}

// newPair starts both on genesis, without peers.
func (w *modelWorld) newPair(t *testing.T, opts ...geth.GethOption) *modelPair {
	t.Helper()
	return w.pair(w.startReal(t, opts...))
}

// newSnapPair starts both on genesis, without peers, and about to snap sync.
func (w *modelWorld) newSnapPair(t *testing.T) *modelPair {
	t.Helper()
	return w.pair(w.startReal(t, onDisk(t), snapSync), modelel.SnapSync())
}

// newPeeredPair starts both on genesis, with a peer whose head is the given block.
func (w *modelWorld) newPeeredPair(t *testing.T, head string, opts ...geth.GethOption) *modelPair {
	t.Helper()
	_, err := w.producer.client.ForkchoiceUpdate(t.Context(), &eth.ForkchoiceState{HeadBlockHash: w.blocks[head].Hash()}, nil)
	require.NoError(t, err)
	net := modelel.NewNetwork()
	for hash := w.blocks[head].Hash(); w.name(hash) != "0"; hash = w.ancestor(hash, 1) {
		net.Publish(w.blocks[w.name(hash)])
	}
	modelOpts := []modelel.Option{modelel.WithNetwork(net)}
	if len(opts) > 0 {
		modelOpts = append(modelOpts, modelel.SnapSync())
	}
	p := w.pair(w.startReal(t, append(opts, peerOf(w.producer))...), modelOpts...)
	require.Eventually(t, p.real.hasPeer, 20*time.Second, 10*time.Millisecond)
	return p
}

func (w *modelWorld) pair(real *realEL, opts ...modelel.Option) *modelPair {
	model := modelel.New(w.cfg, w.blocks["0"].Envelope, append(opts, modelel.Named(w.name))...)
	model.MarkInvalid(w.blocks["5x"].Hash())
	model.MarkInvalid(w.blocks["6x"].Hash())
	return &modelPair{
		w:        w,
		real:     real,
		realLog:  modelel.NewRecorder(real.client, w.name),
		model:    model,
		modelLog: modelel.NewRecorder(model, w.name),
	}
}

func (p *modelPair) realHead() common.Hash {
	return p.real.inst.Backend.BlockChain().CurrentBlock().Hash()
}

func (p *modelPair) performReal(t *testing.T, command string) string {
	t.Helper()
	switch {
	case command == "restart":
		p.real.stop(t)
		p.real.start(t)
		p.realLog = modelel.NewRecorder(p.real.client, p.w.name)
		return command
	case strings.HasPrefix(command, "rewind "):
		require.NoError(t, p.real.inst.Backend.BlockChain().SetHead(number(t, command)))
		p.real.client.L2Client.Close()
		p.real.connect(t)
		p.realLog = modelel.NewRecorder(p.real.client, p.w.name)
		return command
	}
	for {
		line := p.call(t, p.realLog, command)
		if !strings.HasSuffix(line, "→ error -32000") {
			return line
		}
		// While it turns from one sync target to the next, op-geth refuses yet another one for a moment. See
		// modelel.Reaiming.
		time.Sleep(time.Millisecond)
	}
}

func (p *modelPair) performModel(t *testing.T, command string) string {
	t.Helper()
	switch {
	case command == "restart":
		p.model.Restart()
		return command
	case strings.HasPrefix(command, "rewind "):
		p.model.Rewind(number(t, command))
		return command
	}
	return p.call(t, p.modelLog, command)
}

func (p *modelPair) call(t *testing.T, engine *modelel.Recorder, command string) string {
	t.Helper()
	if parent, ok := strings.CutPrefix(command, "build on "); ok {
		state := &eth.ForkchoiceState{HeadBlockHash: p.w.blocks[parent].Hash()}
		_, _ = engine.ForkchoiceUpdate(t.Context(), state, p.w.attributes(p.w.blocks[parent], "new"))
	} else {
		require.NoError(t, modelel.Perform(t.Context(), engine, p.w.find, command))
	}
	return strings.TrimSpace(modelel.Lines(engine.Log().Take()))
}

func number(t *testing.T, command string) (n uint64) {
	t.Helper()
	_, err := fmt.Sscanf(command, "rewind %d", &n)
	require.NoError(t, err)
	return n
}
