package flags

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"

	"github.com/lightcl/op-node/op-node/chaincfg"
	"github.com/lightcl/op-node/op-node/config"
)

// files are the files of a valid command line, and others to put in their place.
type files struct{ dir, rollup, l1, jwt, key, altDA, otherL1, depSet, headers string }

// newFiles writes the config of a chain on an L1 that nobody knows.
func newFiles(t *testing.T) files {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	f := files{
		dir: dir, rollup: in("rollup.json"), l1: in("l1.json"), jwt: in("jwt.txt"), key: in("key.txt"),
		altDA: in("altda.json"), otherL1: in("genesis.json"), depSet: in("depset.json"), headers: in("headers.txt"),
	}
	chain := testChain(t)
	writeJSON(t, f.rollup, chain)
	l1 := map[string]any{"chainId": chain.L1ChainID, "blobSchedule": params.DefaultBlobSchedule}
	writeJSON(t, f.l1, l1)

	chain.AltDAConfig = &rollup.AltDAConfig{CommitmentType: altda.GenericCommitmentString, DAChallengeWindow: 1, DAResolveWindow: 1}
	writeJSON(t, f.altDA, chain)
	l1["homesteadBlock"] = 5
	writeJSON(t, f.otherL1, map[string]any{"config": l1, "alloc": map[string]any{}})
	writeJSON(t, f.depSet, map[string]any{"dependencies": map[string]any{"901": map[string]any{}}})
	require.NoError(t, os.WriteFile(f.headers, []byte("# for all\nX-File: one, two\n\nhttp://127.0.0.1:14/x|X-Own:three\n"), 0o600))
	return f
}

func testChain(t *testing.T) *rollup.Config {
	cfg, err := chaincfg.RollupConfig("op-sepolia")
	require.NoError(t, err)
	cfg.L1ChainID.SetUint64(900)
	cfg.L2ChainID.SetUint64(901)
	return cfg
}

func writeJSON(t *testing.T, path string, value any) {
	data, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// args is a valid command line in derivation mode, followed by more flags.
func (f files) args(more ...string) []string {
	return append([]string{
		"--l1=http://127.0.0.1:1", "--l2=http://127.0.0.1:2", "--l2.jwt-secret=" + f.jwt, "--l1.beacon=http://127.0.0.1:3",
		"--rollup.config=" + f.rollup, "--rollup.l1-chain-config=" + f.l1,
		"--p2p.priv.path=" + f.key, "--p2p.no-discovery",
	}, more...)
}

// read parses a command line as the program does, but for the command line library's bookkeeping, which takes long for so many flags.
func read(t *testing.T, args ...string) (cfg *config.Config, logged string, err error) {
	set, line, out := New(), flag.NewFlagSet("op-node", flag.ContinueOnError), new(strings.Builder)
	line.SetOutput(io.Discard)
	app := cli.NewApp()
	app.Flags = set.Flags
	for _, f := range set.Flags {
		if err := f.Apply(line); err != nil {
			return nil, "", err
		}
	}
	if err := line.Parse(args); err != nil {
		return nil, "", err
	}
	cfg, err = set.Read(cli.NewContext(app, line, nil), log.NewLogger(slog.NewTextHandler(out, nil)))
	return cfg, out.String(), err
}

func TestDefaultsAreTheConfigsOwn(t *testing.T) {
	f := newFiles(t)
	got, logged, err := read(t, f.args()...)
	require.NoError(t, err)
	require.NotContains(t, logged, "syncmode")

	want := config.Default()
	want.L1.URL, want.L2.URL, want.Beacon.URL = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"
	want.L2.JWTSecret, want.Chain, want.P2P.Identity = got.L2.JWTSecret, got.Chain, got.P2P.Identity
	want.P2P.Discovery.Disabled = true
	want.Sync.OffsetELSafe = 0 // of no use without execution-layer sync
	want.Signer.Remote.Headers = http.Header{}
	want.P2P.Listen.IP = net.IPv4zero
	require.Equal(t, want, got)
}

var update = flag.Bool("update", false, "rewrite the files under testdata, and flags.md")

// TestEveryFlagActs records in testdata/effects.txt what each flag does to the configuration.
func TestEveryFlagActs(t *testing.T) {
	f := newFiles(t)
	for i, path := range []string{f.jwt, f.key, filepath.Join(f.dir, "other.jwt"), filepath.Join(f.dir, "other.key")} {
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(fmt.Sprintf("%02d", i+1), 32)), 0o600))
	}
	values, companions := samples(t, f), companions(f)
	base, _, err := read(t, f.args()...)
	require.NoError(t, err)
	var effects strings.Builder
	for _, flag := range New().Flags {
		name := flag.Names()[0]
		value, ok := values[name]
		require.True(t, ok, "no sample value for --%s", name)
		without := base
		if companions[name] != nil {
			without, _, err = read(t, f.args(companions[name]...)...)
			require.NoError(t, err, name)
		}
		with, _, err := read(t, f.args(append(companions[name], "--"+name+"="+value)...)...)
		require.NoError(t, err, name)
		fmt.Fprintf(&effects, "--%s=%s\n", name, strings.ReplaceAll(value, f.dir, "DIR"))
		for _, change := range changes(without, with) {
			fmt.Fprintf(&effects, "    %s\n", strings.ReplaceAll(change, f.dir, "DIR"))
		}
	}
	const file = "testdata/effects.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(effects.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), effects.String(), "run with -update and read the difference")
}

