package modelel

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Geometry of a [Chain], unless options say otherwise.
const (
	// DefaultGenesisTime is the time of both genesis blocks, in Unix seconds: the instant at which the clock of a
	// testing/synctest bubble starts.
	DefaultGenesisTime = 946684800
	// DefaultL1BlockTime is the time between two L1 blocks, in seconds.
	DefaultL1BlockTime = 12
	// DefaultL2BlockTime is the time between two L2 blocks, in seconds.
	DefaultL2BlockTime = 2
)

// L1Block is an L1 block, as far as a rollup sees it.
type L1Block struct {
	Ref  eth.L1BlockRef
	Info eth.BlockInfo
}

// ID is the block's number and hash.
func (b L1Block) ID() eth.BlockID { return b.Ref.ID() }

// Block is an L2 block: what travels over gossip and the engine API, and the reference the rollup makes of it. The
// envelope is shared and must not be modified.
type Block struct {
	Ref      eth.L2BlockRef
	Envelope *eth.ExecutionPayloadEnvelope
}

// Hash is the block's hash; it is the true one, see eth.ExecutionPayloadEnvelope.CheckBlockHash.
func (b Block) Hash() common.Hash { return b.Ref.Hash }

// ID is the block's number and hash.
func (b Block) ID() eth.BlockID { return b.Ref.ID() }

// Chain is a rollup's world: one L1 and one L2 with any number of named forks of each. Everything in it follows from
// the options and the names, so two chains made alike contain the same blocks. Blocks have names for transcripts, see
// [Chain.Name]. A Chain is safe for concurrent use.
type Chain struct {
	cfg  *rollup.Config
	l1   *params.ChainConfig
	main struct {
		l1 *L1Branch
		l2 *Branch
	}
	l1BlockTime uint64

	mu    sync.Mutex // guards everything below, and the lines
	forks map[string]any
	names map[common.Hash]string
}

// ChainOption adjusts a [Chain].
type ChainOption func(*geometry)

type geometry struct {
	genesisTime, l1BlockTime, l2BlockTime uint64
}

// GenesisTime sets the time of both genesis blocks, in Unix seconds.
func GenesisTime(seconds uint64) ChainOption { return func(g *geometry) { g.genesisTime = seconds } }

// BlockTimes sets the times between two L1 blocks and between two L2 blocks, in seconds.
func BlockTimes(l1, l2 uint64) ChainOption {
	return func(g *geometry) { g.l1BlockTime, g.l2BlockTime = l1, l2 }
}

// NewChain makes the world that the options describe. All forks up to Jovian are active from genesis.
func NewChain(opts ...ChainOption) *Chain {
	g := geometry{DefaultGenesisTime, DefaultL1BlockTime, DefaultL2BlockTime}
	for _, opt := range opts {
		opt(&g)
	}
	c := &Chain{
		l1:          l1ChainConfig(),
		l1BlockTime: g.l1BlockTime,
		forks:       make(map[string]any),
		names:       make(map[common.Hash]string),
	}
	l1Genesis := newL1Block(L1Block{}, "", g.genesisTime)
	l2Genesis := newGenesis(g.genesisTime)
	c.cfg = rollupConfig(l1Genesis.ID(), l2Genesis.ExecutionPayload.ID(), g)

	c.main.l1 = &L1Branch{chain: c, line: line[L1Block]{mu: &c.mu, blocks: []L1Block{l1Genesis}}}
	c.main.l1.line.next = c.nextL1("")
	c.main.l2 = &Branch{chain: c, l1: c.main.l1, line: line[Block]{mu: &c.mu, blocks: []Block{c.block(l2Genesis)}}}
	c.main.l2.line.next = c.nextL2("", c.main.l1)
	c.names[l1Genesis.Ref.Hash] = l1Name(0, "")
	c.names[l2Genesis.ExecutionPayload.BlockHash] = l2Name(0, "")
	return c
}

// RollupConfig is the rollup configuration of the chain. It is shared and must not be modified.
func (c *Chain) RollupConfig() *rollup.Config { return c.cfg }

// L1ChainConfig is the L1 chain configuration that L1-info deposits are made with. It must not be modified.
func (c *Chain) L1ChainConfig() *params.ChainConfig { return c.l1 }

// Genesis is the L2 genesis block.
func (c *Chain) Genesis() Block { return c.main.l2.Block(c.cfg.Genesis.L2.Number) }

// L1 is the main branch of L1.
func (c *Chain) L1() *L1Branch { return c.main.l1 }

// L2 is the main branch of L2; its origins are on the main branch of L1.
func (c *Chain) L2() *Branch { return c.main.l2 }

