package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-service/secret"
)

// ErrMissingPectraBlobSchedule is part of the error of a chain that looks as if it lacked the Pectra blob schedule fix.
var ErrMissingPectraBlobSchedule = errors.New("probably missing Pectra blob schedule")

// Check verifies that the options make sense together. Each error names the flag, what was given and what to do about it.
// It opens and dials nothing.
func (c *Config) Check() error {
	for _, check := range []func() error{
		c.Chain.check,
		c.L1.check,
		c.L2.check,
		c.checkMode,
		c.Sync.check,
		c.checkSequencer,
		c.checkServers,
		c.P2P.check,
		c.Signer.check,
	} {
		if err := check(); err != nil {
			return secret.New(c.Secrets()...).Error(err) // libraries show URLs as they are
		}
	}
	return nil
}

func (c *Chain) check() error {
	if c.Rollup == nil {
		return errors.New("rollup config is missing: set --network or --rollup.config")
	}
	if err := c.Rollup.Check(); err != nil {
		return fmt.Errorf("rollup config error: %w: correct the file of --rollup.config", err)
	}
	if c.Rollup.ChainOpConfig == nil {
		return errors.New("rollup config error: chain_op_config is missing: add it to the file of --rollup.config")
	}
	if c.L1 == nil {
		return fmt.Errorf("chain config of L1 %v is missing: set --rollup.l1-chain-config", c.Rollup.L1ChainID)
	}
	if !c.IgnoreMissingPectraBlobSchedule && c.Rollup.ProbablyMissingPectraBlobSchedule() {
		return fmt.Errorf("%w in the rollup config: ask the chain operator for its time and set pectra_blob_schedule_time"+
			" or --override.pectrablobschedule; --ignore-missing-pectra-blob-schedule starts without it", ErrMissingPectraBlobSchedule)
	}
	if at := c.Rollup.LagoonTime; at != nil && c.DependencySet == nil {
		return fmt.Errorf("the Lagoon upgrade is scheduled (timestamp = %d) but there is no dependency set: set --interop.dependency-set", *at)
	}
	return nil
}

func (c *L1) check() error {
	if c.URL == "" {
		return invalid("l1", c.URL, "give the URL of an L1 JSON-RPC endpoint")
	}
	if !sources.ValidRPCProviderKind(c.Kind) {
		return invalid("l1.rpckind", c.Kind, fmt.Sprintf("use one of %v", sources.RPCProviderKinds))
	}
	if c.MaxBatchSize < 1 || c.MaxBatchSize > 500 {
		return invalid("l1.rpc-max-batch-size", c.MaxBatchSize, "use 1 to 500")
	}
	if c.RateLimit < 0 {
		return invalid("l1.rpc-rate-limit", c.RateLimit, "use requests per second, or 0 for no limit")
	}
	if c.MaxConcurrency < 1 {
		return invalid("l1.max-concurrency", c.MaxConcurrency, "use at least 1")
	}
	if c.CacheSize > 1_000_000 {
		return invalid("l1.cache-size", c.CacheSize, "use at most 1000000 blocks, or 0 for 3/2 of the sequencing window")
	}
	return nil
}

func (c *L2) check() error {
	if c.URL == "" {
		return invalid("l2", c.URL, "give the URL of the engine API")
	}
	if c.CallTimeout <= 0 {
		return invalid("l2.engine-rpc-timeout", c.CallTimeout, "use a positive duration")
	}
	return nil
}

// checkMode checks what depends on whether the node follows or derives.
func (c *Config) checkMode() error {
	if c.Follow.Enabled() {
		return c.Follow.check(time.Duration(c.Chain.Rollup.BlockTime) * time.Second)
	}
	return c.checkDerivation()
}

func (c *Follow) check(blockTime time.Duration) error {
	for i, source := range c.Sources {
		u, err := url.Parse(source)
		if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
			return invalid("l2.follow.source", secret.Shown(source), "give the URL of the RPC of an op-node, such as http://host:9545")
		}
		if slices.Contains(c.Sources[:i], source) {
			return invalid("l2.follow.source", secret.Shown(source), "this source is given twice, remove one")
		}
	}
	for source := range c.SourceHeaders {
		if !slices.Contains(c.Sources, source) {
			return fmt.Errorf("--l2.follow.source.header: there is a header for %s, which is not in --l2.follow.source: give the URL as it is there", secret.Shown(source))
		}
	}
	if c.Quorum < 1 || c.Quorum > len(c.Sources) {
		return invalid("l2.follow.quorum", c.Quorum, fmt.Sprintf("use a number from 1 to %d, the number of sources in --l2.follow.source", len(c.Sources)))
	}
	if c.Quorum > 1 && 2*c.Quorum <= len(c.Sources) {
		return invalid("l2.follow.quorum", c.Quorum, fmt.Sprintf(
			"use more than half of the sources, at least %d of %d: with fewer, two groups of sources that disagree could take turns; or 1 to follow one source with the others in reserve",
			len(c.Sources)/2+1, len(c.Sources)))
	}
	if c.CallTimeout <= 0 {
		return invalid("l2.follow.source.rpc-timeout", c.CallTimeout, "use a positive duration")
	}
	if c.PollInterval < 0 {
		return invalid("l2.follow.poll-interval", c.PollInterval, "use a positive duration, or 0 to let L1 set the pace")
	}
	if period := c.PollPeriod(blockTime); c.MaxLag < period {
		return invalid("l2.follow.max-lag", c.MaxLag, fmt.Sprintf("use at least the time between two polls, %s", period))
	}
	return nil
}