// changes lists the options in which two configurations differ, in the order of the struct.
func changes(before, after *config.Config) []string {
	var out []string
	old := map[string]string{}
	flatten("", reflect.ValueOf(*before), func(path, value string) { old[path] = value })
	flatten("", reflect.ValueOf(*after), func(path, value string) {
		if old[path] != value {
			out = append(out, fmt.Sprintf("%s: %s -> %s", path, old[path], value))
		}
		delete(old, path)
	})
	for _, path := range slices.Sorted(maps.Keys(old)) {
		out = append(out, fmt.Sprintf("%s: %s -> ", path, old[path]))
	}
	return out
}

// flatten tells every leaf of a value with its path.
func flatten(path string, v reflect.Value, tell func(path, value string)) {
	switch value := v.Interface().(type) {
	case *crypto.Secp256k1PrivateKey:
		if value != nil {
			raw, err := value.Raw()
			tell(path, fmt.Sprintf("%x %v", raw, err))
		}
		return
	case config.Follow: // its String is for logs
	case depset.DependencySet:
		tell(path, fmt.Sprint(value.Chains()))
		return
	case fmt.Stringer:
		if v.Kind() != reflect.Pointer || !v.IsNil() {
			tell(path, value.String())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			flatten(path, v.Elem(), tell)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				flatten(strings.TrimPrefix(path+"."+field.Name, "."), v.Field(i), tell)
			}
		}
	default:
		tell(path, fmt.Sprint(v.Interface()))
	}
}

// companions are flags that another one needs to be accepted or to matter.
func companions(f files) map[string][]string {
	remote := []string{"--signer.endpoint=http://127.0.0.1:5", "--signer.address=0x1111111111111111111111111111111111111111", "--signer.tls.enabled=false"}
	return map[string][]string{
		"syncmode.offset-el-safe":      {"--syncmode=execution-layer"},
		"conductor.enabled":            {"--sequencer.enabled"},
		"altda.enabled":                {"--rollup.config=" + f.altDA, "--altda.da-server=http://127.0.0.1:4"},
		"override.lagoon":              {"--interop.dependency-set=" + f.depSet},
		"signer.endpoint":              remote,
		"signer.address":               remote,
		"p2p.scoring.peers":            {"--p2p.scoring="},
		"p2p.scoring.topics":           {"--p2p.scoring="},
		"p2p.bootnodes":                {"--p2p.no-discovery=false", "--p2p.bootnodes=,"},
		"l2.follow.source.header-file": {"--l2.follow.source=http://127.0.0.1:14/x"},
		"rpc.admin-jwt-secret":         {"--rpc.admin-listen=127.0.0.1:9547"},
		"p2p.no-discovery":             {"--p2p.bootnodes=" + bootnode},
	}
}

