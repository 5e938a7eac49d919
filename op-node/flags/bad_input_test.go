package flags

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/lightcl/op-node/op-node/config"
)

// TestBadInput shows that each bad value is refused with an error that names the flag (or the file), what was given, and a remedy.
func TestBadInput(t *testing.T) {
	f := newFiles(t)
	write := func(name, content string) string {
		path := filepath.Join(f.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	missing := filepath.Join(f.dir, "missing", "file")
	garbage := write("garbage.json", "not json")
	wrongL1 := write("wrong_l1.json", `{"chainId":5}`)
	noBlobs := write("no_blobs.json", `{"chainId":900}`)
	noIDs := write("no_ids.json", `{}`)
	shortKey := write("short.key", "0x11")

	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"network unknown", []string{"--network=atlantis"}, []string{"--network=atlantis", `invalid network: "atlantis"`, "--help"}},
		{"network id unknown", []string{"--network=12345678"}, []string{"invalid network", "12345678"}},
		{"no rollup config", []string{"--rollup.config="}, []string{"failed to read rollup config", "--network or --rollup.config"}},
		{"rollup config missing", []string{"--rollup.config=" + missing}, []string{"failed to read rollup config", "--rollup.config=" + missing, "no such file"}},
		{"rollup config garbage", []string{"--rollup.config=" + garbage}, []string{"--rollup.config=" + garbage, "invalid character"}},
		{"rollup config empty", []string{"--rollup.config=" + noIDs}, []string{"--rollup.config=" + noIDs, "l1_chain_id"}},
		{"override out of order", []string{"--override.canyon=4000000000"}, []string{"rollup config error", "canyon", "4000000000"}},
		{"lagoon without set", []string{"--override.lagoon=4000000000"}, []string{"Lagoon", "4000000000", "--interop.dependency-set"}},
		{"L1 chain config not given", []string{"--rollup.l1-chain-config="}, []string{"L1 900", "--rollup.l1-chain-config"}},
		{"L1 chain config missing", []string{"--rollup.l1-chain-config=" + missing}, []string{"--rollup.l1-chain-config=" + missing, "no such file"}},
		{"L1 chain config garbage", []string{"--rollup.l1-chain-config=" + garbage}, []string{garbage, "not a JSON object"}},
		{"L1 chain config of another L1", []string{"--rollup.l1-chain-config=" + wrongL1}, []string{wrongL1, "chain 5", "L1 900"}},
		{"L1 chain config without blobs", []string{"--rollup.l1-chain-config=" + noBlobs}, []string{noBlobs, "blobSchedule"}},
		{"dependency set missing", []string{"--interop.dependency-set=" + missing}, []string{"--interop.dependency-set=" + missing, "no such file"}},
		{"dependency set garbage", []string{"--interop.dependency-set=" + garbage}, []string{"--interop.dependency-set=" + garbage}},
		{"JWT garbage", []string{"--l2.jwt-secret=" + garbage}, []string{"--l2.jwt-secret=" + garbage, "32 hex"}},
		{"JWT in no directory", []string{"--l2.jwt-secret=" + missing}, []string{"--l2.jwt-secret=" + missing, "no such file"}},

		{"sync mode", []string{"--syncmode=magic"}, []string{"syncmode", "magic"}},
		{"engine kind", []string{"--l2.enginekind=abacus"}, []string{"l2.enginekind", "abacus"}},
		{"sync mode twice", []string{"--l2.engine-sync", "--syncmode=consensus-layer"}, []string{"--l2.engine-sync", "--syncmode"}},
		{"engine timeout", []string{"--l2.engine-rpc-timeout=0"}, []string{"--l2.engine-rpc-timeout=0s", "positive"}},
		{"negative offset", []string{"--syncmode=execution-layer", "--syncmode.offset-el-safe=-1s"}, []string{"--syncmode.offset-el-safe=-1s"}},

		{"L1 kind", []string{"--l1.rpckind=carrier-pigeon"}, []string{"l1.rpckind", "carrier-pigeon"}},
		{"batch size", []string{"--l1.rpc-max-batch-size=0"}, []string{"--l1.rpc-max-batch-size=0", "1 to 500"}},
		{"rate limit", []string{"--l1.rpc-rate-limit=-1"}, []string{"--l1.rpc-rate-limit=-1"}},
		{"concurrency", []string{"--l1.max-concurrency=0"}, []string{"--l1.max-concurrency=0"}},
		{"cache size", []string{"--l1.cache-size=1000001"}, []string{"--l1.cache-size=1000001"}},
		{"beacon missing", []string{"--l1.beacon="}, []string{"l1.beacon is required", "--l1.beacon.ignore"}},
		{"beacon header", []string{"--l1.beacon-header=hunter2"}, []string{"--l1.beacon-header", "Key: Value"}},

		{"a source twice", []string{"--l2.follow.source=http://a:1,http://b:1,http://a:1"}, []string{"--l2.follow.source=http://a:1", "twice"}},
		{"quorum above the sources", []string{"--l2.follow.source=http://a:1,http://b:1", "--l2.follow.quorum=3"}, []string{"--l2.follow.quorum=3", "from 1 to 2"}},
		{"less than no waiters", []string{"--rpc.follow-max-waiters=-1"}, []string{"--rpc.follow-max-waiters=-1"}},
		// spec A6
		{"a quorum that two camps can have", []string{"--l2.follow.source=http://a:1,http://b:1,http://c:1,http://d:1", "--l2.follow.quorum=2"}, []string{"--l2.follow.quorum=2", "at least 3 of 4"}},
		{"no quorum", []string{"--l2.follow.source=http://a:1", "--l2.follow.quorum=0"}, []string{"--l2.follow.quorum=0"}},
		{"max lag below a poll", []string{"--l2.follow.source=http://a:1", "--l2.follow.max-lag=1s"}, []string{"--l2.follow.max-lag=1s", "at least"}},
		{"source is no URL", []string{"--l2.follow.source=localhost"}, []string{"--l2.follow.source=localhost", "http://host:9545"}},
		{"source has another scheme", []string{"--l2.follow.source=ftp://a"}, []string{"--l2.follow.source=ftp://a"}},
		{"source header", []string{"--l2.follow.source.header=hunter2"}, []string{"--l2.follow.source.header", "header 1"}},
		{"source header for nobody", []string{"--l2.follow.source=http://a:1", "--l2.follow.source.header=http://b:1/hunter2|K: hunter2"}, []string{"--l2.follow.source.header", "http://b:1/***", "--l2.follow.source"}},
		{"source header that ends a line", []string{"--l2.follow.source=http://a:1", "--l2.follow.source.header=K: hunter2\r\nX: y"}, []string{"header 1"}},
		{"source header file missing", []string{"--l2.follow.source=http://a:1", "--l2.follow.source.header-file=" + missing}, []string{"--l2.follow.source.header-file=" + missing}},
		{"source header file garbage", []string{"--l2.follow.source=http://a:1", "--l2.follow.source.header-file=" + garbage}, []string{"--l2.follow.source.header-file=" + garbage, "header 1"}},
		{"JWT secret for its file", []string{"--l2.jwt-secret=0x" + hexKey}, []string{"--l2.jwt-secret (not shown)", "name of a file"}},
		{"admin JWT secret for its file", []string{"--rpc.admin-listen=127.0.0.1:0", "--rpc.admin-jwt-secret=" + hexKey}, []string{"--rpc.admin-jwt-secret (not shown)"}},
		{"p2p key for its file", []string{"--p2p.priv.path=" + hexKey}, []string{"--p2p.priv.path (not shown)", "name of a file"}},
		{"source timeout", []string{"--l2.follow.source=http://a:1", "--l2.follow.source.rpc-timeout=0s"}, []string{"--l2.follow.source.rpc-timeout=0s"}},
		{"poll interval", []string{"--l2.follow.source=http://a:1", "--l2.follow.poll-interval=-1s"}, []string{"--l2.follow.poll-interval=-1s"}},

		{"conductor without sequencer", []string{"--conductor.enabled"}, []string{"--sequencer.enabled", "--conductor.enabled"}},
		{"conductor with state", []string{"--conductor.enabled", "--sequencer.enabled", "--rpc.admin-state=x"}, []string{"--rpc.admin-state=x"}},
		{"RPC port", []string{"--rpc.port=70000"}, []string{"--rpc.port=70000", "65535"}},
		{"RPC body", []string{"--rpc.body-limit=10"}, []string{"--rpc.body-limit=10", "at least 1024"}},
		{"RPC batch", []string{"--rpc.batch-limit=0"}, []string{"--rpc.batch-limit=0", "at least 1"}},
		{"RPC batch answer", []string{"--rpc.batch-answer-limit=-1"}, []string{"--rpc.batch-answer-limit=-1"}},
		{"RPC requests", []string{"--rpc.request-limit=0"}, []string{"--rpc.request-limit=0"}},
		{"RPC for no host", []string{"--rpc.vhosts="}, []string{"--rpc.vhosts", "*"}},
		{"admin address", []string{"--rpc.admin-listen=9546"}, []string{"--rpc.admin-listen=9546", "127.0.0.1:9546"}},
		{"admin port", []string{"--rpc.admin-listen=127.0.0.1:http"}, []string{"--rpc.admin-listen=127.0.0.1:http"}},
		{"admin on the RPC", []string{"--rpc.admin-listen=0.0.0.0:9545"}, []string{"--rpc.admin-listen=0.0.0.0:9545", "--rpc.port"}},
		{"admin secret alone", []string{"--rpc.admin-jwt-secret=" + filepath.Join(f.dir, "admin.jwt")}, []string{"--rpc.admin-jwt-secret", "--rpc.admin-listen"}},
		{"metrics port", []string{"--metrics.enabled", "--metrics.port=-1"}, []string{"--metrics.port=-1"}},
		{"pprof port", []string{"--pprof.enabled", "--pprof.port=70000"}, []string{"--pprof.port=70000"}},
		{"alt-DA without server", []string{"--altda.enabled"}, []string{"--altda"}},
		{"alt-DA without chain", []string{"--altda.enabled", "--altda.da-server=http://a"}, []string{"--altda.enabled"}},

		{"p2p key", []string{"--p2p.priv.raw=zz"}, []string{"--p2p.priv.raw", "64 hex digits"}},
		{"p2p key file", []string{"--p2p.priv.path=" + shortKey}, []string{"--p2p.priv.path=" + shortKey, "1 bytes"}},
		{"p2p key in no directory", []string{"--p2p.priv.path=" + missing}, []string{"--p2p.priv.path=" + missing}},
		{"p2p key nowhere", []string{"--p2p.priv.path="}, []string{"--p2p.priv.path is empty"}},
		{"listen address", []string{"--p2p.listen.ip=everywhere"}, []string{"--p2p.listen.ip=everywhere"}},
		{"listen port of the system", []string{"--p2p.listen.tcp=80"}, []string{"--p2p.listen.tcp=80", "1024"}},
		{"listen port too high", []string{"--p2p.listen.udp=65536"}, []string{"--p2p.listen.udp=65536"}},
		{"advertised port", []string{"--p2p.advertise.udp=65536"}, []string{"--p2p.advertise.udp=65536"}},
		{"static peer", []string{"--p2p.static=127.0.0.1:9222"}, []string{"--p2p.static", "127.0.0.1:9222", "multiaddr"}},
		{"static peers without p2p", []string{"--p2p.disable", "--p2p.static=/ip4/127.0.0.1/tcp/1"}, nil},
		{"net restriction", []string{"--p2p.netrestrict=10/8"}, []string{"--p2p.netrestrict=10/8"}},
		{"bootnode", []string{"--p2p.no-discovery=false", "--p2p.bootnodes=enr:nonsense"}, []string{"--p2p.bootnodes", "enr:nonsense"}},
		{"multiplexer", []string{"--p2p.mux=spdy"}, []string{"--p2p.mux=spdy", "yamux"}},
		{"security mixed with none", []string{"--p2p.security=noise,none"}, []string{"--p2p.security=none", "alone"}},
		{"peer numbers", []string{"--p2p.peers.lo=31"}, []string{"--p2p.peers.lo=31", "--p2p.peers.hi=30"}},
		{"scoring", []string{"--p2p.scoring=harsh"}, []string{"--p2p.scoring=harsh", "light"}},
		{"mesh", []string{"--p2p.gossip.mesh.dlazy=0"}, []string{"--p2p.gossip.mesh.dlazy=0"}},
		{"peerstore path", []string{"--p2p.peerstore.path="}, []string{"--p2p.peerstore.path", "memory"}},
		{"signer key", []string{"--p2p.sequencer.key=zz"}, []string{"--p2p.sequencer.key", "64 hex digits"}},
		{"two signers", []string{"--p2p.sequencer.key=" + hexKey, "--signer.endpoint=http://a", "--signer.address=0x11"}, []string{"--p2p.sequencer.key", "--signer.endpoint"}},
		{"half a signer", []string{"--signer.endpoint=http://a"}, []string{"--signer.endpoint", "--signer.address"}},

		{"not a number", []string{"--rpc.port=http"}, []string{"rpc.port", "http"}},
		{"not a duration", []string{"--l1.http-poll-interval=12"}, []string{"l1.http-poll-interval", "12"}},
		{"unknown flag", []string{"--rollup.halt=major"}, []string{"flag provided but not defined: -rollup.halt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := read(t, f.args(test.args...)...)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			for _, part := range test.want {
				require.Contains(t, err.Error(), part)
			}
			require.NotContains(t, err.Error(), "\n", "one line")
			require.NotContains(t, err.Error(), "hunter2", "no secrets")
			require.NotContains(t, err.Error(), hexKey, "no secrets")
		})
	}
}

