package node

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
	"github.com/lightcl/op-node/op-node/node/api"
	"github.com/lightcl/op-node/op-node/node/rpcserver"
	"github.com/lightcl/op-node/op-node/rollup/driver"
	"github.com/lightcl/op-node/op-node/rollup/feed"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/op-service/l1chain"
	"github.com/lightcl/op-node/op-service/sources"
)

// crowd counts those who wait.
type crowd struct{ waiting atomic.Int64 }

func (c *crowd) RecordWaiters(count int) { c.waiting.Store(int64(count)) }
func (*crowd) RecordWait(string)         {}

// BenchmarkWaiters has many followers wait at one node, over HTTP and through the RPC server with its limits, and changes the status
// again and again: how long it takes until the followers have it, and what that costs. The clients are those of followers, and their
// cost is part of it: the node's own is about half. docs/scale.md has the figures.
//
//	go test ./op-node/node -run xxx -bench Waiters -benchtime 50x
func BenchmarkWaiters(b *testing.B) {
	for _, followers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(followers), func(b *testing.B) { benchmarkWaiters(b, followers) })
	}
}

func benchmarkWaiters(b *testing.B, followers int) {
	room := new(crowd)
	f := feed.New("bench", followers, clock.SystemClock, room)
	url := serveFeed(b, f)
	ctx, cancel := context.WithCancel(b.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	type arrival struct {
		number uint64
		at     time.Time
	}
	arrivals := make(chan arrival, followers)
	memory := inUse()
	for range followers {
		clients.Go(func() {
			client, err := sources.NewFollowClient(sources.FollowConfig{URL: url}, nil)
			if err != nil {
				b.Error(err)
				return
			}
			defer client.Close()
			var version string
			for {
				update, err := client.StatusAfter(ctx, version, feed.MaxWait)
				if err != nil {
					if ctx.Err() == nil {
						b.Error(err)
					}
					return
				}
				version = update.Version
				if update.Status.Safe.Number > 0 {
					arrivals <- arrival{update.Status.Safe.Number, time.Now()}
				}
			}
		})
	}
	ready := func() {
		for room.waiting.Load() < int64(followers) {
			time.Sleep(time.Millisecond)
		}
	}
	ready()
	memory = inUse() - memory
	var lags []time.Duration
	cpu, number := cpuTime(b), uint64(0)
	for b.Loop() {
		number++
		start := time.Now()
		f.Publish(benchStatus(number))
		for range followers {
			a := <-arrivals
			require.Equal(b, number, a.number)
			lags = append(lags, a.at.Sub(start))
		}
		ready()
	}
	slices.Sort(lags)
	quantile := func(q float64) float64 { return float64(lags[int(q*float64(len(lags)-1))].Microseconds()) / 1000 }
	b.ReportMetric(float64(memory)/float64(followers)/1024, "KiB/follower")
	b.ReportMetric(quantile(.5), "ms-p50")
	b.ReportMetric(quantile(.99), "ms-p99")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(len(lags)), "cpu-µs/answer")
}

// polled serves the newest status of a feed.
type polled struct{ feed *feed.Feed }

// SyncStatus serves optimism_syncStatus.
func (p polled) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	answer, err := p.feed.Wait(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	return answer.Status, nil
}

// serveFeed serves a feed as a node does.
func serveFeed(b *testing.B, f *feed.Feed) (url string) {
	c := config.Default().RPC
	server, err := rpcserver.New(rpcserver.Options{
		Version: "v1", Origins: c.CORSDomains, Hosts: c.VHosts, Waiting: waitingMethods, Log: silent(),
		Limits: rpcserver.Limits{Body: c.BodyLimit, Batch: c.BatchLimit, Answer: c.BatchAnswerLimit, Requests: c.RequestLimit},
		Recorder: func(served func(string) bool) rpc.Recorder {
			return metrics.New().NewServerRecorder("main", served)
		},
	})
	require.NoError(b, err)
	require.NoError(b, server.Register(rpc.API{Namespace: "follow", Service: api.NewWaiting(f)}))
	require.NoError(b, server.Register(rpc.API{Namespace: "optimism", Service: polled{f}}))
	server.Open()
	web := httptest.NewServer(server)
	b.Cleanup(web.Close)
	b.Cleanup(f.Stop)
	return web.URL
}