const (
	bootnode = "enode://869d07b5932f17e8490990f75a3f94195e9504ddb6b85f7189e5a9c0a8fff8b00aecf6f3ac450ecba6cdabdb5858788a94bde2b613e0f2d82e9b395355f76d1a@34.65.67.101:30305"
	hexKey   = "1111111111111111111111111111111111111111111111111111111111111111"
)

// samples are accepted values other than the defaults.
func samples(t *testing.T, f files) map[string]string {
	out := map[string]string{
		"l1": "ws://127.0.0.1:11", "l2": "ws://127.0.0.1:12", "l2.jwt-secret": filepath.Join(f.dir, "other.jwt"), "l1.beacon": "http://127.0.0.1:13",
		"l2.enginekind": "geth", "l2.engine-rpc-timeout": "3s", "syncmode": "execution-layer", "syncmode.offset-el-safe": "1h",
		"finality.lookback": "5", "finality.delay": "6", "network": "op-sepolia", "rollup.config": f.altDA, "rollup.l1-chain-config": f.otherL1,
		"ignore-missing-pectra-blob-schedule": "true", "override.keep-karst-upgrade-gas": "true",
		"l2.follow.source": "http://127.0.0.1:14", "l2.follow.source.rpc-timeout": "4s", "l2.follow.source.header": "X-Key: secret", "l2.follow.source.header-file": f.headers, "l2.follow.poll-interval": "7s",
		"rpc.follow-max-waiters": "7", "l2.follow.quorum": "2", "l2.follow.max-lag": "3m",
		"l1.beacon-header": "X-Key: secret", "l1.beacon-fallbacks": "http://127.0.0.1:15", "l1.beacon.ignore": "true", "l1.beacon.fetch-all-sidecars": "true",
		"l1.beacon.slot-duration-override": "2", "l1.trustrpc": "true", "l1.rpckind": "alchemy", "l1.rpc-rate-limit": "1.5", "l1.rpc-max-batch-size": "7",
		"l1.max-concurrency": "3", "l1.http-poll-interval": "1s", "l1.cache-size": "0", "verifier.l1-confs": "2", "l1.epoch-poll-interval": "0", "l1.runtime-config-reload-interval": "0",
		"sequencer.enabled": "true", "sequencer.stopped": "true", "sequencer.max-safe-lag": "9", "sequencer.l1-confs": "0", "sequencer.recover": "true", "sequencer.sealing-duration": "60ms",
		"conductor.enabled": "true", "conductor.rpc": "http://127.0.0.1:16", "conductor.rpc-timeout": "2s",
		"rpc.admin-state": filepath.Join(f.dir, "state.json"), "fetch-withdrawal-root-from-state": "true", "safedb.path": filepath.Join(f.dir, "safedb"),
		"log.level": "debug", "log.format": "json", "log.color": "true", "log.pid": "true",
		"pprof.enabled": "true", "pprof.addr": "127.0.0.1", "pprof.port": "6061", "pprof.path": f.dir, "pprof.type": "cpu",
		"metrics.enabled": "true", "metrics.addr": "127.0.0.1", "metrics.port": "7301", "rpc.addr": "127.0.0.1", "rpc.port": "9546", "rpc.enable-admin": "true",
		"rpc.cors-domains": "https://a,https://b", "rpc.vhosts": "node.internal", "rpc.body-limit": "2048", "rpc.batch-limit": "8", "rpc.batch-answer-limit": "4096",
		"rpc.request-limit": "9", "rpc.admin-listen": "127.0.0.1:9547", "rpc.admin-jwt-secret": filepath.Join(f.dir, "other.jwt"),
		"interop.dependency-set": f.depSet, "experimental.sequencer-api": "true",
		"altda.enabled": "true", "altda.da-server": "http://127.0.0.1:4", "altda.verify-on-read": "false", "altda.da-service": "true",
		"altda.put-timeout": "1s", "altda.get-timeout": "1s", "altda.max-concurrent-da-requests": "2",
		"snapshotlog.file": "x", "heartbeat.enabled": "true", "heartbeat.moniker": "x", "heartbeat.url": "x",
		"beta.extra-networks": "true", "l2.backup-unsafe-sync-rpc": "x", "l2.backup-unsafe-sync-rpc.trustrpc": "x",
		"syncmode.req-resp": "true", "p2p.score.bands": "x", "p2p.sync.onlyreqtostatic": "true", "l2.engine-sync": "true", "l2.skip-sync-start-check": "true",
		"p2p.scoring.peers": "none", "p2p.scoring.topics": "none",
		"p2p.disable": "true", "p2p.no-discovery": "false", "p2p.scoring": "none", "p2p.ban.peers": "false", "p2p.ban.threshold": "-5", "p2p.ban.duration": "1m",
		"p2p.priv.path": filepath.Join(f.dir, "other.key"), "p2p.priv.raw": "0x" + hexKey, "p2p.listen.ip": "127.0.0.1", "p2p.listen.tcp": "0", "p2p.listen.udp": "9333",
		"p2p.advertise.ip": "10.0.0.1", "p2p.advertise.tcp": "9444", "p2p.advertise.udp": "9445", "p2p.bootnodes": bootnode,
		"p2p.static": "/ip4/127.0.0.1/tcp/9222/p2p/16Uiu2HAkyX6bvsZavCvRuU3qwKrH2U1KavsQzDgNnMkChYSqehrC", "p2p.netrestrict": "10.0.0.0/8",
		"p2p.mux": "mplex", "p2p.security": "tls", "p2p.peers.lo": "2", "p2p.peers.hi": "40", "p2p.peers.grace": "1s", "p2p.nat": "true", "p2p.useragent": "x",
		"p2p.timeout.negotiation": "1s", "p2p.timeout.accept": "1s", "p2p.timeout.dial": "1s", "p2p.peerstore.path": "memory", "p2p.discovery.path": "memory",
		"p2p.sequencer.key": hexKey, "p2p.gossip.mesh.d": "3", "p2p.gossip.mesh.lo": "2", "p2p.gossip.mesh.dhi": "4", "p2p.gossip.mesh.dlazy": "1",
		"p2p.gossip.mesh.floodpublish": "true", "p2p.gossip.timestamp.threshold": "10s", "p2p.sync.req-resp": "false", "p2p.ping": "false",
		"signer.endpoint": "http://127.0.0.1:6", "signer.address": "0x2222222222222222222222222222222222222222", "signer.header": "a=b",
		"signer.tls.enabled": "false", "signer.tls.ca": "x", "signer.tls.cert": "x", "signer.tls.key": "x",
	}
	chain := testChain(t)
	for _, fork := range overridable() {
		at := uint64(4_000_000_000)
		if known := chain.ActivationTime(fork); known != nil {
			at = *known + 1 // forks have to stay in order
		}
		out[overrideName(fork)] = strconv.FormatUint(at, 10)
	}
	return out
}

