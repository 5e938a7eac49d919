package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/geth"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/lightcl/op-node/ops/devnet/closer"
)

// EL is one op-geth, in memory. Its methods may be called from any goroutine.
type EL struct {
	inst    *geth.GethInstance
	jwtPath string
}

// ELHeads are the labels an execution engine gives its chain. A label it does not know yet is zero.
type ELHeads struct {
	Unsafe, Safe, Finalized eth.BlockID
}

// startEL starts an op-geth. Peers, when not nil, are dialled over devp2p, and it listens for others itself.
func startEL(name string, c *chain, jwtPath string, devP2P bool, peers []*EL, cleanup *closer.Closer) (*EL, error) {
	opts := []geth.GethOption{quietGeth}
	if devP2P {
		static := make([]*enode.Node, len(peers))
		for i, peer := range peers {
			static[i] = peer.inst.Node.Server().Self()
		}
		opts = append(opts, peerWith(static))
	}
	inst, err := geth.InitL2(name, c.l2, jwtPath, opts...)
	if err != nil {
		return nil, fmt.Errorf("create op-geth of %s: %w", name, err)
	}
	cleanup.AddErr("op-geth of "+name, inst.Close)
	if err := inst.Node.Start(); err != nil {
		return nil, fmt.Errorf("start op-geth of %s: %w", name, err)
	}
	return &EL{inst: inst, jwtPath: jwtPath}, nil
}

func peerWith(static []*enode.Node) geth.GethOption {
	return func(_ *ethconfig.Config, cfg *node.Config) error {
		cfg.P2P = p2p.Config{
			NoDiscovery: true,
			ListenAddr:  "127.0.0.1:0",
			MaxPeers:    25,
			StaticNodes: static,
		}
		return nil
	}
}

// AuthHTTP is the engine API over HTTP; it wants the JWT secret of JWTPath.
func (e *EL) AuthHTTP() string { return e.inst.Node.HTTPAuthEndpoint() }

// AuthWS is the engine API over a websocket; it wants the JWT secret of JWTPath.
func (e *EL) AuthWS() string { return e.inst.Node.WSAuthEndpoint() }

// HTTP is the public RPC endpoint.
func (e *EL) HTTP() string { return e.inst.Node.HTTPEndpoint() }

// WS is the public RPC endpoint as a websocket.
func (e *EL) WS() string { return e.inst.Node.WSEndpoint() }

// JWTPath is the file with the engine API's secret.
func (e *EL) JWTPath() string { return e.jwtPath }

// Peers is the number of devp2p connections.
func (e *EL) Peers() int { return e.inst.Node.Server().PeerCount() }

// Heads are the labels as the engine itself holds them, read without RPC.
func (e *EL) Heads() ELHeads {
	blocks := e.inst.Backend.BlockChain()
	id := func(h *types.Header) eth.BlockID {
		if h == nil {
			return eth.BlockID{}
		}
		return headerID(h)
	}
	return ELHeads{
		Unsafe:    id(blocks.CurrentBlock()),
		Safe:      id(blocks.CurrentSafeBlock()),
		Finalized: id(blocks.CurrentFinalBlock()),
	}
}

// Canonical is the engine's block at a height, or false if its chain is shorter.
func (e *EL) Canonical(number uint64) (eth.BlockID, bool) {
	header := e.inst.Backend.BlockChain().GetHeaderByNumber(number)
	if header == nil {
		return eth.BlockID{}, false
	}
	return headerID(header), true
}

// Lose takes the engine's newest blocks away, as a crash does before they were written.
func (e *EL) Lose(blocks uint64) error {
	chain := e.inst.Backend.BlockChain()
	head := chain.CurrentBlock().Number.Uint64()
	if blocks > head {
		return fmt.Errorf("lose %d blocks of %d", blocks, head)
	}
	return chain.SetHead(head - blocks)
}

// Isolate ends the engine's devp2p for good: no other engine can help it out from then on.
func (e *EL) Isolate() { e.inst.Node.Server().Stop() }

// awaitPeers waits until the engine has at least n devp2p connections.
func (e *EL) awaitPeers(ctx context.Context, n int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for e.Peers() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d devp2p peers: %w", e.Peers(), n, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
