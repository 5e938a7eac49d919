package flags

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/cliiface"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/chaincfg"
)

func (s *Set) readChain(ctx cliiface.Context, log log.Logger) error {
	c := &s.cfg.Chain
	var err error
	if c.Rollup, err = s.rollupConfig(log); err != nil {
		return err
	}
	s.override(ctx, c.Rollup)
	if c.L1, err = l1ChainConfig(c.Rollup.L1ChainID, s.raw.l1ChainConfig); err != nil {
		return err
	}
	c.DependencySet, err = dependencySet(s.raw.dependencySet, c.Rollup.L2ChainID)
	return err
}

// rollupConfig picks the chain. --network wins over --rollup.config, as upstream.
func (s *Set) rollupConfig(log log.Logger) (*rollup.Config, error) {
	network, path := s.raw.network, s.raw.rollupConfig
	if network != "" {
		if path != "" {
			log.Error("Both --network and --rollup.config are set: the file is ignored. Keep one of them, a later version will not start with both.",
				"network", network, "rollup_config", path)
		}
		cfg, err := chaincfg.RollupConfig(network)
		if err != nil {
			return nil, fmt.Errorf("--network=%s: %w: see --help for the known names, or use --rollup.config", network, err)
		}
		return cfg, nil
	}
	if path == "" {
		return nil, errors.New("failed to read rollup config: set --network or --rollup.config")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("failed to read rollup config: --rollup.config=%s: %w", path, err)
	}
	defer file.Close()
	cfg := new(rollup.Config)
	if err := cfg.ParseRollupConfig(file); err != nil {
		return nil, fmt.Errorf("failed to read rollup config: --rollup.config=%s: %w", path, err)
	}
	if cfg.L1ChainID == nil || cfg.L2ChainID == nil {
		return nil, fmt.Errorf("failed to read rollup config: --rollup.config=%s: l1_chain_id or l2_chain_id is missing", path)
	}
	return cfg, nil
}

// override applies the --override flags that were given, zero included.
func (s *Set) override(ctx cliiface.Context, cfg *rollup.Config) {
	for fork, at := range s.raw.overrides {
		if ctx.IsSet(overrideName(fork)) {
			cfg.SetActivationTime(fork, at)
		}
	}
	if ctx.IsSet(keepKarstUpgradeGas) {
		cfg.KeepKarstUpgradeGas = s.raw.keepKarstUpgradeGas
	}
}

// l1ChainConfig returns the chain config of a public L1, or else reads the file: the config itself, or a genesis with it in 'config'.
func l1ChainConfig(id *big.Int, path string) (*params.ChainConfig, error) {
	if known := eth.L1ChainConfigByChainID(eth.ChainIDFromBig(id)); known != nil {
		return known, nil
	}
	if path == "" {
		return nil, fmt.Errorf("failed to read chain spec: L1 %v is not a public one: set --rollup.l1-chain-config", id)
	}
	cfg, err := parseChainConfig(path)
	if err != nil {
		return nil, fmt.Errorf("failed to read chain spec: --rollup.l1-chain-config=%s: %w", path, err)
	}
	if cfg.ChainID == nil || cfg.ChainID.Cmp(id) != 0 {
		return nil, fmt.Errorf("l1 chain config chain ID mismatch: --rollup.l1-chain-config=%s is of chain %v, the rollup config is for L1 %v", path, cfg.ChainID, id)
	}
	if !cfg.IsOptimism() && cfg.BlobScheduleConfig == nil { // an L1 that is itself an OP Stack chain has no blobs
		return nil, fmt.Errorf("L1 chain config does not have a blob schedule config: --rollup.l1-chain-config=%s: add blobSchedule", path)
	}
	return cfg, nil
}

func parseChainConfig(path string) (*params.ChainConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var genesis struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(data, &genesis); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if genesis.Config != nil {
		data = genesis.Config
	}
	cfg := new(params.ChainConfig)
	if err := json.Unmarshal(data, cfg); err != nil {
		return nil, fmt.Errorf("not a chain config: %w", err)
	}
	return cfg, nil
}

// dependencySet reads the file, or else asks the registry. A chain that neither knows has none.
func dependencySet(path string, chainID *big.Int) (depset.DependencySet, error) {
	if path != "" {
		set, err := (&depset.JSONDependencySetLoader{Path: path}).LoadDependencySet()
		if err != nil {
			return nil, fmt.Errorf("--interop.dependency-set=%s: %w", path, err)
		}
		return set, nil
	}
	set, err := chaincfg.DependencySet(eth.ChainIDFromBig(chainID))
	if errors.Is(err, chaincfg.ErrUnknownChain) {
		return nil, nil
	}
	return set, err
}
