package api

import (
	"context"
	"net"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ethereum-optimism/optimism/op-service/apis"
)

// Peers is the part of the opp2p namespace that reads. It is for callers who may look and not touch.
type Peers struct{ all apis.P2PClient }

// NewPeers returns the reading part of an opp2p namespace.
func NewPeers(all apis.P2PClient) *Peers { return &Peers{all} }

// Self serves opp2p_self.
func (p *Peers) Self(ctx context.Context) (*apis.PeerInfo, error) { return p.all.Self(ctx) }

// Peers serves opp2p_peers.
func (p *Peers) Peers(ctx context.Context, connected bool) (*apis.PeerDump, error) {
	return p.all.Peers(ctx, connected)
}

// PeerStats serves opp2p_peerStats.
func (p *Peers) PeerStats(ctx context.Context) (*apis.PeerStats, error) { return p.all.PeerStats(ctx) }

// DiscoveryTable serves opp2p_discoveryTable.
func (p *Peers) DiscoveryTable(ctx context.Context) ([]*enode.Node, error) {
	return p.all.DiscoveryTable(ctx)
}

// ListBlockedPeers serves opp2p_listBlockedPeers.
func (p *Peers) ListBlockedPeers(ctx context.Context) ([]peer.ID, error) {
	return p.all.ListBlockedPeers(ctx)
}

// ListBlockedAddrs serves opp2p_listBlockedAddrs.
func (p *Peers) ListBlockedAddrs(ctx context.Context) ([]net.IP, error) {
	return p.all.ListBlockedAddrs(ctx)
}

// ListBlockedSubnets serves opp2p_listBlockedSubnets.
func (p *Peers) ListBlockedSubnets(ctx context.Context) ([]*net.IPNet, error) {
	return p.all.ListBlockedSubnets(ctx)
}
