// Package flags is the command line of the node: the table of every flag, and the reading of the flags into a config.Config.
//
// Names, environment variables, aliases, defaults and categories are those of upstream's op-node, so that an operator can replace
// the binary and nothing else; tests compare them with a recorded list. The flags of follow mode come on top.
package flags

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-core/forks"
	"github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	oplog "github.com/ethereum-optimism/optimism/op-service/log"
	opmetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
	"github.com/ethereum-optimism/optimism/op-service/oppprof"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/chaincfg"
	"github.com/lightcl/op-node/op-node/config"
)

// EnvPrefix starts the name of every environment variable of the node.
const EnvPrefix = "OP_NODE"

// Help categories. The numbers give their order.
const (
	categoryRollup     = "1. ROLLUP"
	categoryL1         = "2. L1 RPC"
	categorySequencer  = "3. SEQUENCER"
	categoryOperations = "4. LOGGING, METRICS, DEBUGGING, AND API"
	categoryP2P        = "5. PEER-TO-PEER"
	categoryAltDA      = "6. ALT-DA (EXPERIMENTAL)"
	categoryInterop    = "8. INTEROP (SUPER EXPERIMENTAL)"

	// CategoryMisc also holds --help and --version.
	CategoryMisc = "7. MISC"
)

// Set is the flag table of one run of the program: the flags, and the values they are bound to. It is good for parsing one command
// line; make a new one for the next.
type Set struct {
	// Flags are all flags, the deprecated ones included.
	Flags []cli.Flag
	// Deprecated are the flags that are still accepted, with a warning.
	Deprecated []cli.Flag

	cfg *config.Config
	raw raw
}

// raw holds the values of flags that need more than parsing: a file, a look-up, another flag.
type raw struct {
	network, rollupConfig, l1ChainConfig, dependencySet string

	overrides           map[forks.Name]*uint64
	keepKarstUpgradeGas bool

	jwtSecret       string
	beaconHeader    string
	beaconFallbacks cli.StringSlice
	followSource    string
	followHeaders   cli.StringSlice
	// followHeaderFile has more of followHeaders, one a line.
	followHeaderFile string

	corsDomains, vhosts, adminJWTSecret string

	finalityLookback, finalityDelay uint64

	p2p rawP2P

	deprecated rawDeprecated
}

// New returns the flag table, bound to a fresh set of default options.
func New() *Set {
	s := &Set{cfg: config.Default()}
	s.Deprecated = s.deprecated()
	for _, section := range [][]cli.Flag{
		s.endpoints(),
		s.chain(),
		s.follow(),
		s.l1(),
		s.sequencer(),
		s.operations(),
		s.peerToPeer(),
		altda.CLIFlags(EnvPrefix, categoryAltDA),
		s.experimental(),
		s.retired(),
		s.Deprecated,
	} {
		s.Flags = append(s.Flags, section...)
	}
	return s
}

// required are the flags without which the node does not start. A default does not count.
func required() []string { return []string{"l1", "l2", "l2.jwt-secret"} }

func (s *Set) endpoints() []cli.Flag {
	in, c := section{category: categoryRollup}, s.cfg
	return []cli.Flag{
		in.text(&c.L1.URL, "l1", "L1_ETH_RPC", "URL of the L1 execution client's JSON-RPC (http, ws or IPC; eth namespace). Has to be given."),
		in.text(&c.L2.URL, "l2", "L2_ENGINE_RPC", "URL of the L2 execution client's authenticated JSON-RPC (engine and eth namespaces). Has to be given."),
		in.text(&s.raw.jwtSecret, "l2.jwt-secret", "L2_ENGINE_AUTH", "File with the 32-byte hex JWT secret shared with the L2 execution client. Created if it does not exist. Has to be given."),
		in.text(&c.Beacon.URL, "l1.beacon", "L1_BEACON", "URL of the L1 consensus client's beacon API, where blobs come from. Not used in follow mode."),
		in.choice(&c.L2.Kind, "l2.enginekind", "L2_ENGINE_KIND", "L2 execution client in use: "+choices(engine.Kinds)),
		in.duration(&c.L2.CallTimeout, "l2.engine-rpc-timeout", "L2_ENGINE_RPC_TIMEOUT", "Time limit of a call to the L2 execution client."),
		in.choice(&c.Sync.Mode, "syncmode", "SYNCMODE", "How missing L2 blocks are synced: "+choices(sync.ModeStrings)),
		in.duration(&c.Sync.OffsetELSafe, "syncmode.offset-el-safe", "SYNCMODE_OFFSET_EL_SAFE",
			"How far behind the tip safe and finalized start once an execution-layer sync is done. 12h is one sequencing window of OP Mainnet."),
		in.number(&s.raw.finalityLookback, "finality.lookback", "FINALITY_LOOKBACK",
			"L1 blocks that are remembered for finality. 0 means what the chain's parameters, alt-DA windows included, call for."),
		in.number(&s.raw.finalityDelay, "finality.delay", "FINALITY_DELAY", "L1 blocks between two attempts to finalize. 0 means 64."),
	}
}

