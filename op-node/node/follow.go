package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/metrics"
	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-service/l1chain"
	"github.com/lightcl/op-node/op-service/sources"
)

var _ rollupDriver = (*driver.Driver)(nil)

// followMetrics are upstream's metrics and those that follow mode adds.
type followMetrics struct {
	*metrics.Metrics
	*metrics.Follow
}

// newFollow builds the driver of follow mode. No beacon API, pipeline, finalizer or attributes handler exists in this mode.
func (n *Node) newFollow(ctx context.Context) (*rollupStack, error) {
	if n.cfg.SafeDBPath != "" {
		n.log.Warn("The safe head database is not written in follow mode: a follower does not know at which L1 block a head became safe",
			"flag", "--safedb.path", "path", n.cfg.SafeDBPath)
	}
	if n.cfg.Beacon.URL != "" {
		n.log.Info("The L1 beacon API is not used in follow mode", "flag", "--l1.beacon")
	}
	recorded := followMetrics{n.metrics, n.metrics.Follow}
	l1, err := n.newL1View(ctx, recorded)
	if err != nil {
		return nil, err
	}
	deps := driver.Deps{Engine: n.engine, L1: l1, Metrics: recorded, Clock: n.clock, Log: n.log, Fatal: n.fail}
	for _, url := range n.cfg.Follow.Sources {
		source, err := sources.NewFollowClient(sources.FollowConfig{
			URL: url, Headers: n.cfg.Follow.Headers, Timeout: n.cfg.Follow.CallTimeout,
		}, n.log, n.metrics.NewRecorder("follow-source-api"))
		if err != nil {
			return nil, fmt.Errorf("--l2.follow.source: %w", err)
		}
		n.cleanups.addFunc("follow source "+source.Name(), source.Close)
		deps.Sources = append(deps.Sources, source)
	}
	chain := n.cfg.Chain.Rollup
	d, err := driver.New(driver.Config{
		Rollup:        chain,
		PollInterval:  n.cfg.Follow.PollPeriod(time.Duration(chain.BlockTime) * time.Second),
		ELSync:        n.cfg.Sync.Mode == sync.ELSync,
		EngineTimeout: n.cfg.L2.CallTimeout,
	}, deps)
	if err != nil {
		return nil, err
	}
	return &rollupStack{driver: d, safeHeads: safedb.Disabled}, nil
}

// newL1View makes the view of canonical L1 and shows it the present head, so that the first status can be judged at once.
func (n *Node) newL1View(ctx context.Context, recorded followMetrics) (*l1chain.View, error) {
	view, err := l1chain.New(l1chain.Config{MaxBatch: n.cfg.L1.MaxBatchSize},
		l1chain.NewRPCFetcher(n.l1.rpc, n.cfg.L1.TrustRPC), n.log, recorded, n.clock)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l1PollTimeout)
	defer cancel()
	head, err := n.l1.L1BlockRefByLabel(ctx, eth.Unsafe)
	if err != nil {
		n.log.Warn("L1 head unknown for now, labels wait for the next one", "err", err)
		return view, nil
	}
	view.OnHead(ctx, head)
	return view, nil
}
