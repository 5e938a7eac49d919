package stack

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum-optimism/optimism/op-core/eip1559"
	"github.com/ethereum-optimism/optimism/op-core/forks"
	nutstate "github.com/ethereum-optimism/optimism/op-core/nuts/state"
	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-core/predeploys"
	"github.com/ethereum-optimism/optimism/op-node/node/runcfg"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
)

const (
	l1ChainID = 900
	l2ChainID = 901

	l1GasLimit = 60_000_000
	l2GasLimit = 30_000_000

	eip1559Denominator = 250
	eip1559Elasticity  = 6
)

// lastFork is the newest protocol upgrade of the devnet; it and all before it are active from genesis.
const lastFork = forks.Karst

// Addresses that only have to exist and differ: nothing on this L1 has the bridge's code.
var (
	batchInboxAddr      = common.HexToAddress("0xff00000000000000000000000000000000000901")
	depositContractAddr = common.HexToAddress("0xde00000000000000000000000000000000000901")
	systemConfigAddr    = common.HexToAddress("0x5c00000000000000000000000000000000000901")
)

// chain is everything the components of one devnet must agree on before any of them starts.
type chain struct {
	l1      *core.Genesis
	l2      *core.Genesis
	rollup  *rollup.Config
	batcher *ecdsa.PrivateKey
	// sequencer signs unsafe blocks for gossip.
	sequencer *ecdsa.PrivateKey
}

// newChain composes both genesis blocks and the rollup config for a chain that begins at the given time.
func newChain(o Options, genesis time.Time) (*chain, error) {
	batcher, err := devKey("batcher")
	if err != nil {
		return nil, err
	}
	sequencer, err := devKey("sequencer")
	if err != nil {
		return nil, err
	}
	at := uint64(genesis.Unix())
	opChain := l2ChainConfig()
	l2, err := l2Genesis(opChain, at)
	if err != nil {
		return nil, err
	}
	c := &chain{
		l1:        l1Genesis(at, crypto.PubkeyToAddress(batcher.PublicKey), crypto.PubkeyToAddress(sequencer.PublicKey)),
		l2:        l2,
		batcher:   batcher,
		sequencer: sequencer,
	}
	c.rollup = rollupConfig(o, c, opChain)
	if err := c.rollup.Check(); err != nil {
		return nil, fmt.Errorf("rollup config: %w", err)
	}
	return c, nil
}

// devKey is a fixed key for a role. It guards nothing: every chain it signs for lives in one process's memory.
func devKey(role string) (*ecdsa.PrivateKey, error) {
	seed := sha256.Sum256([]byte("devnet/" + role))
	key, err := crypto.ToECDSA(seed[:])
	if err != nil {
		return nil, fmt.Errorf("key of the %s: %w", role, err)
	}
	return key, nil
}

func l1Genesis(at uint64, batcher, signer common.Address) *core.Genesis {
	zero := uint64(0)
	block := new(big.Int)
	ether := func(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(params.Ether)) }
	return &core.Genesis{
		Config: &params.ChainConfig{
			ChainID:        big.NewInt(l1ChainID),
			HomesteadBlock: block, EIP150Block: block, EIP155Block: block, EIP158Block: block,
			ByzantiumBlock: block, ConstantinopleBlock: block, PetersburgBlock: block, IstanbulBlock: block,
			MuirGlacierBlock: block, BerlinBlock: block, LondonBlock: block, ArrowGlacierBlock: block,
			GrayGlacierBlock: block, MergeNetsplitBlock: block, TerminalTotalDifficulty: new(big.Int),
			ShanghaiTime: &zero, CancunTime: &zero, PragueTime: &zero, OsakaTime: &zero,
			BlobScheduleConfig: params.DefaultBlobSchedule,
		},
		Timestamp:  at,
		GasLimit:   l1GasLimit,
		Difficulty: new(big.Int),
		BaseFee:    big.NewInt(params.GWei),
		Alloc: types.GenesisAlloc{
			batcher: {Balance: ether(1_000_000)},
			// The system config contract, as far as a rollup node reads its storage: who signs unsafe blocks.
			systemConfigAddr: {Balance: new(big.Int), Nonce: 1, Storage: map[common.Hash]common.Hash{
				runcfg.UnsafeBlockSignerAddressSystemConfigStorageSlot: common.BytesToHash(signer.Bytes()),
			}},
			params.BeaconRootsAddress:        {Balance: new(big.Int), Nonce: 1, Code: params.BeaconRootsCode},
			params.HistoryStorageAddress:     {Balance: new(big.Int), Nonce: 1, Code: params.HistoryStorageCode},
			params.WithdrawalQueueAddress:    {Balance: new(big.Int), Nonce: 1, Code: params.WithdrawalQueueCode},
			params.ConsolidationQueueAddress: {Balance: new(big.Int), Nonce: 1, Code: params.ConsolidationQueueCode},
		},
	}
}