func (s *Set) chain() []cli.Flag {
	in, c := section{category: categoryRollup}, s.cfg
	list := []cli.Flag{
		in.text(&s.raw.network, "network", "NETWORK", "Chain by registry name or chain id. Known names: "+strings.Join(chaincfg.Networks(), ", ")),
		in.text(&s.raw.rollupConfig, "rollup.config", "ROLLUP_CONFIG", "JSON file with the rollup config of the chain. Not used with --network."),
		in.path(&s.raw.l1ChainConfig, "rollup.l1-chain-config", "ROLLUP_L1_CHAIN_CONFIG",
			"JSON file with the L1's chain config, or a genesis file that holds it under 'config'. Only for an L1 that is not a public one."),
		in.hide().onoff(&c.Chain.IgnoreMissingPectraBlobSchedule, "ignore-missing-pectra-blob-schedule", "IGNORE_MISSING_PECTRA_BLOB_SCHEDULE",
			"Start on a Sepolia or Holesky chain without the Pectra blob schedule fix. The right remedy is --override.pectrablobschedule."),
	}
	s.raw.overrides = map[forks.Name]*uint64{}
	for _, fork := range overridable() {
		at := new(uint64)
		s.raw.overrides[fork] = at
		list = append(list, in.number(at, overrideName(fork), "OVERRIDE_"+strings.ToUpper(string(fork)),
			fmt.Sprintf("Activation time of %s, in place of the one in the rollup config.", fork)))
	}
	return append(list, in.onoff(&s.raw.keepKarstUpgradeGas, keepKarstUpgradeGas, "OVERRIDE_KEEP_KARST_UPGRADE_GAS",
		"Value of keep_karst_upgrade_gas, in place of the one in the rollup config: later blocks keep the gas limit of the Karst activation block."))
}

// keepKarstUpgradeGas overrides a yes-or-no setting of the rollup config, unlike the forks' times.
const keepKarstUpgradeGas = "override.keep-karst-upgrade-gas"

// overridable lists the forks whose time can be set by flag.
func overridable() []forks.Name { return append(forks.From(forks.Canyon), forks.AllOpt...) }

func overrideName(fork forks.Name) string { return "override." + string(fork) }

func (s *Set) follow() []cli.Flag {
	in, c := section{category: categoryRollup}, s.cfg
	return []cli.Flag{
		in.text(&s.raw.followSource, "l2.follow.source", "L2_FOLLOW_SOURCE",
			"URL of another op-node's RPC, or several, comma-separated. Turns on follow mode: safe and finalized blocks come from there, checked against L1, and nothing is derived."),
		in.duration(&c.Follow.CallTimeout, "l2.follow.source.rpc-timeout", "L2_FOLLOW_SOURCE_RPC_TIMEOUT", "Time limit of a request to the follow source."),
		in.list(&s.raw.followHeaders, "l2.follow.source.header", "L2_FOLLOW_SOURCE_HEADER",
			"HTTP header for requests to all follow sources, as 'Key: Value', or to one of them, as 'URL|Key: Value'. Can be given several times. A value with a comma goes into a file."),
		in.file(&s.raw.followHeaderFile, "l2.follow.source.header-file", "L2_FOLLOW_SOURCE_HEADER_FILE",
			"File with such headers, one a line; lines that begin with # do not count. Unlike a flag, it is not in the list of processes."),
		in.duration(&c.Follow.PollInterval, "l2.follow.poll-interval", "L2_FOLLOW_POLL_INTERVAL",
			"Time between two requests to a follow source. 0 lets L1 set the pace, within one request a second on average."),
		in.integer(&c.Follow.Quorum, "l2.follow.quorum", "L2_FOLLOW_QUORUM",
			"How many follow sources have to support a head before a label moves to it. With 1, one source is followed and the others stand by; else it has to be more than half of them."),
		in.duration(&c.Follow.MaxLag, "l2.follow.max-lag", "L2_FOLLOW_MAX_LAG",
			"How much L1, in time, the followed source may be behind another one before that is followed, and the labels behind the own L1 head before /readyz says source_behind."),
	}
}

