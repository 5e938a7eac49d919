// Package config holds the typed options of the node: what the flags say, after parsing and before anything is opened or dialled.
//
// Only the packages that assemble the node (op-node/node), run it (op-node/cmd) or read the flags (op-node/flags) import it.
// Everything further in receives the values it needs as plain arguments.
package config

import (
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/params"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-node/rollup/finality"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	opmetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
	"github.com/ethereum-optimism/optimism/op-service/oppprof"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
	"github.com/ethereum-optimism/optimism/op-service/sources"
)

// Config is the complete set of options of one node. Start from [Default], fill in what has no default (the endpoints, the JWT
// secret, the chain) and call [Config.Check]. A checked Config is not modified any more.
type Config struct {
	Chain     Chain
	L1        L1
	Beacon    Beacon
	L2        L2
	Follow    Follow
	Sync      Sync
	Finality  finality.Config
	Sequencer Sequencer
	Conductor Conductor
	AltDA     altda.CLIConfig
	P2P       P2P
	Signer    Signer
	RPC       RPC
	Metrics   opmetrics.CLIConfig
	Pprof     oppprof.CLIConfig

	// SafeDBPath is the directory of the safe head database; empty means none. Not used in follow mode.
	SafeDBPath string
}

// Chain says which chain the node is on.
type Chain struct {
	// Rollup is the rollup configuration with all overrides applied.
	Rollup *rollup.Config
	// L1 is the chain configuration of the L1, needed for its blob schedule.
	L1 *params.ChainConfig
	// DependencySet is the interop dependency set, nil if none is known. Mandatory once Lagoon is scheduled.
	DependencySet depset.DependencySet
	// IgnoreMissingPectraBlobSchedule lets a chain start that looks as if it lacked the Pectra blob schedule fix.
	IgnoreMissingPectraBlobSchedule bool
}

// L1 is the connection to the L1 execution layer.
type L1 struct {
	// URL of the JSON-RPC endpoint: http, https, ws, wss or an IPC path.
	URL string
	// TrustRPC skips the verification of hashes in what the endpoint answers.
	TrustRPC bool
	// Kind of provider, which decides how receipts are fetched.
	Kind sources.RPCProviderKind
	// RateLimit in requests per second; 0 means unlimited.
	RateLimit float64
	// MaxBatchSize is the largest number of requests in one batch, and the burst of the rate limit.
	MaxBatchSize int
	// MaxConcurrency is the largest number of requests in flight.
	MaxConcurrency int
	// HTTPPollInterval is how often an HTTP endpoint is asked for its head, on average. Other endpoints push it.
	HTTPPollInterval time.Duration
	// CacheSize in blocks, for headers, receipts and transactions; 0 means 3/2 of the sequencing window.
	CacheSize uint
	// EpochPollInterval is how often the safe and finalized L1 blocks are asked for; 0 means never.
	EpochPollInterval time.Duration
	// RuntimeConfigReloadInterval is how often the runtime configuration (the unsafe block signer) is read again; 0 means only at start.
	RuntimeConfigReloadInterval time.Duration
	// VerifierConfs is the distance to the L1 head, in L1 blocks, that derivation and the runtime configuration keep.
	VerifierConfs uint64
}

// Beacon is the connection to the L1 consensus layer, from which blobs are fetched. Follow mode accepts it and does not dial it.
type Beacon struct {
	// URL of the beacon API; empty means none.
	URL string
	// Header is sent with every request to URL, not to the fallbacks.
	Header http.Header
	// Fallbacks are asked, in order, for blobs that URL does not have.
	Fallbacks []string
	// IgnoreCheck lets the node start although the beacon API is missing or does not answer.
	IgnoreCheck bool
	// FetchAllSidecars asks for all sidecars of a block and picks locally.
	FetchAllSidecars bool
	// SlotDuration in seconds replaces what the beacon API says; 0 means ask.
	SlotDuration uint64
}

// L2 is the connection to the engine API of the node's own execution layer.
type L2 struct {
	// URL of the authenticated endpoint, which serves the engine and eth namespaces.
	URL string
	// JWTSecret authenticates every connection.
	JWTSecret [32]byte
	// CallTimeout bounds each call.
	CallTimeout time.Duration
	// Kind of engine, which decides whether it can execution-layer sync after it has finalized something.
	Kind engine.Kind
	// WithdrawalRootFromState reads the withdrawals root from the state instead of the header; needs an archive node.
	WithdrawalRootFromState bool
}

// Follow selects and configures follow mode.
type Follow struct {
	// Sources are the URLs of the external consensus layers to follow. None means derivation mode.
	Sources []string
	// Headers are sent with every request to a source.
	Headers http.Header
	// SourceHeaders are sent with requests to the source of that URL alone, in place of what Headers has under the same names.
	SourceHeaders map[string]http.Header
	// CallTimeout bounds each request to a source.
	CallTimeout time.Duration
	// PollInterval between two requests to a source; 0 means that L1 sets the pace, within one request a second on average.
	PollInterval time.Duration
	// Quorum is how many sources have to agree before a label moves.
	Quorum int
	// MaxLag is how much L1, in time, the followed source may be behind another one before it is left.
	MaxLag time.Duration
}

