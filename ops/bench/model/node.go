package model

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/conductor"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/event"
	upsources "github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/l1chain"
	"github.com/lightcl/op-node/op-service/sources"
	"github.com/lightcl/op-node/ops/bench/l1feed"
	"github.com/lightcl/op-node/ops/bench/report"
	"github.com/lightcl/op-node/ops/bench/upstream"
	"github.com/lightcl/op-node/ops/devnet/closer"
)

// contestants in the order of their columns. On the model engine nobody derives: there are no batches.
var contestants = []string{report.Ours, report.UpstreamFollow}

// wiring is what a contestant is connected with.
type wiring struct {
	chain      *modelel.Chain
	engine     *engine
	l1, source string
	// network is nil for a verifier.
	network network
	resets  *resetCounter
	log     log.Logger
	fatal   func(error)
	cleanup *closer.Closer
}

// network takes the blocks of a sequencer.
type network interface {
	SignAndPublishL2Payload(ctx context.Context, payload *eth.ExecutionPayloadEnvelope) error
}

// rollupDriver is what both drivers have in common.
type rollupDriver interface {
	Start() error
	Close() error
	SyncStatus(ctx context.Context) (*eth.SyncStatus, error)
	OnUnsafeL2Payload(ctx context.Context, payload *eth.ExecutionPayloadEnvelope)
	OnL1Head(ctx context.Context, ref eth.L1BlockRef)
	OnL1Safe(ctx context.Context, ref eth.L1BlockRef)
	OnL1Finalized(ctx context.Context, ref eth.L1BlockRef)
}

// newDriver makes the driver of a contestant and begins to tell it of L1. It is yet to Start; the cleanup closes it.
func (w wiring) newDriver(ctx context.Context, contestant string) (rollupDriver, error) {
	conn, err := client.NewRPC(ctx, w.log, w.l1)
	if err != nil {
		return nil, fmt.Errorf("L1 of %s: %w", contestant, err)
	}
	w.cleanup.AddFunc("L1 client", conn.Close)
	l1, err := upsources.NewL1Client(conn, w.log, nil, upsources.L1ClientSimpleConfig(false, upsources.RPCKindStandard, 1000))
	if err != nil {
		return nil, err
	}
	assemble := w.ours
	if contestant == report.UpstreamFollow {
		assemble = w.upstream
	}
	d, err := assemble(ctx, conn, l1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", contestant, err)
	}
	w.cleanup.AddErr("driver", d.Close)
	w.cleanup.AddFunc("L1 feed", l1feed.Start(ctx, l1, w.log, d))
	return d, nil
}

func (w wiring) ours(_ context.Context, conn client.RPC, l1 *upsources.L1Client) (rollupDriver, error) {
	view, err := l1chain.New(l1chain.Config{}, l1chain.NewRPCFetcher(conn, false), w.log, l1chain.NullMetrics{}, clock.SystemClock)
	if err != nil {
		return nil, err
	}
	source, err := sources.NewFollowClient(sources.FollowConfig{URL: w.source}, nil)
	if err != nil {
		return nil, err
	}
	w.cleanup.AddFunc("source client", source.Close)
	return driver.New(driver.Config{Rollup: w.chain.RollupConfig(), EngineTimeout: 10 * time.Second}, driver.Deps{
		Engine: w.engine, L1: view, Sources: []driver.Source{source}, Metrics: noMetrics{w.resets}, Clock: clock.SystemClock, Log: w.log, Fatal: w.fatal,
		Production: w.production(l1),
	})
}