func TestRequiredFlags(t *testing.T) {
	all := []string{"--l1=http://a", "--l2=http://b", "--l2.jwt-secret=" + filepath.Join(t.TempDir(), "jwt")}
	for i, name := range required() {
		_, _, err := read(t, append(append([]string{}, all[:i]...), all[i+1:]...)...)
		require.EqualError(t, err, "flag "+name+" is required")
	}
}

func TestVariablesAreCheckedToo(t *testing.T) {
	t.Setenv("OP_NODE_RPC_PORT", "http")
	_, _, err := read(t, newFiles(t).args()...)
	require.ErrorContains(t, err, "OP_NODE_RPC_PORT")
}

// TestBootnodesAndDNS: names of bootnodes are resolved for discovery only.
func TestBootnodesAndDNS(t *testing.T) {
	named := "enode://d25ce99435982b04d60c4b41ba256b84b888626db7bee45a9419382300fbe907359ae5ef250346785bff8d3b9d07cd3e017a27e2ee3cfda3bcbb0ba762ac9674@boot.example:30301"
	asked := 0
	resolve := func(answer ...net.IP) lookup {
		return func(host string) ([]net.IP, error) {
			asked++
			require.Equal(t, "boot.example", host)
			if answer == nil {
				return nil, errors.New("no such host")
			}
			return answer, nil
		}
	}
	discover := func(disabled bool, resolve lookup, records ...string) (config.Discovery, error) {
		r, out := rawP2P{bootnodes: *cli.NewStringSlice(records...)}, config.Discovery{Disabled: disabled, Path: config.InMemory}
		err := r.discovery(&out, log.NewLogger(log.DiscardHandler()), resolve)
		return out, err
	}

	out, err := discover(false, resolve(net.IPv4(10, 0, 0, 1)), named, " ", bootnode)
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.Len(t, out.Bootnodes, 2)
	require.Equal(t, "10.0.0.1", out.Bootnodes[0].IP().String())
	require.Equal(t, 30301, out.Bootnodes[0].TCP())

	out, err = discover(false, resolve(net.ParseIP("fd00::1")), named)
	require.NoError(t, err)
	require.Equal(t, "fd00::1", out.Bootnodes[0].IP().String())

	_, err = discover(false, resolve(), named)
	require.ErrorContains(t, err, "boot.example")

	asked = 0
	out, err = discover(true, resolve(), named)
	require.NoError(t, err)
	require.Empty(t, out.Bootnodes)
	out, err = discover(true, resolve()) // the built-in list has names too
	require.NoError(t, err)
	require.Empty(t, out.Bootnodes)
	require.Zero(t, asked)
}

func TestAdvertisedName(t *testing.T) {
	v4, v6 := net.IPv4(10, 0, 0, 2), net.ParseIP("fd00::2")
	resolve := func(host string) ([]net.IP, error) {
		switch host {
		case "both.example":
			return []net.IP{v6, v4}, nil
		case "six.example":
			return []net.IP{v6}, nil
		}
		return nil, errors.New("no such host")
	}
	for host, want := range map[string]string{"10.0.0.1": "10.0.0.1", "both.example": "10.0.0.2"} {
		ip, err := firstIPv4(host, resolve)
		require.NoError(t, err)
		require.Equal(t, want, ip.String())
	}
	for host, want := range map[string]string{"six.example": "no IPv4 address", "none.example": "no such host"} {
		_, err := firstIPv4(host, resolve)
		require.ErrorContains(t, err, want)
	}
}
