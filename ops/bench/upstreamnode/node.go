package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multiaddr"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/node/runcfg"
	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/ops/bench/l1feed"
	"github.com/lightcl/op-node/ops/bench/upstream"
	"github.com/lightcl/op-node/ops/devnet/closer"
)

// node is what is built up, piece by piece, by start. It belongs to one goroutine.
type node struct {
	o       options
	log     log.Logger
	cleanup closer.Closer
	failed  chan error

	rollup  *rollup.Config
	l1Chain *params.ChainConfig
	metrics *metrics.Metrics
	l1      *sources.L1Client
	engine  *sources.EngineClient
	driver  *upstream.Node
}

// start does things in the order in which upstream's op-node does them.
func (n *node) start(ctx context.Context) error {
	n.metrics = metrics.NewMetrics("upstream", nil)
	if err := n.readConfigs(); err != nil {
		return err
	}
	if err := n.dial(ctx); err != nil {
		return err
	}
	if err := n.newDriver(ctx); err != nil {
		return err
	}
	n.cleanup.AddFunc("L1 feed", l1feed.Start(ctx, n.l1, n.log, n.driver))
	if !n.o.p2pDisable {
		if err := n.joinGossip(ctx); err != nil {
			return err
		}
	}
	if err := n.serve(); err != nil {
		return err
	}
	return n.driver.Start()
}

func (n *node) readConfigs() error {
	for path, into := range map[string]any{n.o.rollup: &n.rollup, n.o.l1Chain: &n.l1Chain} {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("config: %w", err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("config %s: %w", path, err)
		}
	}
	return n.rollup.Check()
}