func (s *Set) l1() []cli.Flag {
	in, c := section{category: categoryL1}, s.cfg
	fallbacks := in.list(&s.raw.beaconFallbacks, "l1.beacon-fallbacks", "L1_BEACON_FALLBACKS", "URLs of beacon APIs that are asked for blobs the first one does not have any more.")
	fallbacks.Aliases = []string{"l1.beacon-archiver"}
	fallbacks.EnvVars = env("L1_BEACON_FALLBACKS", "L1_BEACON_ARCHIVER")
	return []cli.Flag{
		in.text(&s.raw.beaconHeader, "l1.beacon-header", "L1_BEACON_HEADER", "HTTP header for requests to the beacon API, as 'Key: Value'."),
		fallbacks,
		in.onoff(&c.Beacon.IgnoreCheck, "l1.beacon.ignore", "L1_BEACON_IGNORE", "Start although the beacon API is missing or does not answer."),
		in.onoff(&c.Beacon.FetchAllSidecars, "l1.beacon.fetch-all-sidecars", "L1_BEACON_FETCH_ALL_SIDECARS",
			"Fetch all sidecars of a block and pick the wanted ones here, for beacon nodes that pick wrongly."),
		in.number(&c.Beacon.SlotDuration, "l1.beacon.slot-duration-override", "L1_BEACON_SLOT_DURATION_OVERRIDE",
			"Seconds of an L1 slot, for beacon APIs that do not serve their spec. 0 means ask the API."),
		in.onoff(&c.L1.TrustRPC, "l1.trustrpc", "L1_TRUST_RPC", "Believe the L1 RPC without checking hashes. Faster, and only as right as the RPC."),
		in.choice(&c.L1.Kind, "l1.rpckind", "L1_RPC_KIND", "Kind of L1 RPC provider, decides how receipts are fetched: "+choices(sources.RPCProviderKinds)),
		in.decimal(&c.L1.RateLimit, "l1.rpc-rate-limit", "L1_RPC_RATE_LIMIT", "Requests per second to the L1 RPC at most. 0 means no limit."),
		in.integer(&c.L1.MaxBatchSize, "l1.rpc-max-batch-size", "L1_RPC_MAX_BATCH_SIZE", "Requests in one batch to the L1 RPC at most; also the burst of the rate limit."),
		in.integer(&c.L1.MaxConcurrency, "l1.max-concurrency", "L1_MAX_CONCURRENCY", "Requests in flight to the L1 RPC at most."),
		in.duration(&c.L1.HTTPPollInterval, "l1.http-poll-interval", "L1_HTTP_POLL_INTERVAL", "How often on average an L1 RPC that cannot push (http) is asked for its head."),
		in.unsigned(&c.L1.CacheSize, "l1.cache-size", "L1_CACHE_SIZE",
			"L1 blocks, receipts and transactions kept in memory, in blocks. 0 means 3/2 of the sequencing window; chains with rare batches need that much."),
		in.number(&c.L1.VerifierConfs, "verifier.l1-confs", "VERIFIER_L1_CONFS", "L1 blocks that derivation stays behind the L1 head."),
		in.duration(&c.L1.EpochPollInterval, "l1.epoch-poll-interval", "L1_EPOCH_POLL_INTERVAL", "How often L1 is asked for its safe and finalized block. 0 or less means never."),
		in.duration(&c.L1.RuntimeConfigReloadInterval, "l1.runtime-config-reload-interval", "L1_RUNTIME_CONFIG_RELOAD_INTERVAL",
			"How often the unsafe block signer is read from L1. 0 or less means only at start."),
	}
}

func (s *Set) sequencer() []cli.Flag {
	in, c := section{category: categorySequencer}, s.cfg
	return []cli.Flag{
		in.onoff(&c.Sequencer.Enabled, "sequencer.enabled", "SEQUENCER_ENABLED", "Produce blocks. Batches for verifiers are the op-batcher's work."),
		in.onoff(&c.Sequencer.Stopped, "sequencer.stopped", "SEQUENCER_STOPPED", "Wait with producing blocks until admin_startSequencer."),
		in.number(&c.Sequencer.MaxSafeLag, "sequencer.max-safe-lag", "SEQUENCER_MAX_SAFE_LAG", "L2 blocks that the unsafe head may be ahead of the safe head. 0 means no limit."),
		in.number(&c.Sequencer.L1Confs, "sequencer.l1-confs", "SEQUENCER_L1_CONFS", "L1 blocks that L1 origins stay behind the L1 head."),
		in.onoff(&c.Sequencer.Recover, "sequencer.recover", "SEQUENCER_RECOVER", "Produce empty blocks, each on the next L1 origin, to catch up with a missed sequencing window."),
		in.duration(&c.Sequencer.SealingDuration, "sequencer.sealing-duration", "SEQUENCER_SEALING_DURATION",
			"How long before a block's time its payload is taken from the execution client. 0 or less means 50ms."),
		in.onoff(&c.Conductor.Enabled, "conductor.enabled", "CONDUCTOR_ENABLED", "Let an op-conductor decide which sequencer produces blocks."),
		in.text(&c.Conductor.URL, "conductor.rpc", "CONDUCTOR_RPC", "URL of the op-conductor's RPC."),
		in.duration(&c.Conductor.CallTimeout, "conductor.rpc-timeout", "CONDUCTOR_RPC_TIMEOUT", "Time limit of a request to the op-conductor."),
	}
}

