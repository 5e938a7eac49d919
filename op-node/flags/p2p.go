package flags

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// rawP2P holds the values of peer-to-peer flags that need a file, a look-up or splitting.
type rawP2P struct {
	privPath, privRaw          string
	listenIP, advertiseIP      string
	listenTCP, listenUDP       uint
	advertiseTCP, advertiseUDP uint
	bootnodes                  cli.StringSlice
	static, netRestrict        string
	mux, security              string
	peerScoring, topicScoring  string
}

func (s *Set) peerToPeer() []cli.Flag {
	in, c, r := section{category: categoryP2P}, &s.cfg.P2P, &s.raw.p2p
	r.privPath, r.listenIP, r.listenTCP = "opnode_p2p_priv.txt", c.Listen.IP.String(), uint(c.Listen.TCP)
	r.mux, r.security = strings.Join(c.Transport.Mux, ","), strings.Join(c.Transport.Security, ",")
	list := []cli.Flag{
		in.onoff(&c.Disabled, "p2p.disable", "P2P_DISABLE", "Run without peers: no gossip, no discovery."),
		in.onoff(&c.Discovery.Disabled, "p2p.no-discovery", "P2P_NO_DISCOVERY", "Do not look for peers; only static peers and incoming connections. Bootnodes are not resolved."),
		in.text(&c.Peers.Scoring, "p2p.scoring", "P2P_PEER_SCORING", "How peers are scored: none or light."),
		in.onoff(&c.Ban.Enabled, "p2p.ban.peers", "P2P_PEER_BANNING", "Ban peers whose score is too low."),
		in.decimal(&c.Ban.Threshold, "p2p.ban.threshold", "P2P_PEER_BANNING_THRESHOLD", "Score below which a peer is disconnected and banned."),
		in.duration(&c.Ban.Duration, "p2p.ban.duration", "P2P_PEER_BANNING_DURATION", "How long a ban lasts."),
		in.file(&r.privPath, "p2p.priv.path", "P2P_PRIV_PATH", "File with the hex private key behind the peer id. Created if it does not exist; keep it to keep the identity."),
		in.hide().text(&r.privRaw, "p2p.priv.raw", "P2P_PRIV_RAW", "The hex private key behind the peer id itself."),
		in.text(&r.listenIP, "p2p.listen.ip", "P2P_LISTEN_IP", "IP address that gossip and discovery listen on."),
		in.unsigned(&r.listenTCP, "p2p.listen.tcp", "P2P_LISTEN_TCP_PORT", "TCP port of gossip. 0 means any free one."),
		in.unsigned(&r.listenUDP, "p2p.listen.udp", "P2P_LISTEN_UDP_PORT", "UDP port of discovery. 0 means the TCP port."),
		in.text(&r.advertiseIP, "p2p.advertise.ip", "P2P_ADVERTISE_IP", "IP address, or a host name that has one, for the node record. Found out from peers if not given."),
		in.unsigned(&r.advertiseTCP, "p2p.advertise.tcp", "P2P_ADVERTISE_TCP", "TCP port for the node record. 0 means the one listened on."),
		in.unsigned(&r.advertiseUDP, "p2p.advertise.udp", "P2P_ADVERTISE_UDP", "UDP port for the node record as long as discovery has not found it out. 0 means the one listened on."),
		in.list(&r.bootnodes, "p2p.bootnodes", "P2P_BOOTNODES", "Node records (ENR or enode URL) that discovery starts from, separated by commas. A built-in list if not given."),
		in.text(&r.static, "p2p.static", "P2P_STATIC", "Peers to stay connected with and to trust, as multiaddrs separated by commas."),
		in.text(&r.netRestrict, "p2p.netrestrict", "P2P_NETRESTRICT", "Networks (CIDR, separated by commas) that peers have to be in."),
		in.hide().text(&r.mux, "p2p.mux", "P2P_MUX", "Stream multiplexers in order of preference, separated by commas: yamux, mplex."),
		in.hide().text(&r.security, "p2p.security", "P2P_SECURITY", "Transport encryption in order of preference, separated by commas: noise, tls. 'none' alone turns it off."),
		in.unsigned(&c.Peers.Lo, "p2p.peers.lo", "P2P_PEERS_LO", "Number of peers below which more are looked for."),
		in.unsigned(&c.Peers.Hi, "p2p.peers.hi", "P2P_PEERS_HI", "Number of peers above which some are let go."),
		in.duration(&c.Peers.Grace, "p2p.peers.grace", "P2P_PEERS_GRACE", "How long a new peer is not let go."),
		in.onoff(&c.Transport.NAT, "p2p.nat", "P2P_NAT", "Ask the router (PMP, UPnP) for a port mapping."),
		in.hide().text(&c.Transport.UserAgent, "p2p.useragent", "P2P_AGENT", "Name that peers are told."),
		in.hide().duration(&c.Transport.NegotiationTimeout, "p2p.timeout.negotiation", "P2P_TIMEOUT_NEGOTIATION", "Time limit for agreeing on protocols with a new peer."),
		in.hide().duration(&c.Transport.AcceptTimeout, "p2p.timeout.accept", "P2P_TIMEOUT_ACCEPT", "Time limit for accepting a connection."),
		in.hide().duration(&c.Transport.DialTimeout, "p2p.timeout.dial", "P2P_TIMEOUT_DIAL", "Time limit for making a connection."),
		in.file(&c.Peers.StorePath, "p2p.peerstore.path", "P2P_PEERSTORE_PATH", "Directory of the database of peers, which also holds the private key. 'memory' keeps nothing."),
		in.file(&c.Discovery.Path, "p2p.discovery.path", "P2P_DISCOVERY_PATH", "Directory of the database of discovered nodes. 'memory' keeps nothing."),
		in.text(&s.cfg.Signer.Key, "p2p.sequencer.key", "P2P_SEQUENCER_KEY", "Hex private key that signs the blocks this sequencer gossips."),
		in.hide().unsigned(&c.Gossip.D, "p2p.gossip.mesh.d", "P2P_GOSSIP_MESH_D", "Gossip mesh: peers to keep per topic."),
		in.hide().unsigned(&c.Gossip.DLo, "p2p.gossip.mesh.lo", "P2P_GOSSIP_MESH_DLO", "Gossip mesh: fewest peers per topic."),
		in.hide().unsigned(&c.Gossip.DHi, "p2p.gossip.mesh.dhi", "P2P_GOSSIP_MESH_DHI", "Gossip mesh: most peers per topic."),
		in.hide().unsigned(&c.Gossip.DLazy, "p2p.gossip.mesh.dlazy", "P2P_GOSSIP_MESH_DLAZY", "Gossip mesh: peers outside of it that get announcements."),
		in.hide().onoff(&c.Gossip.FloodPublish, "p2p.gossip.mesh.floodpublish", "P2P_GOSSIP_FLOOD_PUBLISH", "Send own blocks to all peers of the topic, not only to the mesh."),
		in.duration(&c.Gossip.MaxAge, "p2p.gossip.timestamp.threshold", "P2P_GOSSIP_TIMESTAMP_THRESHOLD", "Age above which gossiped blocks are refused."),
		in.onoff(&c.ServePayloads, "p2p.sync.req-resp", "P2P_SYNC_REQ_RESP", "Answer peers of older versions that ask for blocks by number."),
		section{}.hide().onoff(&c.Ping, "p2p.ping", "P2P_PING", "Measure the latency of peers in the background."),
	}
	return append(list, signer()...)
}
