package api

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sequencing"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// fakeDriver knows a chain of 10 blocks after the genesis 5, of which 3 are local-safe.
type fakeDriver struct {
	failure  error
	payloads []*eth.ExecutionPayloadEnvelope
	status   eth.SyncStatus
}

var (
	chain = &rollup.Config{
		L2ChainID: big.NewInt(901), BlockTime: 2,
		Genesis: rollup.Genesis{L2: eth.BlockID{Hash: hash(5), Number: 5}, L2Time: 1000},
	}
	head = block(15)
)

func hash(n uint64) common.Hash { return common.BigToHash(new(big.Int).SetUint64(n)) }

func block(n uint64) eth.L2BlockRef {
	return eth.L2BlockRef{Hash: hash(n), Number: n, Time: 1000 + 2*(n-5), ParentHash: hash(n - 1)}
}

func newFakeDriver() *fakeDriver {
	return &fakeDriver{status: eth.SyncStatus{
		CurrentL1: eth.L1BlockRef{Hash: hash(77), Number: 77},
		UnsafeL2:  head, LocalSafeL2: block(8), SafeL2: block(7), FinalizedL2: block(6),
	}}
}

func (d *fakeDriver) SyncStatus(context.Context) (*eth.SyncStatus, error) {
	return &d.status, d.failure
}

func (d *fakeDriver) BlockRefWithStatus(_ context.Context, number uint64) (eth.L2BlockRef, *eth.SyncStatus, error) {
	if d.failure != nil {
		return eth.L2BlockRef{}, nil, d.failure
	}
	if number > head.Number {
		return eth.L2BlockRef{}, &d.status, fmt.Errorf("failed to determine L2BlockRef of height %d, could not get payload: %w", number, ethereum.NotFound)
	}
	return block(number), &d.status, nil
}

func (d *fakeDriver) OnUnsafeL2Payload(_ context.Context, envelope *eth.ExecutionPayloadEnvelope) {
	d.payloads = append(d.payloads, envelope)
}
func (d *fakeDriver) ResetDerivationPipeline(context.Context) error        { return d.failure }
func (d *fakeDriver) StartSequencer(context.Context, common.Hash) error    { return d.failure }
func (d *fakeDriver) StopSequencer(context.Context) (common.Hash, error)   { return hash(15), d.failure }
func (d *fakeDriver) SequencerActive(context.Context) (bool, error)        { return true, d.failure }
func (d *fakeDriver) OverrideLeader(context.Context) error                 { return d.failure }
func (d *fakeDriver) ConductorEnabled(context.Context) (bool, error)       { return true, d.failure }
func (d *fakeDriver) SetRecoverMode(_ context.Context, recover bool) error { return d.failure }

// fakeEngine computes outputs that depend on the block alone.
type fakeEngine struct{ failure error }

func (e *fakeEngine) OutputV0AtBlock(_ context.Context, blockHash common.Hash) (*eth.OutputV0, error) {
	if e.failure != nil {
		return nil, e.failure
	}
	return &eth.OutputV0{StateRoot: eth.Bytes32{1}, MessagePasserStorageRoot: eth.Bytes32{2}, BlockHash: blockHash}, nil
}

// fakeSafeHeads has one record.
type fakeSafeHeads struct{ failure error }

func (s fakeSafeHeads) SafeHeadAtL1(_ context.Context, l1 uint64) (eth.BlockID, eth.BlockID, error) {
	return eth.BlockID{Hash: hash(70), Number: 70}, block(7).ID(), s.failure
}

func (s fakeSafeHeads) L1AtSafeHead(_ context.Context, l2 uint64) (eth.BlockID, eth.BlockID, error) {
	return eth.BlockID{Hash: hash(70), Number: 70}, block(l2).ID(), s.failure
}

func TestOutputAtBlock(t *testing.T) {
	driver, engine := newFakeDriver(), &fakeEngine{}
	api := NewOptimism(chain, nil, driver, engine, safedb.Disabled)
	output, err := api.OutputAtBlock(t.Context(), 9)
	require.NoError(t, err)
	require.Equal(t, block(9), output.BlockRef)
	require.Equal(t, &driver.status, output.Status)
	require.Equal(t, common.Hash{1}, output.StateRoot)
	require.Equal(t, common.Hash{2}, output.WithdrawalStorageRoot)
	want, err := engine.OutputV0AtBlock(t.Context(), hash(9))
	require.NoError(t, err)
	require.Equal(t, eth.OutputRoot(want), output.OutputRoot)

	_, err = api.OutputAtBlock(t.Context(), 99)
	require.EqualError(t, err, "failed to get L2 block ref with sync status: failed to determine L2BlockRef of height 99, could not get payload: not found")

	engine.failure = errors.New("no state")
	_, err = api.OutputAtBlock(t.Context(), 9)
	require.EqualError(t, err, fmt.Sprintf("failed to get L2 output at block %s: no state", block(9)))
}

func TestSafeHeadAtL1Block(t *testing.T) {
	for _, test := range []struct {
		heads SafeHeads
		want  string
	}{
		{fakeSafeHeads{}, ""},
		{safedb.Disabled, "failed to get safe head at l1 block 0x46: safe head database not enabled"},
		{fakeSafeHeads{safedb.ErrNotFound}, "not found"},
	} {
		head, err := NewOptimism(chain, nil, newFakeDriver(), &fakeEngine{}, test.heads).SafeHeadAtL1Block(t.Context(), 70, nil)
		if test.want != "" {
			require.EqualError(t, err, test.want)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, &eth.SafeHeadResponse{L1Block: eth.BlockID{Hash: hash(70), Number: 70}, SafeHead: block(7).ID()}, head)
	}
}

