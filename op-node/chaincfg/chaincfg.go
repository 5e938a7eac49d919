// Package chaincfg knows the named chains of the superchain registry that op-geth carries.
package chaincfg

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/superchain"

	"github.com/ethereum-optimism/optimism/op-core/interop/depset"
	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// ErrUnknownChain is part of the error for a chain that the registry does not have.
var ErrUnknownChain = superchain.ErrUnknownChain

// channelTimeoutBedrock is the channel timeout before Granite, in L1 blocks. The registry leaves it out because every chain has the same.
const channelTimeoutBedrock = 300

// aliases are names from before there was a registry.
var aliases = map[string]string{"mainnet": "op-mainnet", "sepolia": "op-sepolia"}

// Networks returns the names of all chains of the registry, sorted.
func Networks() []string { return superchain.ChainNames() }

// DisplayNames returns the chains' short names by decimal chain id, as the start-up banner wants them.
func DisplayNames() map[string]string {
	names := make(map[string]string, len(superchain.Chains))
	for id, chain := range superchain.Chains {
		names[strconv.FormatUint(id, 10)] = chain.Name
	}
	return names
}

// RollupConfig returns the rollup config of a chain given by its name (in any case), by an old alias, or by its chain id.
func RollupConfig(network string) (*rollup.Config, error) {
	id, err := chainID(network)
	if err != nil {
		return nil, err
	}
	chain, err := superchain.GetChain(id)
	if err != nil {
		return nil, err
	}
	cfg, err := chain.Config()
	if err != nil {
		return nil, fmt.Errorf("reading chain %d from the registry: %w", id, err)
	}
	parent, err := superchain.GetSuperchain(chain.Network)
	if err != nil {
		return nil, fmt.Errorf("reading superchain %q from the registry: %w", chain.Network, err)
	}
	return convert(cfg, parent.L1.ChainID)
}

// chainID finds the chain an operator means.
func chainID(network string) (uint64, error) {
	if id, err := strconv.ParseUint(network, 10, 64); err == nil {
		if _, err := superchain.GetChain(id); err != nil {
			return 0, fmt.Errorf("invalid network: %q: %w", network, err)
		}
		return id, nil
	}
	name := strings.ToLower(network)
	if full, ok := aliases[name]; ok {
		name = full
	}
	id, err := superchain.ChainIDByName(name)
	if err != nil {
		return 0, fmt.Errorf("invalid network: %q: %w", network, err)
	}
	return id, nil
}

// DependencySet returns the interop dependency set of a chain, or an error matching [ErrUnknownChain].
func DependencySet(id eth.ChainID) (depset.DependencySet, error) {
	number, ok := id.Uint64()
	if !ok {
		return nil, fmt.Errorf("%w: id %v", ErrUnknownChain, id)
	}
	members, err := superchain.GetDepset(number)
	if err != nil {
		return nil, err
	}
	chains := make(map[eth.ChainID]*depset.StaticConfigDependency, len(members))
	for member := range members {
		memberID, err := eth.ParseDecimalChainID(member)
		if err != nil {
			return nil, fmt.Errorf("dependency set of chain %d: %w", number, err)
		}
		chains[memberID] = new(depset.StaticConfigDependency)
	}
	return depset.NewStaticConfigDependencySet(chains)
}

// convert maps a registry entry to a rollup config.
func convert(c *superchain.ChainConfig, l1ChainID uint64) (*rollup.Config, error) {
	if c.Optimism == nil || c.Addresses.OptimismPortalProxy == nil || c.Addresses.SystemConfigProxy == nil {
		return nil, errors.New("registry entry lacks the fee parameters or the addresses of its L1 contracts")
	}
	system := c.Genesis.SystemConfig
	regolith := uint64(0)
	out := &rollup.Config{
		Genesis: rollup.Genesis{
			L1:     eth.BlockID{Hash: c.Genesis.L1.Hash, Number: c.Genesis.L1.Number},
			L2:     eth.BlockID{Hash: c.Genesis.L2.Hash, Number: c.Genesis.L2.Number},
			L2Time: c.Genesis.L2Time,
			SystemConfig: eth.SystemConfig{
				BatcherAddr: system.BatcherAddr,
				Overhead:    eth.Bytes32(system.Overhead),
				Scalar:      eth.Bytes32(system.Scalar),
				GasLimit:    system.GasLimit,
			},
		},
		BlockTime:             c.BlockTime,
		MaxSequencerDrift:     c.MaxSequencerDrift,
		SeqWindowSize:         c.SeqWindowSize,
		ChannelTimeoutBedrock: channelTimeoutBedrock,
		L1ChainID:             new(big.Int).SetUint64(l1ChainID),
		L2ChainID:             new(big.Int).SetUint64(c.ChainID),

		RegolithTime:           &regolith, // every chain of the registry started with Regolith or later
		CanyonTime:             c.Hardforks.CanyonTime,
		DeltaTime:              c.Hardforks.DeltaTime,
		EcotoneTime:            c.Hardforks.EcotoneTime,
		FjordTime:              c.Hardforks.FjordTime,
		GraniteTime:            c.Hardforks.GraniteTime,
		HoloceneTime:           c.Hardforks.HoloceneTime,
		IsthmusTime:            c.Hardforks.IsthmusTime,
		JovianTime:             c.Hardforks.JovianTime,
		KarstTime:              c.Hardforks.KarstTime,
		LagoonTime:             c.Hardforks.LagoonTime,
		PectraBlobScheduleTime: c.Hardforks.PectraBlobScheduleTime,

		BatchInboxAddress:      c.BatchInboxAddr,
		DepositContractAddress: *c.Addresses.OptimismPortalProxy,
		L1SystemConfigAddress:  *c.Addresses.SystemConfigProxy,
		ChainOpConfig: &opparams.OptimismConfig{
			EIP1559Elasticity:        c.Optimism.EIP1559Elasticity,
			EIP1559Denominator:       c.Optimism.EIP1559Denominator,
			EIP1559DenominatorCanyon: c.Optimism.EIP1559DenominatorCanyon,
		},
	}
	if da := c.AltDA; da != nil {
		out.AltDAConfig = &rollup.AltDAConfig{
			DAChallengeAddress: da.DaChallengeContractAddress,
			CommitmentType:     da.DaCommitmentType,
			DAChallengeWindow:  da.DaChallengeWindow,
			DAResolveWindow:    da.DaResolveWindow,
		}
	}
	return out, nil
}
