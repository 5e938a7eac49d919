package modelel_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// likeNext are attributes that ask for a block with the time, origin and transactions of the given one.
func likeNext(b modelel.Block) *eth.PayloadAttributes {
	payload := b.Envelope.ExecutionPayload
	gasLimit := payload.GasLimit
	return &eth.PayloadAttributes{
		Timestamp:             payload.Timestamp,
		PrevRandao:            payload.PrevRandao,
		SuggestedFeeRecipient: payload.FeeRecipient,
		Withdrawals:           &types.Withdrawals{},
		ParentBeaconBlockRoot: b.Envelope.ParentBeaconBlockRoot,
		Transactions:          payload.Transactions,
		NoTxPool:              true,
		GasLimit:              &gasLimit,
		EIP1559Params:         new(eth.Bytes8),
		MinBaseFee:            new(uint64),
	}
}

func TestBuild(t *testing.T) {
	ctx := context.Background()
	chain := world()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 4)...)
	parent := chain.Block(4)
	state := &eth.ForkchoiceState{HeadBlockHash: parent.Hash()}
	attr := likeNext(chain.Block(5))

	res, err := el.ForkchoiceUpdate(ctx, state, attr)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, res.PayloadStatus.Status)
	require.NotNil(t, res.PayloadID)
	envelope, err := el.GetPayload(ctx, eth.PayloadInfo{ID: *res.PayloadID, Timestamp: uint64(attr.Timestamp)})
	require.NoError(t, err)
	_, ok := envelope.CheckBlockHash()
	require.True(t, ok)
	built := envelope.ExecutionPayload
	require.Equal(t, parent.Hash(), built.ParentHash)
	require.EqualValues(t, 5, built.BlockNumber)
	require.Equal(t, attr.Transactions, built.Transactions)
	require.False(t, el.Has(built.BlockHash), "a built block is not in the database yet")

	again, err := el.ForkchoiceUpdate(ctx, state, attr)
	require.NoError(t, err)
	require.Equal(t, res.PayloadID, again.PayloadID, "the same request is the same job")

	status, err := el.NewPayload(ctx, built, envelope.ParentBeaconBlockRoot)
	require.NoError(t, err)
	require.Equal(t, eth.ExecutionValid, status.Status)
	_, err = el.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: built.BlockHash}, nil)
	require.NoError(t, err)
	head := el.Heads().Latest
	require.Equal(t, built.BlockHash, head.Hash)
	require.Equal(t, chain.Block(5).Ref.L1Origin, head.L1Origin)
	require.Equal(t, chain.Block(5).Ref.SequenceNumber, head.SequenceNumber)

	el.Restart()
	_, err = el.GetPayload(ctx, eth.PayloadInfo{ID: *res.PayloadID})
	requireCode(t, -38001, err)
	require.Contains(t, el.Log().String(), "FCU head=4 safe=- fin=- build@946684810 → VALID\ngetPayload @946684810 → ")
	require.Contains(t, el.Log().String(), "getPayload @0 → error -38001\n")
}

func TestBuildOnAnOlderBlock(t *testing.T) {
	ctx := context.Background()
	chain := world()
	el := chain.NewEL()
	el.Load(chain.L2().Blocks(1, 6)...)
	b, err := chain.Find("4b")
	require.NoError(t, err)
	res, err := el.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: chain.Block(3).Hash()}, likeNext(b))
	require.NoError(t, err)
	require.Equal(t, chain.Block(6).Ref, el.Heads().Latest, "the head does not move")
	envelope, err := el.GetPayload(ctx, eth.PayloadInfo{ID: *res.PayloadID})
	require.NoError(t, err)
	require.Equal(t, chain.Block(3).Hash(), envelope.ExecutionPayload.ParentHash)
}

