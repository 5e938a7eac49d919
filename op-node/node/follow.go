package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"

	"github.com/lightcl/op-node/op-node/node/api"
	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-service/l1chain"
	"github.com/lightcl/op-node/op-service/secret"
	"github.com/lightcl/op-node/op-service/sources"
)

var _ rollupDriver = (*driver.Driver)(nil)

// newFollow builds the driver of follow mode. No beacon API, pipeline, finalizer or attributes handler exists in this mode.
func (n *Node) newFollow(ctx context.Context) (*rollupStack, error) {
	if n.cfg.SafeDBPath != "" {
		n.log.Warn("The safe head database is not written in follow mode: a follower does not know at which L1 block a head became safe",
			"flag", "--safedb.path", "path", n.cfg.SafeDBPath)
	}
	if n.cfg.Beacon.URL != "" {
		n.log.Info("The L1 beacon API is not used in follow mode", "flag", "--l1.beacon")
	}
	if n.cfg.AltDA.Enabled {
		n.log.Warn("Alt-DA is not used in follow mode: a follower reads no batches", "flag", "--altda.enabled")
	}
	l1, err := n.newL1View(ctx)
	if err != nil {
		return nil, err
	}
	deps := driver.Deps{Engine: n.engine, L1: l1, Metrics: n.metrics, Clock: n.clock, Log: n.log, Fatal: n.fail}
	records, err := n.newSources(&deps)
	if err != nil {
		return nil, err
	}
	if deps.Production, err = n.newProduction(); err != nil {
		return nil, err
	}
	chain, follow := n.cfg.Chain.Rollup, n.cfg.Follow
	cfg := driver.Config{
		Rollup:         chain,
		PollInterval:   follow.PollPeriod(time.Duration(chain.BlockTime) * time.Second),
		FixedInterval:  follow.PollInterval > 0,
		RequestTimeout: follow.CallTimeout,
		Quorum:         follow.Quorum,
		MaxLag:         follow.MaxLag,
		ELSync:         n.cfg.Sync.Mode == sync.ELSync,
		EngineTimeout:  n.cfg.L2.CallTimeout,
		MaxWaiters:     n.cfg.RPC.FollowMaxWaiters,
	}
	d, err := driver.New(cfg, deps)
	if err != nil {
		return nil, err
	}
	served := api.NewFollow(d)
	apis := []rpc.API{{Namespace: "follow", Service: served}}
	var control []rpc.API
	if n.cfg.RPC.SequencerAPI {
		control = append(control, rpc.API{Namespace: "opstack", Service: api.NewOpstack(d.Blocks(), n.gossip)})
		n.log.Info("Experimental OP stack API enabled")
	}
	return &rollupStack{
		driver:    d,
		wants:     l1,
		feed:      d.Feed(),
		safeHeads: d.NewHistory(records),
		apis:      apis,
		control:   control,
		routes:    map[string]http.Handler{"/readyz": api.ServeReady(d)},
	}, nil
}

// newSources makes the clients of each follow source: one to follow it, and one for look-ups on behalf of RPC clients, so
// that these never use the connection that labels come over. None of them is dialled yet: one that is down does not stop
// the start.
func (n *Node) newSources(deps *driver.Deps) (records []driver.Record, err error) {
	names := secret.Names(n.cfg.Follow.Sources)
	for i, url := range n.cfg.Follow.Sources {
		source, err := n.newSource(names[i], url, 0)
		if err != nil {
			return nil, err
		}
		record, err := n.newSource(names[i], url, driver.RecordCalls)
		if err != nil {
			return nil, err
		}
		deps.Sources, records = append(deps.Sources, source), append(records, record)
	}
	return records, nil
}

// newSource makes a client of a source; maxConns 0 is the default. Headers for it alone take the place of those for all under the
// same names.
func (n *Node) newSource(name, url string, maxConns int) (*sources.FollowClient, error) {
	header := make(http.Header)
	maps.Copy(header, n.cfg.Follow.Headers)
	maps.Copy(header, n.cfg.Follow.SourceHeaders[url])
	source, err := sources.NewFollowClient(sources.FollowConfig{
		URL: url, Name: name, Headers: header, Hide: n.hide, Timeout: n.cfg.Follow.CallTimeout, MaxConns: maxConns,
	}, n.metrics.NewRecorder("follow-source-api"))
	if err != nil {
		return nil, fmt.Errorf("--l2.follow.source: %w", err)
	}
	n.cleanups.addFunc("follow source "+source.Name(), source.Close)
	return source, nil
}

// newL1View makes the view of canonical L1 and shows it the present head, so that the first status can be judged at once.
func (n *Node) newL1View(ctx context.Context) (*l1chain.View, error) {
	view, err := l1chain.New(l1chain.Config{MaxBatch: n.cfg.L1.MaxBatchSize, Anchor: n.cfg.Chain.Rollup.Genesis.L1},
		l1chain.NewRPCFetcher(n.l1.rpc, n.cfg.L1.TrustRPC), n.log, n.metrics, n.clock)
	if err != nil {
		return nil, err
	}
	head, err := n.askL1Head(ctx)
	if err != nil {
		n.log.Warn("L1 head unknown for now, labels wait for the next one", "err", err)
		return view, nil
	}
	view.OnHead(ctx, head)
	return view, nil
}