// production is what our driver makes blocks with; nil for a verifier.
func (w wiring) production(l1 *upsources.L1Client) *driver.Production {
	if w.network == nil {
		return nil
	}
	life, end := context.WithCancel(context.Background())
	executor := event.NewGlobalSynchronous(life)
	system := event.NewSystem(w.log, executor)
	system.Register("bench", event.DeriverFunc(func(_ context.Context, ev event.Event) bool {
		critical, ok := ev.(rollup.CriticalErrorEvent)
		if ok {
			w.fatal(critical.Err)
		}
		return ok
	}))
	w.cleanup.AddFunc("event system", func() {
		end()
		system.Stop()
	})
	return &driver.Production{
		SealingDuration: upstream.SealingDuration, L1Chain: w.chain.L1ChainConfig(), L1: l1, L2: w.engine, Network: w.network,
		Conductor: &conductor.NoOpConductor{}, State: forgetful{}, Metrics: metrics.NoopMetrics, Events: system, Drain: executor,
	}
}

// forgetful does not remember whether blocks are made.
type forgetful struct{}

func (forgetful) SequencerStarted() error { return nil }
func (forgetful) SequencerStopped() error { return nil }

func (w wiring) upstream(ctx context.Context, _ client.RPC, l1 *upsources.L1Client) (rollupDriver, error) {
	conn, err := client.NewRPC(ctx, w.log, w.source)
	if err != nil {
		return nil, err
	}
	w.cleanup.AddFunc("source client", conn.Close)
	source, err := upsources.NewFollowClient(conn)
	if err != nil {
		return nil, err
	}
	return upstream.New(upstream.Deps{
		Rollup: w.chain.RollupConfig(), L1Chain: w.chain.L1ChainConfig(), Engine: w.engine, L1: l1, Source: source, Network: w.network,
		Metrics: upstreamMetrics{metrics.NoopMetrics, w.resets}, Log: w.log, Fatal: w.fatal,
	}), nil
}

// resetCounter counts how often a driver says that it was forced to reset the engine. The zero value is ready for use.
type resetCounter struct{ forced atomic.Int64 }

// RecordFollowSourceReorg is the metric that both drivers have for it.
func (c *resetCounter) RecordFollowSourceReorg(action string) {
	if action == "force_reset" {
		c.forced.Add(1)
	}
}

// upstreamMetrics counts nothing else; upstream's own lacks some methods.
type upstreamMetrics struct {
	metrics.Metricer
	resets *resetCounter
}

func (m upstreamMetrics) RecordFollowSourceReorg(action string) {
	m.resets.RecordFollowSourceReorg(action)
}

func (upstreamMetrics) RecordL1RequestTime(string, time.Duration) {}
func (upstreamMetrics) RecordDequeuedEvents(string, string)       {}
func (upstreamMetrics) SetTotalEnqueuedEvents(uint64)             {}
func (upstreamMetrics) EnqueuedEventIncrement(string)             {}
func (upstreamMetrics) EnqueuedEventDecrement(string)             {}

// noMetrics counts nothing else either.
type noMetrics struct{ *resetCounter }

func (noMetrics) RecordTask(string, time.Duration, time.Duration, bool)  {}
func (noMetrics) RecordUnsafePayloadsBuffer(uint64, uint64, eth.BlockID) {}
func (noMetrics) RecordL1Ref(string, eth.L1BlockRef)                     {}
func (noMetrics) RecordL2Ref(string, eth.L2BlockRef)                     {}
func (noMetrics) SetDerivationIdle(bool)                                 {}
func (noMetrics) RecordFollowSourceRequest(string)                       {}
func (noMetrics) RecordPoll(string, time.Duration, bool)                 {}
func (noMetrics) RecordVerdict(string, string)                           {}
func (noMetrics) RecordSourceHeads(string, follow.Status)                {}
func (noMetrics) RecordFollowed(string, string)                          {}
func (noMetrics) RecordSources([]string, int)                            {}
func (noMetrics) RecordUnresolved(bool)                                  {}
func (noMetrics) RecordDisagreement()                                    {}
func (noMetrics) RecordL1Gap(uint64)                                     {}
func (noMetrics) RecordFollowState(bool, uint64, time.Duration, int64)   {}
func (noMetrics) RecordWaiters(int)                                      {}
func (noMetrics) RecordWait(string)                                      {}
