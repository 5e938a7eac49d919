package modelel

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"github.com/ethereum-optimism/optimism/op-core/eip1559"
	"github.com/ethereum-optimism/optimism/op-core/predeploys"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// What every block of a [Chain] has in common.
const (
	gasLimit    = uint64(30_000_000)
	elasticity  = uint64(6)
	denominator = uint64(250)
)

// messagePasserRoot stands for the storage root that blocks carry as their withdrawals root since Isthmus.
var messagePasserRoot = crypto.Keccak256Hash([]byte("withdrawals"))

// newGenesis makes the L2 genesis block.
func newGenesis(time uint64) *eth.ExecutionPayloadEnvelope {
	return seal(&eth.ExecutionPayload{
		StateRoot:     eth.Bytes32(crypto.Keccak256Hash([]byte("genesis"))),
		GasLimit:      eth.Uint64Quantity(gasLimit),
		Timestamp:     eth.Uint64Quantity(time),
		ExtraData:     eip1559.EncodeJovianExtraData(denominator, elasticity, 0),
		BaseFeePerGas: eth.Uint256Quantity(*uint256.NewInt(params.InitialBaseFee)),
	}, common.Hash{})
}

// child makes the block on top of parent that has the given origin and is told from its siblings by the salt.
func (c *Chain) child(parent Block, salt string, origin L1Block) Block {
	sequence := uint64(0)
	if parent.Ref.L1Origin == origin.ID() {
		sequence = parent.Ref.SequenceNumber + 1
	}
	time := parent.Ref.Time + c.cfg.BlockTime
	deposit, err := derive.L1InfoDepositBytes(c.cfg, c.l1, c.cfg.Genesis.SystemConfig, sequence, origin.Info, time)
	if err != nil {
		panic(fmt.Sprintf("modelel: L1 info of block %d: %v", parent.Ref.Number+1, err))
	}
	payload := &eth.ExecutionPayload{
		ParentHash:    parent.Ref.Hash,
		FeeRecipient:  predeploys.SequencerFeeVaultAddr,
		StateRoot:     nextState(parent.Envelope.ExecutionPayload.StateRoot, []byte(salt), deposit),
		PrevRandao:    eth.Bytes32(origin.Info.MixDigest()),
		BlockNumber:   eth.Uint64Quantity(parent.Ref.Number + 1),
		GasLimit:      eth.Uint64Quantity(gasLimit),
		Timestamp:     eth.Uint64Quantity(time),
		ExtraData:     eip1559.EncodeJovianExtraData(denominator, elasticity, 0),
		BaseFeePerGas: parent.Envelope.ExecutionPayload.BaseFeePerGas,
		Transactions:  []eth.Data{deposit},
	}
	return c.block(seal(payload, *origin.Info.ParentBeaconRoot()))
}

func (c *Chain) block(envelope *eth.ExecutionPayloadEnvelope) Block {
	ref, err := derive.PayloadToBlockRef(c.cfg, envelope.ExecutionPayload)
	if err != nil {
		panic(fmt.Sprintf("modelel: %v", err))
	}
	return Block{Ref: ref, Envelope: envelope}
}

// seal fills in what all blocks since Isthmus have, and the hash.
func seal(payload *eth.ExecutionPayload, beaconRoot common.Hash) *eth.ExecutionPayloadEnvelope {
	payload.ReceiptsRoot = eth.Bytes32(types.EmptyReceiptsHash)
	payload.Withdrawals = &types.Withdrawals{}
	payload.WithdrawalsRoot = ptr(messagePasserRoot)
	payload.BlobGasUsed = new(eth.Uint64Quantity)
	payload.ExcessBlobGas = new(eth.Uint64Quantity)
	envelope := &eth.ExecutionPayloadEnvelope{ParentBeaconBlockRoot: &beaconRoot, ExecutionPayload: payload}
	payload.BlockHash, _ = envelope.CheckBlockHash()
	return envelope
}

// nextState stands for execution: a state that depends on the state before and on what was executed.
func nextState(state eth.Bytes32, inputs ...[]byte) eth.Bytes32 {
	return eth.Bytes32(crypto.Keccak256Hash(append([][]byte{state[:]}, inputs...)...))
}

// blockOf makes a block of an envelope that an engine was handed.
func (el *EL) blockOf(envelope *eth.ExecutionPayloadEnvelope) (Block, error) {
	ref, err := derive.PayloadToBlockRef(el.cfg, envelope.ExecutionPayload)
	if err != nil {
		return Block{}, err
	}
	return Block{Ref: ref, Envelope: envelope}, nil
}