func (s *Set) operations() []cli.Flag {
	in, c := section{category: categoryOperations}, s.cfg
	list := []cli.Flag{
		in.text(&c.RPC.AdminStatePath, "rpc.admin-state", "RPC_ADMIN_STATE", "File that keeps, over restarts, whether the admin API started or stopped the sequencer."),
		in.integer(&c.RPC.FollowMaxWaiters, "rpc.follow-max-waiters", "RPC_FOLLOW_MAX_WAITERS",
			"Clients that may wait for a new status at the same time (follow_statusAfter). One more gets an error, and polls. 0 has all of them poll."),
		in.onoff(&c.L2.WithdrawalRootFromState, "fetch-withdrawal-root-from-state", "FETCH_WITHDRAWAL_ROOT_FROM_STATE",
			"Take the withdrawals root of output roots from the state instead of the block header. Needs an archive node."),
		in.text(&c.SafeDBPath, "safedb.path", "SAFEDB_PATH", "Directory of the database of safe heads by L1 block. Nothing is kept without it, nor in follow mode."),
	}
	list = append(list, oplog.CLIFlagsWithCategory(EnvPrefix, categoryOperations)...)
	list = append(list, oppprof.CLIFlagsWithCategory(EnvPrefix, categoryOperations)...)
	list = append(list, opmetrics.CLIFlagsWithCategory(EnvPrefix, categoryOperations)...)
	list = append(list, oprpc.CLIFlagsWithCategory(EnvPrefix, categoryOperations, c.RPC.CLIConfig)...)
	return append(list, s.access()...)
}

// access returns the flags that say who may use the RPC, and how much of it.
func (s *Set) access() []cli.Flag {
	in, c, r := section{category: categoryOperations}, &s.cfg.RPC, &s.raw
	r.corsDomains, r.vhosts = strings.Join(c.CORSDomains, ","), strings.Join(c.VHosts, ",")
	return []cli.Flag{
		in.text(&r.corsDomains, "rpc.cors-domains", "RPC_CORS_DOMAINS",
			"Web pages whose scripts may use the RPC, as scheme://host:port, comma-separated. * means all, an empty value none."),
		in.text(&r.vhosts, "rpc.vhosts", "RPC_VHOSTS",
			"Host names under which the RPC may be asked for, comma-separated, beside IP addresses. * means all. A list keeps DNS rebinding out."),
		in.integer(&c.BodyLimit, "rpc.body-limit", "RPC_BODY_LIMIT", "Bytes of an RPC request at most."),
		in.integer(&c.BatchLimit, "rpc.batch-limit", "RPC_BATCH_LIMIT", "Calls in one RPC request at most."),
		in.integer(&c.BatchAnswerLimit, "rpc.batch-answer-limit", "RPC_BATCH_ANSWER_LIMIT",
			"Bytes of the answers to one RPC batch at most. The calls that are left then get an error."),
		in.integer(&c.RequestLimit, "rpc.request-limit", "RPC_REQUEST_LIMIT",
			"RPC requests worked on at the same time at most. One of the greatest length, or with the most calls, counts as half of them. More wait for a second, then get an error (HTTP 503)."),
		in.text(&c.AdminListen, "rpc.admin-listen", "RPC_ADMIN_LISTEN",
			"Address (host:port) of a listener for everything, admin and peer control included. The RPC itself then serves only what reads. Without it the RPC serves everything."),
		in.file(&r.adminJWTSecret, "rpc.admin-jwt-secret", "RPC_ADMIN_JWT_SECRET",
			"File with the 32-byte hex secret that calls to --rpc.admin-listen have to be signed with (JWT, as in the engine API). Created if it does not exist."),
	}
}

func (s *Set) experimental() []cli.Flag {
	set := section{category: categoryInterop}.path(&s.raw.dependencySet, "interop.dependency-set", "INTEROP_DEPENDENCY_SET", "JSON file with the interop dependency set.")
	set.TakesFile = true
	return []cli.Flag{
		set,
		section{category: CategoryMisc}.onoff(&s.cfg.RPC.SequencerAPI, "experimental.sequencer-api", "EXPERIMENTAL_SEQUENCER_API", "Serve the opstack namespace, for test sequencers."),
	}
}

// choices lists the accepted values of a flag.
func choices[T any](values []T) string {
	var names []string
	for _, value := range values {
		names = append(names, fmt.Sprint(value))
	}
	return strings.Join(names, ", ")
}

// signer returns the flags of the remote signer; one of them has no category, as upstream.
func signer() []cli.Flag { return opsigner.CLIFlags(EnvPrefix, categoryP2P) }
