package sources

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// The wire types have pointers, so that a field that is missing or null is told from a zero.
type (
	wireStatus struct {
		CurrentL1 *wireBlock   `json:"current_l1"`
		Safe      *wireL2Block `json:"safe_l2"`
		LocalSafe *wireL2Block `json:"local_safe_l2"`
		Finalized *wireL2Block `json:"finalized_l2"`
	}
	wireID struct {
		Hash   *common.Hash `json:"hash"`
		Number *uint64      `json:"number"`
	}
	wireBlock struct {
		wireID
		ParentHash *common.Hash `json:"parentHash"`
		Time       *uint64      `json:"timestamp"`
	}
	wireL2Block struct {
		wireBlock
		L1Origin       *wireID `json:"l1origin"`
		SequenceNumber *uint64 `json:"sequenceNumber"`
	}
	wireRollupConfig struct {
		Genesis *struct {
			L1 *wireID `json:"l1"`
			L2 *wireID `json:"l2"`
		} `json:"genesis"`
		L1ChainID *big.Int `json:"l1_chain_id"`
		L2ChainID *big.Int `json:"l2_chain_id"`
	}
)

// decodeStatus reads the four refs of an optimism_syncStatus result that following needs. A ref that is missing, null or
// without a hash is unknown and becomes the zero ref; a ref with a hash must be complete.
func decodeStatus(data []byte) (follow.Status, error) {
	var wire *wireStatus
	if err := decode(data, &wire); err != nil {
		return follow.Status{}, err
	}
	if wire == nil {
		return follow.Status{}, errNull
	}
	var (
		status follow.Status
		errs   [4]error
	)
	status.CurrentL1, errs[0] = wire.CurrentL1.ref()
	status.Safe, errs[1] = wire.Safe.ref()
	status.LocalSafe, errs[2] = wire.LocalSafe.ref()
	status.Finalized, errs[3] = wire.Finalized.ref()
	for i, field := range [...]string{"current_l1", "safe_l2", "local_safe_l2", "finalized_l2"} {
		if errs[i] != nil {
			return follow.Status{}, fmt.Errorf("%s: %w", field, errs[i])
		}
	}
	return status, nil
}

// decodeIdentity reads an optimism_rollupConfig result.
func decodeIdentity(data []byte) (Identity, error) {
	var wire *wireRollupConfig
	if err := decode(data, &wire); err != nil {
		return Identity{}, err
	}
	if wire == nil {
		return Identity{}, errNull
	}
	if wire.Genesis == nil {
		return Identity{}, errors.New("genesis is missing")
	}
	var (
		id  Identity
		err error
	)
	if id.L1ChainID, err = chainID(wire.L1ChainID); err != nil {
		return Identity{}, fmt.Errorf("l1_chain_id: %w", err)
	}
	if id.L2ChainID, err = chainID(wire.L2ChainID); err != nil {
		return Identity{}, fmt.Errorf("l2_chain_id: %w", err)
	}
	if id.GenesisL1, err = wire.Genesis.L1.required(); err != nil {
		return Identity{}, fmt.Errorf("genesis.l1: %w", err)
	}
	if id.GenesisL2, err = wire.Genesis.L2.required(); err != nil {
		return Identity{}, fmt.Errorf("genesis.l2: %w", err)
	}
	return id, nil
}

func chainID(n *big.Int) (eth.ChainID, error) {
	const maxBits = 256
	if n == nil {
		return eth.ChainID{}, errors.New("missing")
	}
	if n.Sign() < 0 || n.BitLen() > maxBits {
		return eth.ChainID{}, errors.New("not a chain id")
	}
	return eth.ChainIDFromBig(n), nil
}

func (w *wireID) id() (eth.BlockID, error) {
	if w == nil || w.Hash == nil || *w.Hash == (common.Hash{}) {
		return eth.BlockID{}, nil
	}
	number, err := count("number", w.Number)
	return eth.BlockID{Hash: *w.Hash, Number: number}, err
}

func (w *wireID) required() (eth.BlockID, error) {
	id, err := w.id()
	if err == nil && id == (eth.BlockID{}) {
		err = errors.New("missing")
	}
	return id, err
}

func (w *wireBlock) ref() (eth.L1BlockRef, error) {
	if w == nil {
		return eth.L1BlockRef{}, nil
	}
	id, err := w.id()
	if err != nil || id == (eth.BlockID{}) {
		return eth.L1BlockRef{}, err
	}
	if w.ParentHash == nil {
		return eth.L1BlockRef{}, errors.New("parentHash is missing")
	}
	time, err := count("timestamp", w.Time)
	if err != nil {
		return eth.L1BlockRef{}, err
	}
	return eth.L1BlockRef{Hash: id.Hash, Number: id.Number, ParentHash: *w.ParentHash, Time: time}, nil
}

func (w *wireL2Block) ref() (eth.L2BlockRef, error) {
	if w == nil {
		return eth.L2BlockRef{}, nil
	}
	block, err := w.wireBlock.ref()
	if err != nil || block == (eth.L1BlockRef{}) {
		return eth.L2BlockRef{}, err
	}
	origin, err := w.L1Origin.id()
	if err != nil {
		return eth.L2BlockRef{}, fmt.Errorf("l1origin: %w", err)
	}
	if origin == (eth.BlockID{}) {
		return eth.L2BlockRef{}, errors.New("l1origin is missing")
	}
	sequence, err := count("sequenceNumber", w.SequenceNumber)
	if err != nil {
		return eth.L2BlockRef{}, err
	}
	return eth.L2BlockRef{
		Hash:           block.Hash,
		Number:         block.Number,
		ParentHash:     block.ParentHash,
		Time:           block.Time,
		L1Origin:       origin,
		SequenceNumber: sequence,
	}, nil
}

// count reads a number or time. It refuses what no chain ever reaches, so that nobody behind it has to think of overflow.
func count(field string, n *uint64) (uint64, error) {
	if n == nil {
		return 0, fmt.Errorf("%s is missing", field)
	}
	if *n > math.MaxInt64 {
		return 0, fmt.Errorf("%s is out of range: %d", field, *n)
	}
	return *n, nil
}