// dial connects L1 and the engine.
func (n *node) dial(ctx context.Context) error {
	conn, err := n.connect(ctx, "l1", n.o.l1)
	if err != nil {
		return err
	}
	cache := int(n.rollup.SeqWindowSize) * 3 / 2
	n.l1, err = sources.NewL1Client(conn, n.log, n.metrics.L1SourceCache, sources.L1ClientSimpleConfig(false, sources.RPCKindStandard, cache))
	if err != nil {
		return fmt.Errorf("L1 client: %w", err)
	}
	if err := n.rollup.ValidateL1Config(ctx, n.log, n.l1); err != nil {
		return fmt.Errorf("L1: %w", err)
	}
	text, err := os.ReadFile(n.o.jwt)
	if err != nil {
		return fmt.Errorf("JWT secret: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != 32 {
		return fmt.Errorf("JWT secret in %s: want 32 bytes of hex", n.o.jwt)
	}
	auth := client.WithGethRPCOptions(rpc.WithHTTPAuth(gethnode.NewJWTAuth([32]byte(secret))))
	if conn, err = n.connect(ctx, "engine-api", n.o.l2, auth); err != nil {
		return err
	}
	n.engine, err = sources.NewEngineClient(conn, n.log, n.metrics.L2SourceCache, sources.EngineClientDefaultConfig(n.rollup))
	if err != nil {
		return fmt.Errorf("engine client: %w", err)
	}
	return n.rollup.ValidateL2Config(ctx, n.log, n.engine, false)
}

func (n *node) connect(ctx context.Context, name, url string, opts ...client.RPCOption) (client.RPC, error) {
	conn, err := client.NewRPC(ctx, n.log, url, append(opts, client.WithRPCRecorder(n.metrics.NewRecorder(name)))...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", name, err)
	}
	n.cleanup.AddFunc(name, conn.Close)
	return conn, nil
}

func (n *node) newDriver(ctx context.Context) error {
	deps := upstream.Deps{
		Rollup: n.rollup, L1Chain: n.l1Chain, Engine: n.engine, L1: n.l1, Metrics: n.metrics, Log: n.log,
		Fatal: func(err error) {
			select {
			case n.failed <- err:
			default:
			}
		},
	}
	if n.o.beacon != "" {
		deps.Blobs = sources.NewL1BeaconClient(
			sources.NewBeaconHTTPClient(client.NewBasicHTTPClient(n.o.beacon, n.log)), sources.L1BeaconClientConfig{})
	}
	if n.o.follow != "" {
		conn, err := n.connect(ctx, "follow-source-api", n.o.follow)
		if err != nil {
			return err
		}
		if deps.Source, err = sources.NewFollowClient(conn); err != nil {
			return fmt.Errorf("follow source: %w", err)
		}
	}
	n.driver = upstream.New(deps)
	n.cleanup.AddErr("driver", n.driver.Close)
	return nil
}

// joinGossip takes part in block gossip.
func (n *node) joinGossip(ctx context.Context) error {
	head, err := n.l1.L1BlockRefByLabel(ctx, eth.Unsafe)
	if err != nil {
		return fmt.Errorf("L1 head: %w", err)
	}
	signers := runcfg.NewRuntimeConfig(n.log, n.l1, n.rollup)
	if err := signers.Load(ctx, head); err != nil {
		return fmt.Errorf("unsafe block signer: %w", err)
	}
	cfg, err := n.gossipConfig()
	if err != nil {
		return err
	}
	receiver := p2p.NewBlockReceiver(n.log, n.metrics, n.driver.SyncDeriver, nil)
	host, err := p2p.NewNodeP2P(ctx, n.rollup, n.log, cfg, receiver, n.engine, signers, n.metrics, clock.SystemClock)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	n.cleanup.AddErr("gossip", host.Close)
	return nil
}

// gossipConfig has upstream's defaults.
func (n *node) gossipConfig() (*p2p.Config, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	priv, err := libp2pcrypto.UnmarshalSecp256k1PrivateKey(crypto.FromECDSA(key))
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	scoring, err := p2p.GetScoringParams("light", n.rollup.BlockTime)
	if err != nil {
		return nil, fmt.Errorf("peer scoring: %w", err)
	}
	const timeout = 10 * time.Second
	cfg := &p2p.Config{
		Priv: priv.(*libp2pcrypto.Secp256k1PrivateKey), ListenIP: net.IPv4(127, 0, 0, 1), ListenTCPPort: uint16(n.o.p2pPort),
		NoDiscovery: true, ScoringParams: scoring, Store: dssync.MutexWrap(ds.NewMapDatastore()),
		HostMux: []libp2p.Option{p2p.YamuxC(), p2p.MplexC()}, HostSecurity: []libp2p.Option{p2p.NoiseC()},
		PeersLo: 20, PeersHi: 30, PeersGrace: 30 * time.Second,
		MeshD: p2p.DefaultMeshD, MeshDLo: p2p.DefaultMeshDlo, MeshDHi: p2p.DefaultMeshDhi, MeshDLazy: p2p.DefaultMeshDlazy,
		GossipTimestampThreshold: time.Minute, UserAgent: "optimism",
		TimeoutNegotiation: timeout, TimeoutAccept: timeout, TimeoutDial: timeout,
	}
	for _, peer := range strings.Split(n.o.p2pStatic, ",") {
		addr, err := multiaddr.NewMultiaddr(peer)
		if err != nil {
			return nil, fmt.Errorf("static peer %q: %w", peer, err)
		}
		cfg.StaticPeers = append(cfg.StaticPeers, addr)
	}
	return cfg, nil
}

// serve opens metrics and RPC. The lines it logs are those that op-node is recognised by.
func (n *node) serve() error {
	if n.o.metrics {
		server, err := n.metrics.StartServer(n.o.metricsAddr, n.o.metricsPort)
		if err != nil {
			return fmt.Errorf("metrics server: %w", err)
		}
		n.cleanup.Add("metrics server", server.Stop)
		n.log.Info("started metrics server", "addr", server.Addr())
	}
	server := oprpc.NewServer(n.o.rpcAddr, n.o.rpcPort, "upstream", oprpc.WithLogger(n.log),
		oprpc.WithRPCRecorder(n.metrics.NewRecorder("main")))
	server.AddAPI(rpc.API{Namespace: "optimism", Service: &statusAPI{n}})
	if err := server.Start(); err != nil {
		return fmt.Errorf("RPC server: %w", err)
	}
	n.cleanup.AddErr("RPC server", server.Stop)
	n.log.Info("Started JSON-RPC server", "addr", server.Endpoint())
	return nil
}

// statusAPI is as much of the optimism namespace as is asked of a node in a benchmark.
type statusAPI struct{ n *node }

// SyncStatus answers optimism_syncStatus.
func (a *statusAPI) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	return a.n.driver.SyncStatus(ctx)
}

// RollupConfig answers optimism_rollupConfig.
func (a *statusAPI) RollupConfig(context.Context) (*rollup.Config, error) { return a.n.rollup, nil }