// BenchmarkChain has three followers in a row, each on an engine of its own that answers at once, and changes the status that the
// first one waits for: how long after it each of them has applied it.
func BenchmarkChain(b *testing.B) {
	const depth, l1Blocks = 3, 60
	chain := modelel.NewChain()
	rollup, says := chain.RollupConfig(), testutil.Derivation{L1: chain.L1(), L2: chain.L2(), PerL1: 6, BatchDelay: 2, Finality: 4}
	endpoint := testutil.NewL1Endpoint(chain, time.Millisecond)
	time.Sleep(l1Blocks * time.Millisecond)
	publish := func(f *feed.Feed, l1 uint64) {
		s := says.At(l1)
		f.Publish(&eth.SyncStatus{LocalSafeL2: s.LocalSafe, SafeL2: s.Safe, FinalizedL2: s.Finalized, CurrentL1: s.CurrentL1})
	}
	root := feed.New("root", 10, clock.SystemClock, new(crowd))
	publish(root, 3)
	feeds, last := []*feed.Feed{root}, root
	for range depth {
		view, err := l1chain.New(l1chain.Config{}, endpoint, silent(), l1chain.NullMetrics{}, clock.SystemClock)
		require.NoError(b, err)
		source, err := sources.NewFollowClient(sources.FollowConfig{URL: serveFeed(b, last)}, nil)
		require.NoError(b, err)
		b.Cleanup(source.Close)
		el := chain.NewEL()
		d, err := driver.New(driver.Config{Rollup: rollup, EngineTimeout: time.Second, MaxWaiters: 10}, driver.Deps{
			Engine: testutil.NewClient(rollup, el, el), L1: view, Sources: []driver.Source{source}, Metrics: metrics.New(),
			Clock: clock.SystemClock, Log: silent(), Fatal: func(err error) { b.Error(err) },
		})
		require.NoError(b, err)
		require.NoError(b, d.Start())
		b.Cleanup(func() { require.NoError(b, d.Close()) })
		d.OnL1Head(b.Context(), chain.L1().Block(l1Blocks).Ref)
		for number := range uint64(6 * l1Blocks) {
			d.OnUnsafeL2Payload(b.Context(), chain.Block(number+1).Envelope)
		}
		last = d.Feed()
		feeds = append(feeds, last)
	}
	// applied is when a follower has applied what was said of an L1 block.
	applied := func(f *feed.Feed, l1 uint64) time.Time {
		for want, known := says.At(l1), ""; ; {
			a, err := f.Wait(b.Context(), known, feed.MaxWait)
			require.NoError(b, err)
			if a.Status.CurrentL1 == want.CurrentL1 && a.Status.SafeL2 == want.Safe {
				return time.Now()
			}
			known = a.Version
		}
	}
	for _, f := range feeds[1:] {
		applied(f, 3)
	}
	lags, l1 := make([][]float64, depth), uint64(3)
	for b.Loop() {
		time.Sleep(100 * time.Millisecond) // for waits to begin, as between two changes of a real source
		if l1++; l1 > l1Blocks {
			b.Fatalf("there are no more than %d L1 blocks: use -benchtime 50x", l1Blocks)
		}
		at := make([]time.Time, depth)
		var watching sync.WaitGroup
		for hop, f := range feeds[1:] {
			watching.Go(func() { at[hop] = applied(f, l1) })
		}
		start := time.Now()
		publish(root, l1)
		watching.Wait()
		for hop := range at {
			lags[hop] = append(lags[hop], float64(at[hop].Sub(start).Microseconds())/1000)
		}
	}
	for hop, all := range lags {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], fmt.Sprintf("ms-p50-hop%d", hop+1))
		b.ReportMetric(all[len(all)*99/100], fmt.Sprintf("ms-p99-hop%d", hop+1))
	}
}

// benchStatus is a status as large as they usually are.
func benchStatus(number uint64) *eth.SyncStatus {
	hash := common.Hash{0: 1, 30: byte(number >> 8), 31: byte(number)}
	l1 := eth.L1BlockRef{Hash: hash, ParentHash: common.Hash{2}, Number: 20_000_000 + number, Time: 1_700_000_000}
	l2 := eth.L2BlockRef{Hash: hash, ParentHash: common.Hash{2}, Number: number, Time: 1_700_000_000, L1Origin: l1.ID(), SequenceNumber: 3}
	return &eth.SyncStatus{
		CurrentL1: l1, CurrentL1Finalized: l1, HeadL1: l1, SafeL1: l1, FinalizedL1: l1,
		UnsafeL2: l2, SafeL2: l2, FinalizedL2: l2, PendingSafeL2: l2, LocalSafeL2: l2,
	}
}

// inUse is how much memory the process uses for heap and stacks.
func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

// cpuTime is how much processor time the process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
