package stack

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multiaddr"
)

// outbox takes the blocks a sequencer makes, until gossip carries them away. It stands between the driver and the
// P2P node because each of the two needs the other to be built.
type outbox chan *eth.ExecutionPayloadEnvelope

func newOutbox() outbox { return make(outbox, 64) }

// SignAndPublishL2Payload leaves a block for gossip and does not wait for it.
func (o outbox) SignAndPublishL2Payload(ctx context.Context, block *eth.ExecutionPayloadEnvelope) error {
	select {
	case o <- block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	default:
		return fmt.Errorf("gossip does not keep up: block %s dropped", block.ExecutionPayload.ID())
	}
}

// publish signs and gossips the blocks of the outbox until ctx ends.
func (o outbox) publish(ctx context.Context, out p2p.GossipOut, signer p2p.Signer, logger log.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case block := <-o:
			if err := out.SignAndPublishL2Payload(ctx, block, signer); err != nil && ctx.Err() == nil {
				logger.Warn("Block not gossiped", "block", block.ExecutionPayload.ID(), "err", err)
			}
		}
	}
}

// discard empties the outbox until ctx ends.
func (o outbox) discard(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o:
		}
	}
}

// gossipConfig is a libp2p host on a free loopback port that dials its static peers and discovers nobody.
func gossipConfig(cfg *rollup.Config, static []string) (*p2p.Config, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	priv, err := libp2pcrypto.UnmarshalSecp256k1PrivateKey(crypto.FromECDSA(key))
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	peers := make([]multiaddr.Multiaddr, len(static))
	for i, addr := range static {
		if peers[i], err = multiaddr.NewMultiaddr(addr); err != nil {
			return nil, fmt.Errorf("static peer %q: %w", addr, err)
		}
	}
	scoring, err := p2p.GetScoringParams("light", cfg.BlockTime)
	if err != nil {
		return nil, fmt.Errorf("peer scoring: %w", err)
	}
	return &p2p.Config{
		Priv:                     priv.(*libp2pcrypto.Secp256k1PrivateKey),
		NoDiscovery:              true,
		ListenIP:                 net.IPv4(127, 0, 0, 1),
		StaticPeers:              peers,
		ScoringParams:            scoring,
		HostMux:                  []libp2p.Option{p2p.YamuxC(), p2p.MplexC()},
		HostSecurity:             []libp2p.Option{p2p.NoiseC()},
		PeersLo:                  20,
		PeersHi:                  30,
		PeersGrace:               30 * time.Second,
		MeshD:                    p2p.DefaultMeshD,
		MeshDLo:                  p2p.DefaultMeshDlo,
		MeshDHi:                  p2p.DefaultMeshDhi,
		MeshDLazy:                p2p.DefaultMeshDlazy,
		GossipTimestampThreshold: time.Minute,
		UserAgent:                version,
		TimeoutNegotiation:       10 * time.Second,
		TimeoutAccept:            10 * time.Second,
		TimeoutDial:              10 * time.Second,
		Store:                    dssync.MutexWrap(ds.NewMapDatastore()),
	}, nil
}

// gossipNode is what startGossip needs of the node it serves.
type gossipNode struct {
	rollup  *rollup.Config
	log     log.Logger
	metrics *metrics.Metrics
	blocks  p2p.SyncDeriver
	signers p2p.GossipRuntimeConfig
	outbox  outbox
	key     *ecdsa.PrivateKey
}

// startGossip joins the block gossip until ctx ends or the node is closed. It returns the P2P node and the address
// others dial it by.
func startGossip(ctx context.Context, n gossipNode, l2 p2p.L2Chain, static []string) (*p2p.NodeP2P, string, error) {
	cfg, err := gossipConfig(n.rollup, static)
	if err != nil {
		return nil, "", err
	}
	receiver := p2p.NewBlockReceiver(n.log, n.metrics, n.blocks, nil)
	node, err := p2p.NewNodeP2P(ctx, n.rollup, n.log, cfg, receiver, l2, n.signers, n.metrics, clock.SystemClock)
	if err != nil {
		return nil, "", fmt.Errorf("start gossip: %w", err)
	}
	if n.key != nil {
		go n.outbox.publish(ctx, node.GossipOut(), p2p.Signer(opsigner.NewLocalSigner(n.key)), n.log)
	}
	host := node.Host()
	return node, fmt.Sprintf("%s/p2p/%s", host.Addrs()[0], host.ID()), nil
}