func TestBuildRefusals(t *testing.T) {
	for name, spoil := range map[string]func(*eth.PayloadAttributes){
		"the time is the parent's":      func(a *eth.PayloadAttributes) { a.Timestamp -= modelel.DefaultL2BlockTime },
		"no gas limit":                  func(a *eth.PayloadAttributes) { a.GasLimit = nil },
		"no beacon root":                func(a *eth.PayloadAttributes) { a.ParentBeaconBlockRoot = nil },
		"no withdrawals":                func(a *eth.PayloadAttributes) { a.Withdrawals = nil },
		"withdrawals":                   func(a *eth.PayloadAttributes) { a.Withdrawals = &types.Withdrawals{{}} },
		"no EIP-1559 parameters":        func(a *eth.PayloadAttributes) { a.EIP1559Params = nil },
		"senseless EIP-1559 parameters": func(a *eth.PayloadAttributes) { a.EIP1559Params = &eth.Bytes8{7: 1} },
		"a transaction that is not one": func(a *eth.PayloadAttributes) { a.Transactions = []eth.Data{{0x42}} },
		"a deposit that cannot be read": func(a *eth.PayloadAttributes) { a.Transactions = []eth.Data{{0x7e, 1}} },
		"no minimum base fee":           func(a *eth.PayloadAttributes) { a.MinBaseFee = nil },
		"no transactions":               func(a *eth.PayloadAttributes) { a.Transactions = nil },
		"a bad transaction further on":  func(a *eth.PayloadAttributes) { a.Transactions = append(a.Transactions[:1:1], eth.Data{0x7e}) },
		"a transaction with no bytes":   func(a *eth.PayloadAttributes) { a.Transactions = []eth.Data{{}} },
	} {
		t.Run(name, func(t *testing.T) {
			chain := world()
			el := chain.NewEL()
			el.Load(chain.Block(1))
			attr := likeNext(chain.Block(2))
			spoil(attr)
			_, err := el.ForkchoiceUpdate(context.Background(), &eth.ForkchoiceState{HeadBlockHash: chain.Block(1).Hash()}, attr)
			requireCode(t, -38003, err)
		})
	}
}

func TestBuildKeepsTenPayloads(t *testing.T) {
	ctx := context.Background()
	chain := world()
	el := chain.NewEL()
	ask := func(i int) eth.PayloadID {
		attr := likeNext(chain.Block(1))
		attr.PrevRandao = eth.Bytes32{byte(i)}
		res, err := el.ForkchoiceUpdate(ctx, &eth.ForkchoiceState{HeadBlockHash: chain.Genesis().Hash()}, attr)
		require.NoError(t, err)
		return *res.PayloadID
	}
	var ids []eth.PayloadID
	for i := range 10 {
		ids = append(ids, ask(i))
	}
	require.Equal(t, ids[5], ask(5), "this takes no place")
	_, err := el.GetPayload(ctx, eth.PayloadInfo{ID: ids[0]})
	require.NoError(t, err)
	ask(10)
	_, err = el.GetPayload(ctx, eth.PayloadInfo{ID: ids[0]})
	requireCode(t, -38001, err)
	_, err = el.GetPayload(ctx, eth.PayloadInfo{ID: ids[1]})
	require.NoError(t, err)
}

func TestNewPayloadRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(*eth.ExecutionPayloadEnvelope)
		status eth.ExecutePayloadStatus
		code   int
	}{
		"content that does not fit the hash": {
			spoil:  func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.GasUsed++ },
			status: eth.ExecutionInvalid,
		},
		"another beacon root": {
			spoil:  func(e *eth.ExecutionPayloadEnvelope) { e.ParentBeaconBlockRoot = &common.Hash{1} },
			status: eth.ExecutionInvalid,
		},
		"extra data of another fork": {
			spoil:  func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.ExtraData = nil },
			status: eth.ExecutionInvalid,
		},
		"no withdrawals root": {
			spoil:  func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.WithdrawalsRoot = nil },
			status: eth.ExecutionInvalid,
		},
		"a time that is the parent's": {
			spoil: func(e *eth.ExecutionPayloadEnvelope) {
				e.ExecutionPayload.Timestamp -= modelel.DefaultL2BlockTime
				e.ExecutionPayload.BlockHash, _ = e.CheckBlockHash()
			},
			status: eth.ExecutionInvalid,
		},
		"a number that does not follow the parent's": {
			spoil: func(e *eth.ExecutionPayloadEnvelope) {
				e.ExecutionPayload.BlockNumber = 9
				e.ExecutionPayload.BlockHash, _ = e.CheckBlockHash()
			},
			status: eth.ExecutionInvalid,
		},
		"no beacon root": {
			spoil: func(e *eth.ExecutionPayloadEnvelope) { e.ParentBeaconBlockRoot = nil },
			code:  -32602,
		},
		"no withdrawals": {
			spoil: func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.Withdrawals = nil },
			code:  -32602,
		},
	} {
		t.Run(name, func(t *testing.T) {
			chain := world()
			el := chain.NewEL()
			payload := *chain.Block(1).Envelope.ExecutionPayload
			envelope := &eth.ExecutionPayloadEnvelope{
				ParentBeaconBlockRoot: chain.Block(1).Envelope.ParentBeaconBlockRoot, ExecutionPayload: &payload,
			}
			test.spoil(envelope)
			res, err := el.NewPayload(context.Background(), envelope.ExecutionPayload, envelope.ParentBeaconBlockRoot)
			require.False(t, el.Has(envelope.ExecutionPayload.BlockHash))
			if test.code != 0 {
				requireCode(t, test.code, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.status, res.Status)
		})
	}
}

func requireCode(t *testing.T, code int, err error) {
	t.Helper()
	var coded rpc.Error
	require.ErrorAs(t, err, &coded)
	require.Equal(t, code, coded.ErrorCode())
}
