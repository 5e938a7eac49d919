package driver

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

// History answers which L2 block was safe at which L1 block. A follower does not derive and so cannot know; it asks its
// sources in their order and passes on the first answer that holds against its own L1 view and its own engine. If no
// source keeps the record the error is upstream's own for a node without the database. All methods may be called from
// any goroutine.
type History struct {
	sources []Source
	l1      l1View
	engine  upstream.ExecEngine
	chain   *rollup.Config
}

// NewHistory makes the history of a driver with these parts.
func NewHistory(cfg Config, deps Deps) *History {
	return &History{sources: deps.Sources, l1: deps.L1, engine: deps.Engine, chain: cfg.Rollup}
}

// SafeHeadAtL1 returns the safe head as of an L1 block, with the L1 block it was recorded at.
func (h *History) SafeHeadAtL1(ctx context.Context, l1Number uint64) (l1, safeHead eth.BlockID, err error) {
	head, err := firstSound(ctx, h, func(s Source) (sources.SafeHead, error) {
		head, err := s.SafeHeadAtL1(ctx, l1Number)
		if err != nil {
			return head, err
		}
		if head.L1.Number > l1Number {
			return head, fmt.Errorf("recorded at L1 block %s, which is later", head.L1)
		}
		return head, errors.Join(h.l1Holds(ctx, head.L1), h.l2Holds(ctx, head.L2))
	})
	return head.L1, head.L2, err
}

// L1AtSafeHead returns the earliest L1 block at which the safe head had reached an L2 block, and that L2 block.
func (h *History) L1AtSafeHead(ctx context.Context, l2Number uint64) (l1, safeHead eth.BlockID, err error) {
	ref, err := h.engine.L2BlockRefByNumber(ctx, l2Number)
	if err != nil {
		return eth.BlockID{}, eth.BlockID{}, err
	}
	l1, err = firstSound(ctx, h, func(s Source) (eth.BlockID, error) {
		required, found, err := s.RequiredL1(ctx, ref.Time, eth.ChainIDFromBig(h.chain.L2ChainID))
		switch {
		case err != nil:
			return eth.BlockID{}, err
		case !found:
			return eth.BlockID{}, fmt.Errorf("block %d is not safe at the source: %w", l2Number, sources.ErrNotFound)
		case required.L1.Number < ref.L1Origin.Number:
			return eth.BlockID{}, fmt.Errorf("L1 block %s is older than the L1 origin of %s", required.L1, ref)
		}
		return required.L1, h.l1Holds(ctx, required.L1)
	})
	return l1, ref.ID(), err
}

// firstSound is the first answer without an error. Without one, the error says that there is no such record if a source
// says so, and that nobody keeps records otherwise.
func firstSound[T any](ctx context.Context, h *History, ask func(Source) (T, error)) (T, error) {
	var none T
	var errs []error
	for _, source := range h.sources {
		answer, err := ask(source)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		errs = append(errs, err)
	}
	if errors.Is(errors.Join(errs...), sources.ErrNotFound) {
		return none, safedb.ErrNotFound
	}
	return none, safedb.ErrNotEnabled
}

// l1Holds tells whether an L1 block is canonical in the own view.
func (h *History) l1Holds(ctx context.Context, id eth.BlockID) error {
	if answer := h.l1.Judge(ctx, id)[id]; answer != follow.L1Canonical {
		return fmt.Errorf("L1 block %s is not canonical here", id)
	}
	return nil
}

// l2Holds tells whether an L2 block is on the own chain.
func (h *History) l2Holds(ctx context.Context, id eth.BlockID) error {
	ref, err := h.engine.L2BlockRefByNumber(ctx, id.Number)
	if err != nil {
		return err
	}
	if ref.Hash != id.Hash {
		return fmt.Errorf("L2 block %s is not on the own chain", id)
	}
	return nil
}
