package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-batcher/batcher"
	"github.com/ethereum-optimism/optimism/op-batcher/compressor"
	batcherconfig "github.com/ethereum-optimism/optimism/op-batcher/config"
	batcherflags "github.com/ethereum-optimism/optimism/op-batcher/flags"
	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/setuputils"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/endpoint"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"

	"github.com/lightcl/op-node/ops/devnet/closer"
)

// maker is a node that makes blocks: the RPC of its engine and its own.
type maker struct{ engine, rollup string }

// startBatcher posts the blocks of whichever maker is active to L1, about one batch per L2 block.
func startBatcher(ctx context.Context, o Options, c *chain, l1 *L1, makers []maker, failed chan<- error, cleanup *closer.Closer) error {
	logger := o.Log.New("service", "batcher")
	tx := setuputils.NewTxMgrConfig(endpoint.URL(l1.HTTP()), c.batcher)
	tx.NetworkTimeout = 10 * time.Second // everything shares one machine, which may be busy
	tx.CellProofTime = 0                 // L1 is past Osaka from genesis, so every blob needs cell proofs
	cfg := &batcher.CLIConfig{
		L1EthRpc:               l1.HTTP(),
		MaxPendingTransactions: 7,
		MaxChannelDuration:     1,
		MaxL1TxSize:            120_000,
		TargetNumFrames:        1,
		ApproxComprRatio:       0.4,
		SubSafetyMargin:        4,
		PollInterval:           500 * time.Millisecond,
		BatchType:              derive.SpanBatchType,
		MaxBlocksPerSpanBatch:  10,
		Compressor:             compressor.ShadowKind,
		CompressionAlgo:        derive.Brotli,
		DataAvailabilityType:   batcherflags.DataAvailabilityType(o.DA),
		TxMgrConfig:            tx,
		RPC:                    oprpc.CLIConfig{ListenAddr: "127.0.0.1"},
		ThrottleConfig:         batcher.ThrottleConfig{ControllerType: batcherconfig.StepControllerType},
	}
	for _, m := range makers {
		cfg.L2EthRpc = append(cfg.L2EthRpc, m.engine)
		cfg.RollupRpc = append(cfg.RollupRpc, m.rollup)
	}
	if len(makers) > 1 {
		cfg.ActiveSequencerCheckDuration = 2 * time.Second
	}
	cancel := func(err error) {
		select {
		case failed <- fmt.Errorf("batcher: %w", err):
		default:
		}
	}
	service, err := batcher.BatcherServiceFromCLIConfig(ctx, cancel, version, cfg, logger)
	if err != nil {
		return fmt.Errorf("create batcher: %w", err)
	}
	// Killed rather than stopped: it would wait for its last transactions to be included.
	cleanup.AddErr("batcher", service.Kill)
	if err := service.Start(ctx); err != nil {
		return fmt.Errorf("start batcher: %w", err)
	}
	return nil
}

// AddBatcher starts a batcher that reads which blocks to post from a follower, and the blocks from its engine, as soon as the
// follower knows its current L1. It asks the follower under the given URL, which may be that of a proxy in between. It is for a devnet
// without a batcher: there is one key that batches count of. It lives until Close.
func (s *Stack) AddBatcher(ctx context.Context, f *Follower, url string) error {
	if s.opts.Batcher {
		return errors.New("this devnet has a batcher: a second one would spend its nonces")
	}
	if err := f.awaitCurrentL1(ctx); err != nil {
		return fmt.Errorf("start batcher: %w", err)
	}
	return startBatcher(ctx, s.opts, s.chain, s.l1, []maker{{engine: f.el.HTTP(), rollup: url}}, s.failed, &s.cleanup)
}