// Enabled tells whether the node follows instead of deriving.
func (f Follow) Enabled() bool { return len(f.Sources) > 0 }

// PollPeriod resolves the poll interval for a chain with the given block time.
func (f Follow) PollPeriod(blockTime time.Duration) time.Duration {
	if f.PollInterval > 0 {
		return f.PollInterval
	}
	return 2 * blockTime
}

// Sync says how the own execution layer gets the blocks that the node missed.
type Sync struct {
	Mode sync.Mode
	// SkipStartCheck skips the check of L1 origins when the sync start is determined (deprecated).
	SkipStartCheck bool
	// OffsetELSafe is how far behind the synced tip safe and finalized start after an execution-layer sync. Only with that mode.
	OffsetELSafe time.Duration
}

// Sequencer configures block production.
type Sequencer struct {
	Enabled bool
	// Stopped waits for admin_startSequencer.
	Stopped bool
	// MaxSafeLag is the largest distance, in L2 blocks, of the unsafe head to the safe head; 0 means unlimited.
	MaxSafeLag uint64
	// L1Confs is the distance to the L1 head, in L1 blocks, that L1 origins keep.
	L1Confs uint64
	// Recover produces empty blocks with the next L1 origin.
	Recover bool
	// SealingDuration is how long before its time a block is sealed; 0 or less means 50 ms.
	SealingDuration time.Duration
}

// Conductor connects the sequencer to an op-conductor.
type Conductor struct {
	Enabled     bool
	URL         string
	CallTimeout time.Duration
}

// Signer is what unsafe blocks are signed with: a local key, a remote signer, or nothing.
type Signer struct {
	// Key is a hex-encoded private key; empty means none.
	Key string
	// Remote is an op-signer; used when it is enabled.
	Remote opsigner.CLIConfig
}

// RPC configures the JSON-RPC server.
type RPC struct {
	oprpc.CLIConfig
	// CORSDomains are the web pages, as scheme://host:port, whose scripts may use the RPC; * stands for all.
	CORSDomains []string
	// VHosts are the host names under which the RPC may be asked for, beside IP addresses; * stands for all.
	VHosts []string
	// BodyLimit is how long a request may be, in bytes.
	BodyLimit int
	// BatchLimit is how many calls a request may have.
	BatchLimit int
	// BatchAnswerLimit is how long the answers to one batch may be together, in bytes.
	BatchAnswerLimit int
	// RequestLimit is how many requests are worked on at the same time.
	RequestLimit int
	// AdminListen is the address (host:port) of a listener of its own for everything that changes the node; the RPC then serves
	// only what reads. Empty: the RPC serves everything.
	AdminListen string
	// AdminJWTSecret signs the calls to that listener; nil: they are not signed.
	AdminJWTSecret []byte
	// AdminStatePath is the file that keeps what the admin API changed; empty means nothing is kept.
	AdminStatePath string
	// FollowMaxWaiters is how many clients may wait in follow_statusAfter at the same time; 0 is none.
	FollowMaxWaiters int
	// SequencerAPI serves the experimental opstack namespace. Derivation mode only.
	SequencerAPI bool
}

// Default returns the options of a node that got no flags. What has no default is zero; [Config.Check] says what is missing.
func Default() *Config {
	return &Config{
		L1: L1{
			URL:                         "http://127.0.0.1:8545",
			Kind:                        sources.RPCKindStandard,
			MaxBatchSize:                20,
			MaxConcurrency:              10,
			HTTPPollInterval:            12 * time.Second,
			CacheSize:                   900,
			EpochPollInterval:           32 * 12 * time.Second,
			RuntimeConfigReloadInterval: 10 * time.Minute,
		},
		L2:        L2{CallTimeout: 10 * time.Second, Kind: engine.Reth},
		Follow:    Follow{CallTimeout: 10 * time.Second, Quorum: 1, MaxLag: 2 * time.Minute},
		Sync:      Sync{Mode: sync.CLSync, OffsetELSafe: 12 * time.Hour},
		Sequencer: Sequencer{L1Confs: 4, SealingDuration: 50 * time.Millisecond},
		Conductor: Conductor{URL: "http://127.0.0.1:8547", CallTimeout: time.Second},
		AltDA:     altda.CLIConfig{VerifyOnRead: true, MaxConcurrentRequests: 1},
		P2P:       defaultP2P(),
		Signer:    Signer{Remote: opsigner.NewCLIConfig()},
		RPC:       defaultRPC(),
		Metrics:   opmetrics.DefaultCLIConfig(),
		Pprof:     oppprof.DefaultCLIConfig(),
	}
}

// defaultRPC has upstream's address and openness, and the limits of geth's RPC.
func defaultRPC() RPC {
	return RPC{
		CLIConfig:   oprpc.CLIConfig{ListenAddr: "0.0.0.0", ListenPort: 9545},
		CORSDomains: []string{"*"}, VHosts: []string{"*"},
		BodyLimit: 5 << 20, BatchLimit: 1000, BatchAnswerLimit: 25_000_000, RequestLimit: 256, FollowMaxWaiters: 1024,
	}
}
