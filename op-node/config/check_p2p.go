package config

import (
	"errors"
	"fmt"
	"slices"
)

// maxMesh bounds the mesh parameters; a larger mesh floods the network.
const maxMesh = 1000

func (c *P2P) check() error {
	if c.Disabled {
		if n := len(c.Peers.Static); n > 0 {
			return fmt.Errorf("both --p2p.static (%d peers) and --p2p.disable are specified: unset one of them", n)
		}
		return nil
	}
	if c.Identity == nil {
		return errors.New("no p2p private key: set --p2p.priv.path or --p2p.priv.raw, or --p2p.disable")
	}
	if err := c.Peers.check(); err != nil {
		return err
	}
	if !c.Discovery.Disabled && c.Discovery.Path == "" {
		return invalid("p2p.discovery.path", "", "give a directory, or 'memory' to keep nothing")
	}
	if err := c.Transport.check(); err != nil {
		return err
	}
	return c.Gossip.check()
}

func (c *Peers) check() error {
	if c.StorePath == "" {
		return invalid("p2p.peerstore.path", "", "give a directory, or 'memory' to keep nothing")
	}
	if c.Lo == 0 || c.Hi == 0 || c.Lo > c.Hi {
		return fmt.Errorf("peers lo/hi tides are invalid: --p2p.peers.lo=%d, --p2p.peers.hi=%d: use positive numbers, lo not above hi", c.Lo, c.Hi)
	}
	if !slices.Contains([]string{"", "none", "light"}, c.Scoring) {
		return invalid("p2p.scoring", c.Scoring, "use none or light")
	}
	return nil
}

func (c *Transport) check() error {
	for _, mux := range c.Mux {
		if mux != "yamux" && mux != "mplex" {
			return invalid("p2p.mux", mux, "use yamux, mplex or both")
		}
	}
	if len(c.Mux) == 0 {
		return invalid("p2p.mux", "", "use yamux, mplex or both")
	}
	if slices.Equal(c.Security, []string{"none"}) {
		return nil
	}
	for _, security := range c.Security {
		if security != "noise" && security != "tls" {
			return invalid("p2p.security", security, "use noise, tls or both, or none alone")
		}
	}
	if len(c.Security) == 0 {
		return invalid("p2p.security", "", "use noise, tls or both, or none alone")
	}
	return nil
}

func (c *Gossip) check() error {
	for _, mesh := range []struct {
		flag  string
		value uint
	}{
		{"p2p.gossip.mesh.d", c.D},
		{"p2p.gossip.mesh.lo", c.DLo},
		{"p2p.gossip.mesh.dhi", c.DHi},
		{"p2p.gossip.mesh.dlazy", c.DLazy},
	} {
		if mesh.value == 0 || mesh.value > maxMesh {
			return invalid(mesh.flag, mesh.value, fmt.Sprintf("use 1 to %d", maxMesh))
		}
	}
	return nil
}