func TestVariablesActLikeFlags(t *testing.T) {
	f := newFiles(t)
	t.Setenv("OP_NODE_L1_MAX_CONCURRENCY", "33")
	t.Setenv("OP_NODE_L1_BEACON_ARCHIVER", "http://one,http://two")
	t.Setenv("OP_NODE_SYNCMODE", "execution-layer")
	t.Setenv("OP_NODE_L2_FOLLOW_SOURCE", "http://127.0.0.1:9545")
	t.Setenv("OP_NODE_P2P_PING", "false")
	t.Setenv("OP_NODE_P2P_PEERS_LO", "") // empty counts as unset for numbers
	cfg, _, err := read(t, f.args()...)
	require.NoError(t, err)
	require.Equal(t, 33, cfg.L1.MaxConcurrency)
	require.Equal(t, []string{"http://one", "http://two"}, cfg.Beacon.Fallbacks)
	require.Equal(t, sync.ELSync, cfg.Sync.Mode)
	require.Equal(t, 12*time.Hour, cfg.Sync.OffsetELSafe)
	require.True(t, cfg.Follow.Enabled())
	require.False(t, cfg.P2P.Ping)
	require.EqualValues(t, 20, cfg.P2P.Peers.Lo)
}

func TestFilesAreMadeOnce(t *testing.T) {
	f := newFiles(t)
	first, logged, err := read(t, f.args()...)
	require.NoError(t, err)
	require.Contains(t, logged, f.jwt)
	for _, path := range []string{f.jwt, f.key} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
	}
	second, _, err := read(t, f.args()...)
	require.NoError(t, err)
	require.Equal(t, first.L2.JWTSecret, second.L2.JWTSecret)
	require.NotZero(t, first.L2.JWTSecret)
	require.True(t, first.P2P.Identity.Equals(second.P2P.Identity))
}

