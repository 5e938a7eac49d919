package config

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"

	opparams "github.com/ethereum-optimism/optimism/op-core/params"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-service/secret"
)

// valid returns the options of a deriving verifier.
func valid(t *testing.T) *Config {
	c := Default()
	c.L1.URL, c.L2.URL, c.Beacon.URL = "http://l1", "http://l2", "http://beacon"
	key, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	require.NoError(t, err)
	c.P2P.Identity = key.(*crypto.Secp256k1PrivateKey)
	genesis := uint64(0)
	c.Chain = Chain{
		L1: &params.ChainConfig{ChainID: big.NewInt(900)},
		Rollup: &rollup.Config{
			Genesis: rollup.Genesis{
				L1: eth.BlockID{Hash: common.Hash{1}}, L2: eth.BlockID{Hash: common.Hash{2}}, L2Time: 1,
				SystemConfig: eth.SystemConfig{BatcherAddr: common.Address{1}, Scalar: eth.Bytes32{31: 1}, GasLimit: 1},
			},
			BlockTime: 2, MaxSequencerDrift: 600, SeqWindowSize: 100, ChannelTimeoutBedrock: 50,
			L1ChainID: big.NewInt(900), L2ChainID: big.NewInt(901),
			RegolithTime: &genesis, CanyonTime: &genesis, DeltaTime: &genesis, EcotoneTime: &genesis,
			BatchInboxAddress: common.Address{2}, DepositContractAddress: common.Address{3}, L1SystemConfigAddress: common.Address{4},
			ChainOpConfig: &opparams.OptimismConfig{EIP1559Elasticity: 6, EIP1559Denominator: 50, EIP1559DenominatorCanyon: &genesis},
		},
	}
	return c
}

// TestCheck has what command lines cannot bring about; the rest is in the table of bad input in package flags.
func TestCheck(t *testing.T) {
	at := uint64(5)
	for name, test := range map[string]struct {
		spoil func(*Config)
		want  string // empty: accepted
	}{
		"valid":                  {func(*Config) {}, ""},
		"no chain":               {func(c *Config) { c.Chain.Rollup = nil }, "--network or --rollup.config"},
		"no L1 chain":            {func(c *Config) { c.Chain.L1 = nil }, "L1 900 is missing: set --rollup.l1-chain-config"},
		"no fee parameters":      {func(c *Config) { c.Chain.Rollup.ChainOpConfig = nil }, "chain_op_config"},
		"broken chain":           {func(c *Config) { c.Chain.Rollup.BlockTime = 0 }, "rollup config error"},
		"Lagoon without set":     {func(c *Config) { c.Chain.Rollup.LagoonTime = &at }, "(timestamp = 5) but there is no dependency set"},
		"Sepolia without Pectra": {func(c *Config) { c.Chain.Rollup.L1ChainID = params.SepoliaChainConfig.ChainID }, "--override.pectrablobschedule"},
		"the same, ignored": {func(c *Config) {
			c.Chain.Rollup.L1ChainID = params.SepoliaChainConfig.ChainID
			c.Chain.IgnoreMissingPectraBlobSchedule = true
		}, ""},
		"no L1":                   {func(c *Config) { c.L1.URL = "" }, "--l1="},
		"no L2":                   {func(c *Config) { c.L2.URL = "" }, "--l2="},
		"no provider kind":        {func(c *Config) { c.L1.Kind = "" }, "--l1.rpckind="},
		"no sync mode":            {func(c *Config) { c.Sync.Mode = 7 }, "--syncmode"},
		"no beacon":               {func(c *Config) { c.Beacon.URL = "" }, "flag l1.beacon is required"},
		"no beacon before blobs":  {func(c *Config) { c.Beacon.URL, c.Chain.Rollup.EcotoneTime = "", nil }, ""},
		"no beacon, ignored":      {func(c *Config) { c.Beacon.URL, c.Beacon.IgnoreCheck = "", true }, ""},
		"no beacon, following":    {func(c *Config) { c.Beacon.URL, c.Follow.Sources = "", []string{"http://source"} }, ""},
		"following with password": {func(c *Config) { c.Follow.Sources = []string{"ftp://me:hunter2@source/hunter2"} }, "--l2.follow.source=ftp://source/***"},
		"following by WebSocket":  {func(c *Config) { c.Follow.Sources = []string{"wss://source/path?key=x"} }, ""},
		"conductor nowhere":       {func(c *Config) { c.Sequencer.Enabled, c.Conductor.Enabled, c.Conductor.URL = true, true, "" }, "--conductor.rpc"},
		"no identity":             {func(c *Config) { c.P2P.Identity = nil }, "--p2p.priv.path"},
		"no p2p, no identity":     {func(c *Config) { c.P2P = P2P{Disabled: true} }, ""},
		"no multiplexer":          {func(c *Config) { c.P2P.Transport.Mux = nil }, "--p2p.mux"},
		"no security":             {func(c *Config) { c.P2P.Transport.Security = nil }, "--p2p.security"},
		"security off":            {func(c *Config) { c.P2P.Transport.Security = []string{"none"} }, ""},
		"no discovery path":       {func(c *Config) { c.P2P.Discovery.Path = "" }, "--p2p.discovery.path"},
		"signer without files": {func(c *Config) {
			c.Signer.Remote.Endpoint, c.Signer.Remote.Address, c.Signer.Remote.TLSConfig.TLSCaCert = "http://s", "0x1", ""
		}, "--signer.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid(t)
			test.spoil(c)
			err := c.Check()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	c := valid(t)
	c.Chain.Rollup.L1ChainID = params.SepoliaChainConfig.ChainID
	require.True(t, errors.Is(c.Check(), ErrMissingPectraBlobSchedule))
}

func TestPollPeriod(t *testing.T) {
	require.Equal(t, 4*time.Second, Follow{}.PollPeriod(2*time.Second))
	require.Equal(t, time.Second, Follow{PollInterval: time.Second}.PollPeriod(2*time.Second))
}

// TestNothingIsPrinted: whoever prints options, or a part of them, shows no secrets.
func TestNothingIsPrinted(t *testing.T) {
	const token = "hunter2hunter2"
	c, header := valid(t), http.Header{"Authorization": {"Bearer " + token}}
	endpoint := "https://user:" + token + "@host/" + token + "?key=" + token
	c.L1.URL, c.L2.URL, c.Beacon.URL, c.Conductor.URL, c.Signer.Remote.Endpoint, c.AltDA.DAServerURL = endpoint, endpoint, endpoint, endpoint, endpoint, endpoint
	c.Beacon.Header, c.Signer.Remote.Headers, c.Signer.Key = header, header, token
	c.Follow = Follow{Sources: []string{endpoint}, Headers: header, SourceHeaders: map[string]http.Header{endpoint: header}}
	for _, part := range []any{c, *c, c.L1, c.L2, c.Beacon, c.Conductor, c.Signer, c.RPC, c.Follow, &c.Follow, []any{c.L1}, map[string]any{"a": *c}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(format, part), token)
		}
	}
	shown, err := json.Marshal(c)
	require.NoError(t, err)
	require.NotContains(t, string(shown), token)
	require.NotContains(t, secret.New(c.Secrets()...).Text(strings.Join([]string{endpoint, token, fmt.Sprint(header)}, " ")), token)
}
