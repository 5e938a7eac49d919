package modelel

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/ethereum-optimism/optimism/op-core/eip1559"
	optypes "github.com/ethereum-optimism/optimism/op-core/types"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// GetPayload is engine_getPayload: the block that a forkchoice update with attributes asked for. Of these, the ten
// newest are kept. It does not put the block into the database.
func (el *EL) GetPayload(ctx context.Context, info eth.PayloadInfo) (res *eth.ExecutionPayloadEnvelope, err error) {
	defer func() { el.log.getPayload(info, res, err) }()
	el.mu.Lock()
	defer el.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	envelope, ok := el.building.get(info.ID)
	if !ok {
		return nil, engine.UnknownPayload
	}
	return envelope, nil
}

// checkAttributes makes the checks that op-geth makes before it looks at the head.
func (el *EL) checkAttributes(attr *eth.PayloadAttributes) error {
	time := uint64(attr.Timestamp)
	switch {
	case attr.Withdrawals == nil || attr.ParentBeaconBlockRoot == nil:
		return errors.New("withdrawals or beacon root missing")
	case len(*attr.Withdrawals) != 0:
		return errors.New("withdrawals are not empty")
	case attr.GasLimit == nil:
		return errors.New("gas limit missing")
	case el.cfg.IsHolocene(time) && attr.EIP1559Params == nil:
		return errors.New("EIP-1559 parameters missing")
	case el.cfg.IsHolocene(time):
		return eip1559.ValidateHolocene1559Params(attr.EIP1559Params[:])
	case attr.EIP1559Params != nil:
		return errors.New("EIP-1559 parameters before Holocene")
	}
	return nil
}

// build makes the block that the attributes describe on top of parent. Its transactions are the forced ones: there is
// no transaction pool. Equal requests get equal ids and the same block.
func (el *EL) build(parent Block, attr *eth.PayloadAttributes) (eth.PayloadID, error) {
	if uint64(attr.Timestamp) <= parent.Ref.Time {
		return eth.PayloadID{}, fmt.Errorf("timestamp %d is not after the parent's, %d", attr.Timestamp, parent.Ref.Time)
	}
	if el.cfg.IsJovian(uint64(attr.Timestamp)) && attr.MinBaseFee == nil {
		return eth.PayloadID{}, errors.New("minimum base fee missing")
	}
	if el.cfg.IsJovian(parent.Ref.Time) && !startsWithDeposit(attr.Transactions) {
		return eth.PayloadID{}, errors.New("L1 info deposit missing")
	}
	inputs := make([][]byte, len(attr.Transactions))
	for i, tx := range attr.Transactions {
		if err := checkTransaction(tx); err != nil {
			return eth.PayloadID{}, fmt.Errorf("transaction %d is not valid: %w", i, err)
		}
		inputs[i] = tx
	}
	id, err := payloadID(parent, attr)
	if err != nil {
		return eth.PayloadID{}, err
	}
	if _, busy := el.building.get(id); busy {
		return id, nil
	}
	before := parent.Envelope.ExecutionPayload
	el.building.put(id, seal(&eth.ExecutionPayload{
		ParentHash:    parent.Hash(),
		FeeRecipient:  attr.SuggestedFeeRecipient,
		StateRoot:     nextState(before.StateRoot, inputs...),
		PrevRandao:    attr.PrevRandao,
		BlockNumber:   before.BlockNumber + 1,
		GasLimit:      *attr.GasLimit,
		Timestamp:     attr.Timestamp,
		ExtraData:     el.extraData(attr),
		BaseFeePerGas: before.BaseFeePerGas,
		Transactions:  attr.Transactions,
	}, *attr.ParentBeaconBlockRoot))
	return id, nil
}

func (el *EL) extraData(attr *eth.PayloadAttributes) []byte {
	if attr.EIP1559Params == nil {
		return nil
	}
	denominator, elasticity := eip1559.DecodeHolocene1559Params(attr.EIP1559Params[:])
	if denominator == 0 {
		denominator, elasticity = *el.cfg.ChainOpConfig.EIP1559DenominatorCanyon, el.cfg.ChainOpConfig.EIP1559Elasticity
	}
	if !el.cfg.IsJovian(uint64(attr.Timestamp)) {
		return eip1559.EncodeHoloceneExtraData(denominator, elasticity)
	}
	return eip1559.EncodeJovianExtraData(denominator, elasticity, *attr.MinBaseFee)
}

func startsWithDeposit(txs []eth.Data) bool {
	return len(txs) > 0 && len(txs[0]) > 0 && txs[0][0] == optypes.DepositTxType
}

func checkTransaction(raw eth.Data) error {
	if startsWithDeposit([]eth.Data{raw}) {
		_, err := optypes.UnmarshalDepositTx(raw)
		return err
	}
	return new(types.Transaction).UnmarshalBinary(raw)
}

func payloadID(parent Block, attr *eth.PayloadAttributes) (id eth.PayloadID, err error) {
	encoded, err := json.Marshal(attr)
	if err != nil {
		return id, fmt.Errorf("attributes: %w", err)
	}
	sum := sha256.Sum256(append(parent.Ref.Hash.Bytes(), encoded...))
	copy(id[:], sum[:])
	id[0] = byte(engine.PayloadV3)
	return id, nil
}
