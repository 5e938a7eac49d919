package node

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/libp2p/go-libp2p"

	"github.com/ethereum-optimism/optimism/op-node/p2p"

	"github.com/lightcl/op-node/op-node/config"
)

// peerNetwork is the peer-to-peer side of the node. Without peer-to-peer both fields are nil; the host appears at start.
type peerNetwork struct {
	setup *p2p.Config
	host  *p2p.NodeP2P
}

// openPeerStores opens the databases of the peer-to-peer side and prepares its configuration.
func (n *Node) openPeerStores() (*peerNetwork, error) {
	c := n.cfg.P2P
	if c.Disabled {
		return &peerNetwork{}, nil
	}
	setup, err := p2pConfig(c, n.cfg.Chain.Rollup.BlockTime)
	if err != nil {
		return nil, err
	}
	if setup.Store, err = openPeerstore(c.Peers.StorePath); err != nil {
		return nil, fmt.Errorf("--p2p.peerstore.path=%s: failed to open peerstore: %w", c.Peers.StorePath, err)
	}
	n.cleanups.add("peerstore", func(context.Context) error { return setup.Store.Close() })
	if !c.Discovery.Disabled {
		path := c.Discovery.Path
		if path == config.InMemory {
			path = ""
		}
		if setup.DiscoveryDB, err = enode.OpenDB(path); err != nil {
			return nil, fmt.Errorf("--p2p.discovery.path=%s: failed to open discovery db: %w", c.Discovery.Path, err)
		}
		n.cleanups.addFunc("discovery db", setup.DiscoveryDB.Close)
	}
	return &peerNetwork{setup: setup}, nil
}

// p2pConfig maps the options to upstream's, all but the databases.
func p2pConfig(c config.P2P, blockTime uint64) (*p2p.Config, error) {
	out := &p2p.Config{
		Priv:                     c.Identity,
		NoDiscovery:              c.Discovery.Disabled,
		BanningEnabled:           c.Ban.Enabled,
		BanningThreshold:         c.Ban.Threshold,
		BanningDuration:          c.Ban.Duration,
		ListenIP:                 c.Listen.IP,
		ListenTCPPort:            c.Listen.TCP,
		ListenUDPPort:            c.Listen.UDP,
		AdvertiseIP:              c.Discovery.AdvertiseIP,
		AdvertiseTCPPort:         c.Discovery.AdvertiseTCP,
		AdvertiseUDPPort:         c.Discovery.AdvertiseUDP,
		Bootnodes:                c.Discovery.Bootnodes,
		NetRestrict:              c.Discovery.NetRestrict,
		StaticPeers:              c.Peers.Static,
		PeersLo:                  c.Peers.Lo,
		PeersHi:                  c.Peers.Hi,
		PeersGrace:               c.Peers.Grace,
		MeshD:                    int(c.Gossip.D),
		MeshDLo:                  int(c.Gossip.DLo),
		MeshDHi:                  int(c.Gossip.DHi),
		MeshDLazy:                int(c.Gossip.DLazy),
		FloodPublish:             c.Gossip.FloodPublish,
		GossipTimestampThreshold: c.Gossip.MaxAge,
		NAT:                      c.Transport.NAT,
		UserAgent:                c.Transport.UserAgent,
		TimeoutNegotiation:       c.Transport.NegotiationTimeout,
		TimeoutAccept:            c.Transport.AcceptTimeout,
		TimeoutDial:              c.Transport.DialTimeout,
		EnableReqRespSync:        c.ServePayloads,
		EnablePingService:        c.Ping,
	}
	if c.Peers.Scoring != "" {
		params, err := p2p.GetScoringParams(c.Peers.Scoring, blockTime)
		if err != nil {
			return nil, fmt.Errorf("--p2p.scoring=%s: %w", c.Peers.Scoring, err)
		}
		out.ScoringParams = params
	}
	muxers := map[string]func() libp2p.Option{"yamux": p2p.YamuxC, "mplex": p2p.MplexC}
	for _, name := range c.Transport.Mux {
		out.HostMux = append(out.HostMux, muxers[name]())
	}
	transports := map[string]func() libp2p.Option{"noise": p2p.NoiseC, "tls": p2p.TlsC}
	for _, name := range c.Transport.Security {
		if name == "none" {
			out.NoTransportSecurity = true
			break
		}
		out.HostSecurity = append(out.HostSecurity, transports[name]())
	}
	return out, nil
}

// startPeers joins the network: from here on blocks come in and go out.
func (n *Node) startPeers() error {
	if n.peers.setup == nil {
		return nil
	}
	// Parts of the gossip router end only with their context.
	ctx, cancel := context.WithCancel(context.Background())
	n.cleanups.addFunc("gossip router", cancel)
	chain := n.cfg.Chain.Rollup
	receiver := p2p.NewBlockReceiver(n.log, n.metrics, n.stack.driver, nil)
	host, err := p2p.NewNodeP2P(ctx, chain, n.log, n.peers.setup, receiver, n.engine, n.runCfg, n.metrics, n.clock)
	if err != nil {
		return err
	}
	n.peers.host = host
	n.cleanups.add("p2p node", func(context.Context) error { return host.Close() })
	n.cleanups.addFunc("gossip", n.gossip.connect(host.GossipOut()))
	if host.Dv5Udp() != nil {
		n.cleanups.addFunc("peer discovery", background(func(ctx context.Context) {
			host.DiscoveryProcess(ctx, n.log, chain, n.peers.setup.TargetPeers())
		}))
	}
	return nil
}
