package flags

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/cliiface"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-service/durable"
)

// lookup resolves a host name.
type lookup func(host string) ([]net.IP, error)

func (s *Set) readPeers(ctx cliiface.Context, log log.Logger) error {
	c, r := &s.cfg.P2P, &s.raw.p2p
	if c.Disabled {
		return nil
	}
	var err error
	if c.Identity, err = r.identity(); err != nil {
		return fmt.Errorf("failed to load p2p config: %w", err)
	}
	if c.Listen, err = r.listen(); err != nil {
		return fmt.Errorf("failed to load p2p config: %w", err)
	}
	if err := r.discovery(&c.Discovery, log, net.LookupIP); err != nil {
		return fmt.Errorf("failed to load p2p config: %w", err)
	}
	for _, addr := range list(r.static) {
		peer, err := ma.NewMultiaddr(addr)
		if err != nil {
			return fmt.Errorf("failed to load p2p config: --p2p.static: %q is not a multiaddr such as /ip4/10.0.0.1/tcp/9222/p2p/16Uiu2..: %w", addr, err)
		}
		c.Peers.Static = append(c.Peers.Static, peer)
	}
	c.Transport.Mux = list(strings.ToLower(r.mux))
	c.Transport.Security = list(strings.ToLower(r.security))
	for _, old := range []string{r.peerScoring, r.topicScoring} {
		if c.Peers.Scoring == "" {
			c.Peers.Scoring = old
		}
	}
	return nil
}

// identity returns the peer key: the one given, the one in the file, or a new one that is stored there.
func (r *rawP2P) identity() (*crypto.Secp256k1PrivateKey, error) {
	if r.privRaw != "" {
		key, err := parseKey(r.privRaw)
		if err != nil {
			return nil, fmt.Errorf("--p2p.priv.raw: %w", err)
		}
		return key, nil
	}
	if r.privPath == "" {
		return nil, errors.New("--p2p.priv.path is empty: give the file of the p2p private key, it is created if it does not exist")
	}
	if err := notAKey("p2p.priv.path", r.privPath); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(r.privPath)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(r.privPath)
	}
	if err != nil {
		return nil, fmt.Errorf("--p2p.priv.path=%s: %w", r.privPath, err)
	}
	key, err := parseKey(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("--p2p.priv.path=%s: %w", r.privPath, err)
	}
	return key, nil
}

func createKey(path string) (*crypto.Secp256k1PrivateKey, error) {
	key, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating a p2p private key: %w", err)
	}
	raw, err := key.Raw()
	if err != nil {
		return nil, fmt.Errorf("encoding the new p2p private key: %w", err)
	}
	if err := durable.Create(path, []byte(hex.EncodeToString(raw)), 0o600); err != nil {
		return nil, fmt.Errorf("--p2p.priv.path=%s: storing the new p2p private key: %w", path, err)
	}
	return key.(*crypto.Secp256k1PrivateKey), nil
}

// parseKey reads a hex private key. Its errors do not show the key.
func parseKey(text string) (*crypto.Secp256k1PrivateKey, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, errors.New("p2p private key is not hex: give 64 hex digits")
	}
	key, err := crypto.UnmarshalSecp256k1PrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("p2p private key has %d bytes: give 32 bytes as 64 hex digits", len(raw))
	}
	return key.(*crypto.Secp256k1PrivateKey), nil
}

func (r *rawP2P) listen() (out config.Listen, err error) {
	if r.listenIP != "" {
		if out.IP = net.ParseIP(r.listenIP); out.IP == nil {
			return out, fmt.Errorf("--p2p.listen.ip=%s: not an IP address", r.listenIP)
		}
	}
	if out.TCP, err = port("p2p.listen.tcp", r.listenTCP); err != nil {
		return out, err
	}
	out.UDP, err = port("p2p.listen.udp", r.listenUDP)
	return out, err
}

// port checks a port number. Those below 1024 belong to the system.
func port(flag string, number uint) (uint16, error) {
	if number != 0 && (number < 1024 || number > 65535) {
		return 0, fmt.Errorf("--%s=%d: port out of range: use 1024 to 65535, or 0 for the default", flag, number)
	}
	return uint16(number), nil
}

func (r *rawP2P) discovery(out *config.Discovery, log log.Logger, resolve lookup) (err error) {
	if out.AdvertiseTCP, err = port("p2p.advertise.tcp", r.advertiseTCP); err != nil {
		return err
	}
	if out.AdvertiseUDP, err = port("p2p.advertise.udp", r.advertiseUDP); err != nil {
		return err
	}
	if r.advertiseIP != "" {
		if out.AdvertiseIP, err = firstIPv4(r.advertiseIP, resolve); err != nil {
			return fmt.Errorf("--p2p.advertise.ip=%s: %w", r.advertiseIP, err)
		}
	}
	if r.netRestrict != "" {
		if out.NetRestrict, err = netutil.ParseNetlist(r.netRestrict); err != nil {
			return fmt.Errorf("--p2p.netrestrict=%s: %w", r.netRestrict, err)
		}
	}
	if out.Disabled {
		return nil // nobody asks the bootnodes then, so their names are not resolved
	}
	if out.Path == "" {
		out.Path = "opnode_discovery_db"
	}
	records := r.bootnodes.Value()
	if len(records) == 0 {
		log.Info("Using default bootnodes, none provided.")
		records = p2p.DefaultBootnodes
	}
	for _, record := range records {
		if record = strings.TrimSpace(record); record == "" {
			continue
		}
		node, err := parseBootnode(record, resolve)
		if err != nil {
			return fmt.Errorf("--p2p.bootnodes: %q: %w", record, err)
		}
		out.Bootnodes = append(out.Bootnodes, node)
	}
	return nil
}

// firstIPv4 returns the address itself, or the first IPv4 address of the host name.
func firstIPv4(host string, resolve lookup) (net.IP, error) {
	ips := []net.IP{net.ParseIP(host)}
	if ips[0] == nil {
		var err error
		if ips, err = resolve(host); err != nil {
			return nil, fmt.Errorf("neither an IP address nor a name that resolves: %w", err)
		}
	}
	for _, ip := range ips {
		if v4 := ip.To4(); v4 != nil {
			return v4, nil
		}
	}
	return nil, errors.New("no IPv4 address")
}

// parseBootnode reads a node record. The host of an enode URL may be a name, which discovery itself does not resolve.
func parseBootnode(record string, resolve lookup) (*enode.Node, error) {
	if strings.HasPrefix(record, "enode://") {
		u, err := url.Parse(record)
		if err != nil {
			return nil, fmt.Errorf("not an enode URL: %w", err)
		}
		if net.ParseIP(u.Hostname()) == nil {
			ips, err := resolve(u.Hostname())
			if err != nil || len(ips) == 0 {
				return nil, fmt.Errorf("resolving %s: %w: unset --p2p.bootnodes, or set --p2p.no-discovery", u.Hostname(), err)
			}
			host := ips[0].String()
			if v4 := ips[0].To4(); v4 == nil {
				host = "[" + host + "]"
			}
			if port := u.Port(); port != "" {
				host += ":" + port
			}
			u.Host = host
			record = u.String()
		}
	}
	node, err := enode.Parse(enode.ValidSchemes, record)
	if err != nil {
		return nil, fmt.Errorf("not a node record (enr:.. or enode://..): %w", err)
	}
	return node, nil
}
