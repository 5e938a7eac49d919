package flags

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ethereum/go-ethereum/log"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/cliiface"
	opmetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
	"github.com/ethereum-optimism/optimism/op-service/oppprof"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"

	"github.com/lightcl/op-node/op-node/config"
)

// Read turns the parsed flags into a checked configuration. It reads the files the flags name, creates the JWT secret and the peer
// key if their files do not exist, and resolves host names of bootnodes unless discovery is off. It dials nothing. ctx is the
// context of the command line that the set was parsed with; a set is read once.
func (s *Set) Read(ctx cliiface.Context, logger log.Logger) (*config.Config, error) {
	for _, name := range required() {
		if !ctx.IsSet(name) {
			return nil, fmt.Errorf("flag %s is required", name)
		}
	}
	for _, read := range []func(cliiface.Context, log.Logger) error{
		s.readChain,
		s.readEndpoints,
		s.readFollow,
		s.readSync,
		s.readServices,
		s.readPeers,
	} {
		if err := read(ctx, logger); err != nil {
			return nil, err
		}
	}
	if s.cfg.Conductor.Enabled {
		s.cfg.Sequencer.Stopped = true // the conductor starts it
	}
	if err := s.cfg.Check(); err != nil {
		return nil, err
	}
	return s.cfg, nil
}

func (s *Set) readEndpoints(_ cliiface.Context, log log.Logger) error {
	c := s.cfg
	secret, err := oprpc.ObtainJWTSecret(log, s.raw.jwtSecret, true)
	if err != nil {
		return fmt.Errorf("--l2.jwt-secret=%s: %w", s.raw.jwtSecret, err)
	}
	c.L2.JWTSecret = secret
	c.Beacon.Fallbacks = s.raw.beaconFallbacks.Value()
	if s.raw.beaconHeader != "" {
		if c.Beacon.Header, err = headers(s.raw.beaconHeader); err != nil {
			return fmt.Errorf("--l1.beacon-header: %w", err)
		}
	}
	return nil
}

func (s *Set) readFollow(cliiface.Context, log.Logger) error {
	c := &s.cfg.Follow
	c.Sources = list(s.raw.followSource)
	var err error
	if c.Headers, err = headers(s.raw.followHeaders.Value()...); err != nil {
		return fmt.Errorf("--l2.follow.source.header: %w", err)
	}
	return nil
}

func (s *Set) readSync(ctx cliiface.Context, log log.Logger) error {
	c := s.cfg
	if ctx.IsSet("l2.engine-sync") {
		if ctx.IsSet("syncmode") {
			return errors.New("cannot set both --l2.engine-sync and --syncmode at the same time: keep --syncmode")
		}
		log.Error("l2.engine-sync is deprecated and will be removed: use --syncmode=execution-layer instead")
		if s.raw.deprecated.engineSync {
			c.Sync.Mode = sync.ELSync
		}
	}
	if c.Sync.OffsetELSafe > 0 && c.Sync.Mode != sync.ELSync {
		if ctx.IsSet("syncmode.offset-el-safe") {
			log.Warn("syncmode.offset-el-safe only matters with --syncmode=execution-layer: ignoring it",
				"syncmode", c.Sync.Mode, "configured_offset", c.Sync.OffsetELSafe)
		}
		c.Sync.OffsetELSafe = 0
	}
	if ctx.IsSet("finality.lookback") {
		c.Finality.FinalityLookback = &s.raw.finalityLookback
	}
	if ctx.IsSet("finality.delay") {
		c.Finality.FinalityDelay = &s.raw.finalityDelay
	}
	return nil
}

// readServices reads what op-service's own helpers defined.
func (s *Set) readServices(ctx cliiface.Context, log log.Logger) error {
	c := s.cfg
	c.RPC.CLIConfig = oprpc.ReadCLIConfig(ctx)
	c.RPC.CORSDomains, c.RPC.VHosts = list(s.raw.corsDomains), list(s.raw.vhosts)
	if s.raw.adminJWTSecret != "" {
		secret, err := oprpc.ObtainJWTSecret(log, s.raw.adminJWTSecret, true)
		if err != nil {
			return fmt.Errorf("--rpc.admin-jwt-secret=%s: %w", s.raw.adminJWTSecret, err)
		}
		c.RPC.AdminJWTSecret = secret[:]
	}
	c.Metrics = opmetrics.ReadCLIConfig(ctx)
	c.Pprof = oppprof.ReadCLIConfig(ctx)
	c.AltDA = altda.ReadCLIConfig(ctx)
	c.Signer.Remote = opsigner.ReadCLIConfig(ctx)
	for _, name := range []string{"heartbeat.enabled", "heartbeat.moniker", "heartbeat.url"} {
		if ctx.IsSet(name) {
			log.Warn("The heartbeat does not exist any more: unset its flags", "flag_name", name)
			break
		}
	}
	return nil
}

// headers parses HTTP headers of the form 'Key: Value'. Errors do not show values, which may be secrets.
func headers(lines ...string) (http.Header, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	out := http.Header{}
	for i, line := range lines {
		key, value, ok := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); !ok || key == "" || strings.ContainsAny(key, " \t") {
			return nil, fmt.Errorf("header %d is not of the form 'Key: Value'", i+1)
		}
		out.Add(key, strings.TrimSpace(value))
	}
	return out, nil
}

// list splits a comma-separated value, without blanks and empty entries.
func list(value string) []string {
	var out []string
	for _, entry := range strings.Split(value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			out = append(out, entry)
		}
	}
	return out
}
