package config

import (
	"net"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
)

// InMemory is the path that keeps a peer-to-peer store in memory instead of on disk.
const InMemory = "memory"

// P2P configures gossip, discovery and the peers.
type P2P struct {
	Disabled bool
	// Identity is the private key behind the peer id.
	Identity  *crypto.Secp256k1PrivateKey
	Listen    Listen
	Discovery Discovery
	Peers     Peers
	Ban       Ban
	Transport Transport
	Gossip    Gossip
	// ServePayloads answers requests of older peers for blocks by number.
	ServePayloads bool
	// Ping measures the latency of peers in the background.
	Ping bool
}

// Listen is where peers connect to. Port 0 picks a free one; UDP 0 means the TCP port.
type Listen struct {
	IP  net.IP
	TCP uint16
	UDP uint16
}

// Discovery configures discv5.
type Discovery struct {
	Disabled bool
	// Path of the database of seen nodes, or [InMemory].
	Path string
	// AdvertiseIP and the ports below go into the node record; zero values mean what the host listens on.
	AdvertiseIP  net.IP
	AdvertiseTCP uint16
	AdvertiseUDP uint16
	// Bootnodes are where the search starts.
	Bootnodes []*enode.Node
	// NetRestrict limits connections to these networks; nil means no limit.
	NetRestrict *netutil.Netlist
}

// Peers says whom the node is connected to, and how many.
type Peers struct {
	// Static peers are dialled, kept and trusted.
	Static []ma.Multiaddr
	// Lo is the number below which peers are looked for, Hi the number above which they are pruned.
	Lo, Hi uint
	// Grace protects a new peer from being pruned.
	Grace time.Duration
	// StorePath is the directory of the peer store, or [InMemory].
	StorePath string
	// Scoring is the scoring strategy: "none" or "light".
	Scoring string
}

// Ban configures what happens to peers with a bad score.
type Ban struct {
	Enabled   bool
	Threshold float64
	Duration  time.Duration
}

// Transport configures connections.
type Transport struct {
	// Mux are the multiplexers in order of preference: "yamux", "mplex".
	Mux []string
	// Security are the transports in order of preference: "noise", "tls"; or "none" alone.
	Security []string
	// NAT asks the router for a port mapping.
	NAT       bool
	UserAgent string

	NegotiationTimeout time.Duration
	AcceptTimeout      time.Duration
	DialTimeout        time.Duration
}

// Gossip configures the gossipsub mesh.
type Gossip struct {
	D, DLo, DHi, DLazy uint
	// FloodPublish sends own blocks to all peers of the topic, not only to the mesh.
	FloodPublish bool
	// MaxAge is the age above which a block is refused.
	MaxAge time.Duration
}

func defaultP2P() P2P {
	return P2P{
		Listen:    Listen{IP: net.IPv4zero, TCP: 9222},
		Discovery: Discovery{Path: "opnode_discovery_db"},
		Peers: Peers{
			Lo:        20,
			Hi:        30,
			Grace:     30 * time.Second,
			StorePath: "opnode_peerstore_db",
			Scoring:   "light",
		},
		Ban: Ban{Enabled: true, Threshold: -100, Duration: time.Hour},
		Transport: Transport{
			Mux:                []string{"yamux", "mplex"},
			Security:           []string{"noise"},
			UserAgent:          "optimism",
			NegotiationTimeout: 10 * time.Second,
			AcceptTimeout:      10 * time.Second,
			DialTimeout:        10 * time.Second,
		},
		Gossip: Gossip{
			D:      p2p.DefaultMeshD,
			DLo:    p2p.DefaultMeshDlo,
			DHi:    p2p.DefaultMeshDhi,
			DLazy:  p2p.DefaultMeshDlazy,
			MaxAge: time.Minute,
		},
		ServePayloads: true,
		Ping:          true,
	}
}