// Block is the L2 block of the main branch with the given number.
func (c *Chain) Block(number uint64) Block { return c.main.l2.Block(number) }

// Extend puts one block for each origin on top of parent. The salt tells such blocks from others with the same parent
// and origins. The blocks belong to no branch; [Chain.Call] can give them names.
func (c *Chain) Extend(parent Block, salt string, origins ...L1Block) []Block {
	out := make([]Block, 0, len(origins))
	for _, origin := range origins {
		parent = c.child(parent, salt, origin)
		out = append(out, parent)
	}
	return out
}

// NewEL makes an engine that holds the genesis of this chain and knows the names of its blocks.
func (c *Chain) NewEL(opts ...Option) *EL {
	return New(c.cfg, c.Genesis().Envelope, append([]Option{Named(c.Name)}, opts...)...)
}

// Name says in a few letters which block a hash belongs to: "15" is an L2 block of the main branch, "15b" the one on
// fork b, "L7" and "L7b" are L1 blocks, "-" is the zero hash. Other hashes are abbreviated.
func (c *Chain) Name(hash common.Hash) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name, ok := c.names[hash]; ok {
		return name
	}
	return shortHash(hash)
}

// Call names a block that is on no branch, such as one that an engine built.
func (c *Chain) Call(hash common.Hash, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[hash] = name
}

// Find returns the L2 block with a name of the form "15" or "15b", see [Chain.Name].
func (c *Chain) Find(name string) (Block, error) {
	number, fork, err := splitName(name)
	if err != nil {
		return Block{}, err
	}
	branch, err := c.Branch(fork)
	if err != nil {
		return Block{}, err
	}
	return branch.Block(number), nil
}

// Branch returns the version of L2 with a name; the main branch has the empty name.
func (c *Chain) Branch(name string) (*Branch, error) {
	if name == "" {
		return c.main.l2, nil
	}
	branch, ok := c.fork("", name).(*Branch)
	if !ok {
		return nil, fmt.Errorf("L2 has no fork %q", name)
	}
	return branch, nil
}

// FindL1 returns the L1 block with a name of the form "L7" or "L7b", see [Chain.Name].
func (c *Chain) FindL1(name string) (L1Block, error) {
	rest, ok := strings.CutPrefix(name, l1Prefix)
	if !ok {
		return L1Block{}, fmt.Errorf("%q does not name an L1 block", name)
	}
	number, fork, err := splitName(rest)
	if err != nil {
		return L1Block{}, err
	}
	branch, err := c.L1Branch(fork)
	if err != nil {
		return L1Block{}, err
	}
	return branch.Block(number), nil
}

// L1Branch returns the version of L1 with a name; the main branch has the empty name.
func (c *Chain) L1Branch(name string) (*L1Branch, error) {
	if name == "" {
		return c.main.l1, nil
	}
	branch, ok := c.fork(l1Prefix, name).(*L1Branch)
	if !ok {
		return nil, fmt.Errorf("L1 has no fork %q", name)
	}
	return branch, nil
}

// Fork is the fork in the name of a block or an L1 block, see [Chain.Name]: "b" of 15b and of L7b.
func Fork(name string) string { return strings.TrimLeft(name, l1Prefix+"0123456789") }

func (c *Chain) forkL1(base *L1Branch, name string, last uint64) *L1Branch {
	b := &L1Branch{chain: c, line: line[L1Block]{mu: &c.mu, name: name, base: &base.line, first: last + 1}}
	b.line.next = c.nextL1(name)
	c.register(l1Prefix, name, b)
	return b
}

func (c *Chain) forkL2(base *Branch, name string, last uint64, l1 *L1Branch) *Branch {
	b := &Branch{chain: c, l1: l1, line: line[Block]{mu: &c.mu, name: name, base: &base.line, first: last + 1}}
	b.line.next = c.nextL2(name, l1)
	c.register("", name, b)
	return b
}

// register panics on names that transcripts could not tell apart: that is a mistake in a test, not a condition.
func (c *Chain) register(prefix, name string, branch any) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
		panic(fmt.Sprintf("modelel: fork name %q is not made of lower-case letters", name))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.forks[prefix+name]; taken {
		panic(fmt.Sprintf("modelel: fork name %q is taken", name))
	}
	c.forks[prefix+name] = branch
}

func (c *Chain) fork(prefix, name string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.forks[prefix+name]
}

func (c *Chain) nextL1(fork string) func(L1Block) L1Block {
	return func(parent L1Block) L1Block {
		b := newL1Block(parent, fork, parent.Ref.Time+c.l1BlockTime)
		c.names[b.Ref.Hash] = l1Name(b.Ref.Number, fork)
		return b
	}
}

