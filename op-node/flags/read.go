package flags

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/log"
	"golang.org/x/net/http/httpguts"

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
	jwt, err := jwtSecret(log, "l2.jwt-secret", s.raw.jwtSecret)
	if err != nil {
		return err
	}
	c.L2.JWTSecret = jwt
	c.Beacon.Fallbacks = s.raw.beaconFallbacks.Value()
	if s.raw.beaconHeader != "" {
		key, value, err := header(0, s.raw.beaconHeader)
		if err != nil {
			return fmt.Errorf("--l1.beacon-header: %w", err)
		}
		c.Beacon.Header = http.Header{}
		c.Beacon.Header.Add(key, value)
	}
	return nil
}

func (s *Set) readFollow(cliiface.Context, log.Logger) error {
	c := &s.cfg.Follow
	c.Sources = list(s.raw.followSource)
	if err := addSourceHeaders(c, s.raw.followHeaders.Value()); err != nil {
		return fmt.Errorf("--l2.follow.source.header: %w", err)
	}
	if s.raw.followHeaderFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.raw.followHeaderFile)
	if err != nil {
		return fmt.Errorf("--l2.follow.source.header-file=%s: %w", s.raw.followHeaderFile, err)
	}
	lines := strings.Split(string(data), "\n")
	for i := range lines {
		if lines[i] = strings.TrimSpace(lines[i]); strings.HasPrefix(lines[i], "#") {
			lines[i] = ""
		}
	}
	if err := addSourceHeaders(c, lines); err != nil {
		return fmt.Errorf("--l2.follow.source.header-file=%s: %w", s.raw.followHeaderFile, err)
	}
	return nil
}

// addSourceHeaders adds headers for all sources, as 'Key: Value', and for one, as 'URL|Key: Value'. Empty lines do not count.
func addSourceHeaders(c *config.Follow, lines []string) error {
	for i, line := range lines {
		source, own, ok := strings.Cut(line, "|")
		if ok = ok && strings.Contains(source, "://"); ok { // a | may also be part of a header
			line = own
		}
		if line == "" && !ok {
			continue
		}
		key, value, err := header(i, line)
		switch {
		case err != nil:
			return err
		case !ok:
			if c.Headers == nil {
				c.Headers = make(http.Header)
			}
			c.Headers.Add(key, value)
		default:
			source = strings.TrimSpace(source)
			if c.SourceHeaders[source] == nil {
				if c.SourceHeaders == nil {
					c.SourceHeaders = make(map[string]http.Header)
				}
				c.SourceHeaders[source] = make(http.Header)
			}
			c.SourceHeaders[source].Add(key, value)
		}
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
		jwt, err := jwtSecret(log, "rpc.admin-jwt-secret", s.raw.adminJWTSecret)
		if err != nil {
			return err
		}
		c.RPC.AdminJWTSecret = jwt[:]
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

// header parses a header of the form 'Key: Value', the line of this number. Errors do not show the value, which may be a secret.
func header(line int, text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, ":")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
		return "", "", fmt.Errorf("header %d is not of the form 'Key: Value'", line+1)
	}
	return key, value, nil
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
