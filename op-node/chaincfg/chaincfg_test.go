package chaincfg

import (
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/superchain"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

func TestEveryNetworkIsUsable(t *testing.T) {
	require.Contains(t, Networks(), "op-mainnet")
	require.True(t, slices.IsSorted(Networks()))
	for _, name := range Networks() {
		cfg, err := RollupConfig(name)
		require.NoError(t, err, name)
		require.NoError(t, cfg.Check(), name)
		require.Contains(t, []uint64{1, 11155111, 11155421, 11763072, 999999999, 84532}, cfg.L1ChainID.Uint64(), name)
		byID, err := RollupConfig(cfg.L2ChainID.String())
		require.NoError(t, err)
		require.Equal(t, cfg, byID)
		require.NotEmpty(t, DisplayNames()[cfg.L2ChainID.String()])
	}
}

func TestOPMainnet(t *testing.T) {
	for _, name := range []string{"op-mainnet", "OP-MAINNET", "mainnet", "10"} {
		cfg, err := RollupConfig(name)
		require.NoError(t, err, name)
		require.EqualValues(t, 10, cfg.L2ChainID.Uint64())
		require.EqualValues(t, 1, cfg.L1ChainID.Uint64())
		require.EqualValues(t, 105235063, cfg.Genesis.L2.Number)
		require.EqualValues(t, 2, cfg.BlockTime)
		require.EqualValues(t, 300, cfg.ChannelTimeoutBedrock)
		require.EqualValues(t, 1710374401, *cfg.EcotoneTime)
		require.EqualValues(t, 0, *cfg.RegolithTime)
		require.Equal(t, common.HexToAddress("0x229047fed2591dbec1eF1118d64F7aF3dB9EB290"), cfg.L1SystemConfigAddress)
		require.Equal(t, common.HexToAddress("0xbEb5Fc579115071764c7423A4f12eDde41f106Ed"), cfg.DepositContractAddress)
		require.EqualValues(t, 250, *cfg.ChainOpConfig.EIP1559DenominatorCanyon)
	}
}

func TestUnknownNetworks(t *testing.T) {
	for _, name := range []string{"atlantis", "", "op", "123456789", "-1"} {
		_, err := RollupConfig(name)
		require.ErrorIs(t, err, ErrUnknownChain, name)
		require.ErrorContains(t, err, "invalid network: "+strconv.Quote(name))
	}
}

// TestConvertLeavesNothingOut fills a registry entry and expects every field of the rollup config to come from it.
func TestConvertLeavesNothingOut(t *testing.T) {
	entry := new(superchain.ChainConfig)
	fill(reflect.ValueOf(entry).Elem(), 1)
	cfg, err := convert(entry, 1)
	require.NoError(t, err)
	v := reflect.ValueOf(cfg).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "KeepKarstUpgradeGas" { // op-geth's registry does not know it
			continue
		}
		require.False(t, v.Field(i).IsZero(), "%s is not set", name)
	}
	forks := reflect.ValueOf(entry.Hardforks)
	for i := range forks.NumField() {
		name := forks.Type().Field(i).Name
		require.Equal(t, forks.Field(i).Interface(), v.FieldByName(name).Interface(), name)
	}

	entry.Addresses.SystemConfigProxy = nil
	_, err = convert(entry, 1)
	require.Error(t, err)
}

// fill gives every number below v another value, and every pointer a target.
func fill(v reflect.Value, n uint64) uint64 {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			n = fill(v.Field(i), n)
		}
	case reflect.Array:
		v.Index(v.Len() - 1).SetUint(n % 256)
		n++
	case reflect.Uint64:
		v.SetUint(n)
		n++
	case reflect.String:
		v.SetString(strconv.FormatUint(n, 10))
		n++
	}
	return n
}

func TestDependencySet(t *testing.T) {
	set, err := DependencySet(eth.ChainIDFromUInt64(10))
	require.NoError(t, err)
	require.True(t, set.HasChain(eth.ChainIDFromUInt64(10)))
	_, err = DependencySet(eth.ChainIDFromUInt64(123456789))
	require.ErrorIs(t, err, ErrUnknownChain)
}
