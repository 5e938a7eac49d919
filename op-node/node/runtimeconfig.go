package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/node/runcfg"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/retry"
)

const (
	runtimeConfigAttempts = 5
	runtimeConfigPause    = 10 * time.Second
	runtimeConfigTimeout  = 30 * time.Second
)

// loadRuntimeConfig reads what the chain's operator can change on L1, which is the address that signs unsafe blocks.
func (n *Node) loadRuntimeConfig(ctx context.Context) (*runcfg.RuntimeConfig, error) {
	runCfg := runcfg.NewRuntimeConfig(n.log, n.l1, n.cfg.Chain.Rollup)
	err := retry.Do0(ctx, runtimeConfigAttempts, retry.Fixed(runtimeConfigPause), func() error {
		_, err := n.readRuntimeConfig(ctx, runCfg)
		if err != nil {
			n.log.Warn("Failed to load the runtime config", "err", err)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to load runtime configuration repeatedly, last error: %w", err)
	}
	return runCfg, nil
}

// readRuntimeConfig reads the values as of the L1 block that has the confirmations derivation asks for, and returns the L1 head.
func (n *Node) readRuntimeConfig(ctx context.Context, into *runcfg.RuntimeConfig) (eth.L1BlockRef, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeConfigTimeout)
	defer cancel()
	head, err := n.l1.L1BlockRefByLabel(ctx, eth.Unsafe)
	if err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("fetching the L1 head: %w", err)
	}
	number := head.Number
	if confs := n.cfg.L1.VerifierConfs; number >= confs {
		number -= confs
	}
	confirmed, err := n.l1.L1BlockRefByNumber(ctx, number)
	if err != nil {
		return eth.L1BlockRef{}, fmt.Errorf("fetching the confirmed L1 block %d: %w", number, err)
	}
	return head, into.Load(ctx, confirmed)
}

// reloadRuntimeConfig reads the values again from time to time. A failure waits for the next time: L1 is not pressed for this.
func (n *Node) reloadRuntimeConfig() {
	interval := n.cfg.L1.RuntimeConfigReloadInterval
	if interval <= 0 {
		return
	}
	n.cleanups.addFunc("runtime config reloading", background(func(ctx context.Context) {
		ticker := n.clock.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.Ch():
			}
			if head, err := n.readRuntimeConfig(ctx, n.runCfg); err != nil {
				n.log.Warn("failed to reload runtime config", "err", err)
			} else {
				n.log.Debug("reloaded runtime config", "l1_head", head)
			}
		}
	}))
}