func (c *Config) checkDerivation() error {
	if at := c.Chain.Rollup.EcotoneTime; at != nil && c.Beacon.URL == "" && !c.Beacon.IgnoreCheck {
		return fmt.Errorf("flag l1.beacon is required: the Ecotone upgrade is scheduled (timestamp = %d) and blobs come from an L1 beacon API;"+
			" set --l1.beacon, or --l1.beacon.ignore to start without one", *at)
	}
	if err := c.AltDA.Check(); err != nil {
		return fmt.Errorf("altDA config error: %w: see the --altda flags", err)
	}
	if c.AltDA.Enabled {
		if _, err := c.Chain.Rollup.GetOPAltDAConfig(); err != nil {
			return fmt.Errorf("--altda.enabled with a rollup config without alt-DA settings: %w", err)
		}
	}
	return nil
}

func (c *Sync) check() error {
	if c.OffsetELSafe < 0 {
		return invalid("syncmode.offset-el-safe", c.OffsetELSafe, "use 0 or a positive duration")
	}
	if !slices.Contains(sync.Modes, c.Mode) {
		return invalid("syncmode", c.Mode, fmt.Sprintf("use one of %v", sync.ModeStrings))
	}
	return nil
}

func (c *Config) checkSequencer() error {
	if !c.Conductor.Enabled {
		return nil
	}
	if !c.Sequencer.Enabled {
		return errors.New("sequencer must be enabled when conductor is enabled: set --sequencer.enabled or unset --conductor.enabled")
	}
	if c.RPC.AdminStatePath != "" {
		return fmt.Errorf("config persistence must be disabled when conductor is enabled: unset --rpc.admin-state=%s", c.RPC.AdminStatePath)
	}
	if c.Conductor.URL == "" {
		return invalid("conductor.rpc", c.Conductor.URL, "give the URL of the op-conductor")
	}
	return nil
}

func (c *Config) checkServers() error {
	if c.RPC.FollowMaxWaiters < 0 {
		return invalid("rpc.follow-max-waiters", c.RPC.FollowMaxWaiters, "use a positive number, or 0 to have followers poll")
	}
	if err := c.RPC.Check(); err != nil {
		return fmt.Errorf("%w: %w", err, invalid("rpc.port", c.RPC.ListenPort, "use 0 to 65535"))
	}
	if err := c.RPC.checkAccess(); err != nil {
		return err
	}
	if err := c.Metrics.Check(); err != nil {
		return fmt.Errorf("metrics config error: %w: %w", err, invalid("metrics.port", c.Metrics.ListenPort, "use 0 to 65535"))
	}
	if err := c.Pprof.Check(); err != nil {
		return fmt.Errorf("pprof config error: %w: %w", err, invalid("pprof.port", c.Pprof.ListenPort, "use 0 to 65535"))
	}
	return nil
}

// checkAccess checks who may use the RPC, and how much of it.
func (c *RPC) checkAccess() error {
	for _, limit := range []struct {
		flag         string
		given, least int
	}{
		{"rpc.body-limit", c.BodyLimit, 1 << 10},
		{"rpc.batch-limit", c.BatchLimit, 1},
		{"rpc.batch-answer-limit", c.BatchAnswerLimit, 1 << 10},
		{"rpc.request-limit", c.RequestLimit, 1},
	} {
		if limit.given < limit.least {
			return invalid(limit.flag, limit.given, fmt.Sprintf("use at least %d", limit.least))
		}
	}
	if len(c.VHosts) == 0 {
		return errors.New("--rpc.vhosts is empty: give the host names under which the RPC is asked for, or * for all; IP addresses are always served")
	}
	if c.AdminListen == "" {
		if c.AdminJWTSecret != nil {
			return errors.New("--rpc.admin-jwt-secret is of no use without --rpc.admin-listen: set both, or unset it")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.AdminListen)
	if number, bad := strconv.Atoi(port); err != nil || bad != nil || number < 0 || number > math.MaxUint16 {
		return invalid("rpc.admin-listen", c.AdminListen, "give host and port, such as 127.0.0.1:9546")
	}
	if port != "0" && port == strconv.Itoa(c.ListenPort) && host == c.ListenAddr {
		return invalid("rpc.admin-listen", c.AdminListen, "that is the address of the RPC itself (--rpc.addr, --rpc.port), use another port")
	}
	return nil
}

func (c *Signer) check() error {
	if c.Key != "" && c.Remote.Enabled() {
		return errors.New("cannot specify both a private key and a remote signer for sequencer p2p: unset --p2p.sequencer.key or --signer.endpoint")
	}
	if _, err := crypto.HexToECDSA(strings.TrimPrefix(c.Key, "0x")); c.Key != "" && err != nil {
		return errors.New("failed to read sequencer p2p key: --p2p.sequencer.key (not shown): give 64 hex digits")
	}
	if (c.Remote.Endpoint == "") != (c.Remote.Address == "") {
		return fmt.Errorf("signer endpoint and address must both be set or not set: --signer.endpoint=%q, --signer.address=%q",
			secret.Shown(c.Remote.Endpoint), c.Remote.Address)
	}
	if c.Remote.Enabled() {
		if err := c.Remote.Check(); err != nil {
			return fmt.Errorf("signer config error: %w: see the --signer.tls flags", err)
		}
	}
	return nil
}

// invalid reports a bad value: the flag as an operator types it, what was given, and the remedy.
func invalid(flag string, value any, remedy string) error {
	return fmt.Errorf("--%s=%v: %s", flag, value, remedy)
}