func l2ChainConfig() *opparams.ChainConfig {
	canyonDenominator := uint64(eip1559Denominator)
	cfg := &opparams.ChainConfig{
		ChainID:      big.NewInt(l2ChainID),
		BedrockBlock: new(big.Int),
		Optimism: &opparams.OptimismConfig{
			EIP1559Elasticity:        eip1559Elasticity,
			EIP1559Denominator:       50,
			EIP1559DenominatorCanyon: &canyonDenominator,
		},
	}
	for _, fork := range activeForks() {
		if fork != forks.Delta { // without meaning to the execution layer
			cfg.SetActivationTime(fork, new(uint64))
		}
	}
	return cfg
}

// activeForks are the upgrades with an activation time, oldest first, up to lastFork.
func activeForks() []forks.Name {
	all := forks.From(forks.Regolith)
	for i, fork := range all {
		if fork == lastFork {
			return all[:i+1]
		}
	}
	return all
}

func l2Genesis(cfg *opparams.ChainConfig, at uint64) (*core.Genesis, error) {
	alloc, err := nutstate.PreForkState(forks.Next(lastFork))
	if err != nil {
		return nil, fmt.Errorf("predeploys: %w", err)
	}
	for addr, account := range alloc {
		if account.Balance == nil {
			account.Balance = new(big.Int)
			alloc[addr] = account
		}
	}
	return &core.Genesis{
		Config:     cfg.GethChainConfig(),
		Timestamp:  at,
		ExtraData:  eip1559.EncodeJovianExtraData(eip1559Denominator, eip1559Elasticity, 0),
		GasLimit:   l2GasLimit,
		Difficulty: new(big.Int),
		BaseFee:    big.NewInt(params.GWei),
		Coinbase:   predeploys.SequencerFeeVaultAddr,
		Alloc:      alloc,
	}, nil
}

func rollupConfig(o Options, c *chain, opChain *opparams.ChainConfig) *rollup.Config {
	l1, l2 := c.l1.ToBlock(), c.l2.ToBlock()
	cfg := &rollup.Config{
		Genesis: rollup.Genesis{
			L1:     eth.BlockID{Hash: l1.Hash(), Number: l1.NumberU64()},
			L2:     eth.BlockID{Hash: l2.Hash(), Number: l2.NumberU64()},
			L2Time: l2.Time(),
			SystemConfig: eth.SystemConfig{
				BatcherAddr: crypto.PubkeyToAddress(c.batcher.PublicKey),
				Scalar:      eth.EncodeScalar(eth.EcotoneScalars{BaseFeeScalar: 1368, BlobBaseFeeScalar: 810949}),
				GasLimit:    l2GasLimit,
			},
		},
		BlockTime:              o.l2Seconds(),
		MaxSequencerDrift:      1800,
		SeqWindowSize:          3600,
		ChannelTimeoutBedrock:  300,
		L1ChainID:              big.NewInt(l1ChainID),
		L2ChainID:              big.NewInt(l2ChainID),
		BatchInboxAddress:      batchInboxAddr,
		DepositContractAddress: depositContractAddr,
		L1SystemConfigAddress:  systemConfigAddr,
		ChainOpConfig:          opChain.Optimism,
	}
	for _, fork := range activeForks() {
		cfg.SetActivationTime(fork, new(uint64))
	}
	return cfg
}