func TestDependencySetOfNone(t *testing.T) {
	_, err := NewOptimism(chain, nil, newFakeDriver(), &fakeEngine{}, safedb.Disabled).DependencySet(t.Context())
	require.EqualError(t, err, "not found")
}

func TestSuperroot(t *testing.T) {
	driver := newFakeDriver()
	at := func(heads SafeHeads, timestamp uint64) (eth.SuperRootAtTimestampResponse, error) {
		return NewSuperroot(chain, driver, &fakeEngine{}, heads).AtTimestamp(t.Context(), hexutil.Uint64(timestamp), nil)
	}
	id := eth.ChainIDFromUInt64(901)

	safe, err := at(fakeSafeHeads{}, 1005) // between block 7 and 8
	require.NoError(t, err)
	require.Equal(t, []eth.ChainID{id}, safe.ChainIDs)
	require.Equal(t, driver.status.CurrentL1.ID(), safe.CurrentL1)
	require.Equal(t, []uint64{1006, 1004, 1002}, []uint64{safe.CurrentLocalSafeTimestamp, safe.CurrentSafeTimestamp, safe.CurrentFinalizedTimestamp})
	require.EqualValues(t, 70, safe.Data.VerifiedRequiredL1.Number)
	require.EqualValues(t, 70, safe.OptimisticAtTimestamp[id].RequiredL1.Number)
	require.Equal(t, hash(7), safe.OptimisticAtTimestamp[id].Output.BlockHash)
	require.Equal(t, eth.SuperRoot(safe.Data.Super), safe.Data.SuperRoot)

	for name, timestamp := range map[string]uint64{"unsafe": 1008, "unknown": 9000} {
		left, err := at(fakeSafeHeads{}, timestamp)
		require.NoError(t, err, name)
		require.Nil(t, left.Data, name)
		require.Empty(t, left.OptimisticAtTimestamp, name)
		require.Equal(t, safe.CurrentL1, left.CurrentL1, name)
	}

	genesis, err := at(safedb.Disabled, 1001) // needs no record
	require.NoError(t, err)
	require.Zero(t, genesis.Data.VerifiedRequiredL1)

	_, err = at(safedb.Disabled, 1005)
	require.EqualError(t, err, fmt.Sprintf("l1AtSafeHead@%s: safe head database not enabled", block(7)))
	_, err = at(safedb.Disabled, 999)
	require.EqualError(t, err, "target block number for timestamp 999: did not reach genesis time (1000) yet")
	driver.failure = errors.New("busy")
	_, err = at(fakeSafeHeads{}, 1005)
	require.EqualError(t, err, "blockRefWithStatus@7: busy")
}

func TestPostUnsafePayload(t *testing.T) {
	driver := newFakeDriver()
	admin := NewAdmin(driver, log.NewLogger(log.DiscardHandler()))
	bad := &eth.ExecutionPayloadEnvelope{ExecutionPayload: &eth.ExecutionPayload{BlockHash: hash(1)}}
	actual, ok := bad.CheckBlockHash()
	require.False(t, ok)
	require.EqualError(t, admin.PostUnsafePayload(t.Context(), bad),
		fmt.Sprintf("payload has bad block hash: %s, actual block hash is: %s", hash(1), actual))
	require.Error(t, admin.PostUnsafePayload(t.Context(), nil))
	require.Error(t, admin.PostUnsafePayload(t.Context(), &eth.ExecutionPayloadEnvelope{}))
	require.Empty(t, driver.payloads)

	good := &eth.ExecutionPayloadEnvelope{ExecutionPayload: &eth.ExecutionPayload{BlockHash: actual}}
	require.NoError(t, admin.PostUnsafePayload(t.Context(), good))
	require.Equal(t, []*eth.ExecutionPayloadEnvelope{good}, driver.payloads)
}

// TestAdminPassesOn: the texts that an op-conductor matches on come through as they are.
func TestAdminPassesOn(t *testing.T) {
	for _, failure := range []error{sequencing.ErrSequencerAlreadyStarted, sequencing.ErrSequencerAlreadyStopped, sequencing.ErrSequencerNotEnabled, nil} {
		driver := newFakeDriver()
		driver.failure = failure
		admin := NewAdmin(driver, log.NewLogger(log.DiscardHandler()))
		_, stop := admin.StopSequencer(t.Context())
		_, active := admin.SequencerActive(t.Context())
		_, conductor := admin.ConductorEnabled(t.Context())
		for _, err := range []error{
			admin.StartSequencer(t.Context(), hash(1)), stop, active, conductor,
			admin.OverrideLeader(t.Context()), admin.SetRecoverMode(t.Context(), true), admin.ResetDerivationPipeline(t.Context()),
		} {
			require.Equal(t, failure, err)
		}
	}
	require.EqualError(t, sequencing.ErrSequencerAlreadyStopped, "sequencer not running")
	require.EqualError(t, sequencing.ErrSequencerAlreadyStarted, "sequencer already running")
	require.EqualError(t, sequencing.ErrSequencerNotEnabled, "sequencer is not enabled")
}