// nextL2 makes blocks whose origin is the newest L1 block that is not younger than the L2 block, advancing by one at
// most.
func (c *Chain) nextL2(fork string, l1 *L1Branch) func(Block) Block {
	return func(parent Block) Block {
		newest := (parent.Ref.Time + c.cfg.BlockTime - c.cfg.Genesis.L2Time) / c.l1BlockTime
		origin := min(parent.Ref.L1Origin.Number+1, newest)
		b := c.child(parent, fork, l1.line.at(max(origin, parent.Ref.L1Origin.Number)))
		c.names[b.Ref.Hash] = l2Name(b.Ref.Number, fork)
		return b
	}
}

func rollupConfig(l1, l2 eth.BlockID, g geometry) *rollup.Config {
	active := uint64(0)
	return &rollup.Config{
		Genesis: rollup.Genesis{
			L1: l1, L2: l2, L2Time: g.genesisTime,
			SystemConfig: eth.SystemConfig{
				BatcherAddr: common.HexToAddress("0xba7c4e5"),
				Scalar:      eth.EncodeScalar(eth.EcotoneScalars{BaseFeeScalar: 1368, BlobBaseFeeScalar: 810949}),
				GasLimit:    gasLimit,
			},
		},
		BlockTime:              g.l2BlockTime,
		MaxSequencerDrift:      1800,
		SeqWindowSize:          3600,
		ChannelTimeoutBedrock:  300,
		L1ChainID:              big.NewInt(900),
		L2ChainID:              big.NewInt(901),
		RegolithTime:           &active,
		CanyonTime:             &active,
		DeltaTime:              &active,
		EcotoneTime:            &active,
		FjordTime:              &active,
		GraniteTime:            &active,
		HoloceneTime:           &active,
		IsthmusTime:            &active,
		JovianTime:             &active,
		BatchInboxAddress:      common.HexToAddress("0xff00000000000000000000000000000000000901"),
		DepositContractAddress: common.HexToAddress("0xde90517"),
		L1SystemConfigAddress:  common.HexToAddress("0x5c0f19"),
		ChainOpConfig: &opparams.OptimismConfig{
			EIP1559Elasticity: elasticity, EIP1559Denominator: denominator, EIP1559DenominatorCanyon: ptr(denominator),
		},
	}
}

func l1ChainConfig() *params.ChainConfig {
	cfg := *params.AllDevChainProtocolChanges
	cfg.ChainID = big.NewInt(900)
	return &cfg
}

func newL1Block(parent L1Block, fork string, time uint64) L1Block {
	header := &types.Header{
		UncleHash:        types.EmptyUncleHash,
		TxHash:           types.EmptyTxsHash,
		ReceiptHash:      types.EmptyReceiptsHash,
		Difficulty:       new(big.Int),
		Number:           new(big.Int),
		GasLimit:         gasLimit,
		Time:             time,
		Extra:            []byte("L1 " + fork),
		BaseFee:          big.NewInt(params.GWei),
		WithdrawalsHash:  &types.EmptyWithdrawalsHash,
		BlobGasUsed:      new(uint64),
		ExcessBlobGas:    new(uint64),
		ParentBeaconRoot: new(common.Hash),
		RequestsHash:     &types.EmptyRequestsHash,
	}
	if parent.Info != nil {
		header.ParentHash = parent.Ref.Hash
		header.Number.SetUint64(parent.Ref.Number + 1)
		*header.ParentBeaconRoot = crypto.Keccak256Hash(parent.Ref.Hash[:])
		header.MixDigest = crypto.Keccak256Hash([]byte(fork), parent.Info.MixDigest().Bytes())
	}
	info := eth.HeaderBlockInfo(header)
	return L1Block{Ref: eth.InfoToL1BlockRef(info), Info: info}
}

const l1Prefix = "L"

func l1Name(number uint64, fork string) string { return l1Prefix + l2Name(number, fork) }
func l2Name(number uint64, fork string) string { return strconv.FormatUint(number, 10) + fork }

func splitName(name string) (number uint64, fork string, err error) {
	digits := strings.TrimRight(name, "abcdefghijklmnopqrstuvwxyz")
	number, err = strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("%q does not name a block", name)
	}
	return number, name[len(digits):], nil
}

func shortHash(hash common.Hash) string {
	if hash == (common.Hash{}) {
		return "-"
	}
	return hash.TerminalString()
}

func ptr[T any](v T) *T { return &v }
