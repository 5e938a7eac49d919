package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/blobstore"
	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/fakebeacon"
	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/geth"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/node"

	"github.com/lightcl/op-node/ops/devnet/closer"
)

// L1 is the devnet's Ethereum: geth, a fake proof-of-stake driver that makes a block every block time, and a fake
// beacon API that serves blobs. Its methods may be called from any goroutine.
type L1 struct {
	inst   *geth.GethInstance
	beacon *fakebeacon.FakeBeacon

	mu     sync.Mutex // one change of the chain at a time
	pos    *geth.FakePoS
	paused bool
}

func startL1(o Options, c *chain, cleanup *closer.Closer) (*L1, error) {
	beacon := fakebeacon.NewBeacon(o.Log.New("service", "l1-beacon"), blobstore.New(), c.l1.Timestamp, o.l1Seconds())
	if err := beacon.Start("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start L1 beacon: %w", err)
	}
	// Its Close closes the listener twice and so always fails.
	cleanup.AddFunc("L1 beacon", func() { _ = beacon.Close() })

	blobs := filepath.Join(o.Dir, "l1-blobpool")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return nil, fmt.Errorf("blob pool: %w", err)
	}
	inst, pos, err := geth.InitL1(o.l1Seconds(), o.FinalizedDistance, c.l1, posClock{clock.SystemClock}, blobs, beacon, quietGeth)
	if err != nil {
		return nil, fmt.Errorf("create L1 geth: %w", err)
	}
	cleanup.AddErr("L1 geth", inst.Close)
	if err := inst.Node.Start(); err != nil {
		return nil, fmt.Errorf("start L1 geth: %w", err)
	}
	return &L1{inst: inst, beacon: beacon, pos: pos}, nil
}

// WS is the websocket RPC endpoint; new heads can be subscribed to.
func (l *L1) WS() string { return l.inst.Node.WSEndpoint() }

// HTTP is the HTTP RPC endpoint.
func (l *L1) HTTP() string { return l.inst.Node.HTTPEndpoint() }

// Beacon is the beacon API's base URL.
func (l *L1) Beacon() string { return l.beacon.BeaconAddr() }

// Head is the newest block.
func (l *L1) Head() eth.BlockID { return headerID(l.inst.Backend.BlockChain().CurrentBlock()) }

// Canonical is the block at a height, or false if L1 has not come that far.
func (l *L1) Canonical(number uint64) (eth.BlockID, bool) {
	header := l.inst.Backend.BlockChain().GetHeaderByNumber(number)
	if header == nil {
		return eth.BlockID{}, false
	}
	return headerID(header), true
}

// Finalized is the newest final block; before there is one it is the genesis block.
func (l *L1) Finalized() eth.BlockID {
	blocks := l.inst.Backend.BlockChain()
	if final := blocks.CurrentFinalBlock(); final != nil {
		return headerID(final)
	}
	return headerID(blocks.Genesis().Header())
}

// Pause stops block production until Resume.
func (l *L1) Pause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.produce(false)
}

// Resume continues block production after Pause; missed blocks are made up for at once.
func (l *L1) Resume() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.produce(true)
}

// Reorg abandons the newest depth blocks and lets another fork grow from what is left. It returns the common
// ancestor and the head that was abandoned. Finalized blocks cannot be abandoned. While L1 is paused the other fork
// waits for Resume.
func (l *L1) Reorg(depth uint64) (ancestor, abandoned eth.BlockID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	producing := !l.paused
	if err := l.produce(false); err != nil {
		return eth.BlockID{}, eth.BlockID{}, err
	}
	ancestor, abandoned, err = l.rewind(depth)
	return ancestor, abandoned, errors.Join(err, l.produce(producing))
}

// produce starts or stops block production, if it is not so already.
func (l *L1) produce(on bool) error {
	if on == !l.paused {
		return nil
	}
	change := l.pos.Stop
	if on {
		change = l.pos.Start
	}
	if err := change(); err != nil {
		return fmt.Errorf("L1 block production: %w", err)
	}
	l.paused = !on
	return nil
}

func (l *L1) rewind(depth uint64) (ancestor, abandoned eth.BlockID, err error) {
	abandoned = l.Head()
	if final := l.Finalized(); abandoned.Number < final.Number+depth {
		return eth.BlockID{}, eth.BlockID{}, fmt.Errorf("reorg of %d blocks at head %d would cross finalized %d", depth, abandoned.Number, final.Number)
	}
	blocks := l.inst.Backend.BlockChain()
	base := blocks.GetBlockByNumber(abandoned.Number - depth)
	if base == nil {
		return eth.BlockID{}, eth.BlockID{}, fmt.Errorf("L1 has no block %d", abandoned.Number-depth)
	}
	if _, err := blocks.SetCanonical(base); err != nil {
		return eth.BlockID{}, eth.BlockID{}, fmt.Errorf("rewind L1 to %d: %w", base.NumberU64(), err)
	}
	return eth.BlockID{Hash: base.Hash(), Number: base.NumberU64()}, abandoned, nil
}

func headerID(h *types.Header) eth.BlockID {
	return eth.BlockID{Hash: h.Hash(), Number: h.Number.Uint64()}
}

// quietGeth keeps an embedded geth from opening a discovery port on every interface and from warning of each block.
func quietGeth(cfg *ethconfig.Config, nodeCfg *node.Config) error {
	cfg.SlowBlockThreshold = -1
	nodeCfg.P2P.NoDiscovery = true
	return nil
}

// posClock is the clock of the fake proof-of-stake driver. The driver seals a block as soon as its time has come,
// but geth fills the block in the background: sealed at once, it would hold no transaction. So a wait is never
// shorter than minSealDelay, and the driver looks often enough to start in time.
type posClock struct{ clock.Clock }

const (
	minSealDelay = 300 * time.Millisecond
	maxPosTick   = 100 * time.Millisecond
)

func (c posClock) NewTimer(d time.Duration) clock.Timer {
	return c.Clock.NewTimer(max(d, minSealDelay))
}

func (c posClock) NewTicker(d time.Duration) clock.Ticker {
	return c.Clock.NewTicker(min(d, maxPosTick))
}