// TestSourceHeaders: headers are for all sources or for one, from flags and from a file.
func TestSourceHeaders(t *testing.T) {
	f := newFiles(t)
	cfg, _, err := read(t, f.args("--l2.follow.source=http://a:1,http://127.0.0.1:14/x", "--l2.follow.source.header=X-All: four",
		"--l2.follow.source.header=http://a:1|Authorization: Bearer a|b", "--l2.follow.source.header=X|Y: five", "--l2.follow.source.header-file="+f.headers)...)
	require.NoError(t, err)
	require.Equal(t, http.Header{"X-All": {"four"}, "X|y": {"five"}, "X-File": {"one, two"}}, cfg.Follow.Headers)
	require.Equal(t, map[string]http.Header{"http://a:1": {"Authorization": {"Bearer a|b"}}, "http://127.0.0.1:14/x": {"X-Own": {"three"}}}, cfg.Follow.SourceHeaders)
	for _, secret := range []string{"Bearer a|b", "one, two"} {
		require.Contains(t, cfg.Secrets(), secret)
	}
}

func TestReadWarns(t *testing.T) {
	f := newFiles(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"both network and file", []string{"--network=op-sepolia", "--ignore-missing-pectra-blob-schedule"}, "Both --network and --rollup.config"},
		{"offset without sync mode", []string{"--syncmode.offset-el-safe=1h"}, "only matters with --syncmode=execution-layer"},
		{"old sync flag", []string{"--l2.engine-sync"}, "use --syncmode=execution-layer"},
		{"heartbeat", []string{"--heartbeat.url=x"}, "heartbeat does not exist any more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, logged, err := read(t, f.args(test.args...)...)
			require.NoError(t, err)
			require.Contains(t, logged, test.want)
		})
	}
}

func TestConductorStartsTheSequencer(t *testing.T) {
	cfg, _, err := read(t, newFiles(t).args("--sequencer.enabled", "--conductor.enabled")...)
	require.NoError(t, err)
	require.True(t, cfg.Sequencer.Stopped)
}

func TestNetworkNeedsNoFiles(t *testing.T) {
	dir := t.TempDir()
	for _, network := range []string{"op-mainnet", "OP-Mainnet", "mainnet", "10"} {
		cfg, _, err := read(t, "--l1=http://127.0.0.1:1", "--l2=http://127.0.0.1:2", "--l2.jwt-secret="+dir+"/jwt",
			"--l1.beacon=http://127.0.0.1:3", "--network="+network, "--p2p.disable")
		require.NoError(t, err, network)
		require.EqualValues(t, 10, cfg.Chain.Rollup.L2ChainID.Uint64())
		require.Equal(t, params.MainnetChainConfig, cfg.Chain.L1)
	}
}
