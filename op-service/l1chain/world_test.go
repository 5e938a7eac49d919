package l1chain

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// chain is a fork from genesis up: the block with number n stands at n.
type chain []eth.L1BlockRef

// hashOf makes up a hash that tells number and fork apart at a glance.
func hashOf(fork byte, number uint64) common.Hash {
	var hash common.Hash
	hash[0] = fork
	binary.BigEndian.PutUint64(hash[24:], number+1)
	return hash
}

// newChain makes the blocks 0 to head of a fork.
func newChain(fork byte, head uint64) chain {
	return chain{{Hash: hashOf(fork, 0), Time: 1000}}.grow(fork, head)
}

// grow returns the chain continued up to head with blocks of a fork.
func (c chain) grow(fork byte, head uint64) chain {
	grown := append(chain(nil), c...)
	for parent := grown.head(); parent.Number < head; parent = grown.head() {
		grown = append(grown, eth.L1BlockRef{
			Hash:       hashOf(fork, parent.Number+1),
			Number:     parent.Number + 1,
			ParentHash: parent.Hash,
			Time:       parent.Time + 12,
		})
	}
	return grown
}

// fork returns the chain up to and with the number, continued up to head with blocks of another fork.
func (c chain) fork(at uint64, fork byte, head uint64) chain {
	return append(chain(nil), c[:at+1]...).grow(fork, head)
}

func (c chain) head() eth.L1BlockRef { return c[len(c)-1] }

func (c chain) id(number uint64) eth.BlockID { return c[number].ID() }

func (c chain) has(id eth.BlockID) bool {
	return id.Number < uint64(len(c)) && c[id.Number].Hash == id.Hash
}

// fakeL1 answers with the blocks of whichever chain is chosen for a request.
type fakeL1 struct {
	mu sync.Mutex
	// choose picks the backend for the request; an error fails it.
	choose func(ctx context.Context, numbers []uint64) (chain, error)
	// pruned is the number below which L1 answers with an error.
	pruned uint64
	calls  [][]uint64
}

func (f *fakeL1) Fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
	f.mu.Lock()
	f.calls = append(f.calls, append([]uint64(nil), numbers...))
	choose := f.choose
	f.mu.Unlock()
	backend, err := choose(ctx, numbers)
	if err != nil {
		return nil, err
	}
	refs := make([]eth.L1BlockRef, len(numbers))
	for i, number := range numbers {
		switch {
		case number < f.pruned:
			err = errPruned
		case number < uint64(len(backend)):
			refs[i] = backend[number]
		}
	}
	return refs, err
}

// serve makes all further requests see one chain.
func (f *fakeL1) serve(c chain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choose = func(context.Context, []uint64) (chain, error) { return c, nil }
}

// rotate makes further requests see the chains in turn, as behind a load balancer.
func (f *fakeL1) rotate(backends ...chain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := 0
	f.choose = func(context.Context, []uint64) (chain, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		next++
		return backends[(next-1)%len(backends)], nil
	}
}

var (
	errDown   = errors.New("L1 is down")
	errPruned = errors.New("pruned history unavailable")
)

func (f *fakeL1) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choose = func(context.Context, []uint64) (chain, error) { return nil, errDown }
}

// taken returns the requests since it was last called.
func (f *fakeL1) taken() [][]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type fakeMetrics struct {
	mu           sync.Mutex
	hits, misses int
	depths       []uint64
}

func (m *fakeMetrics) RecordL1ViewHits(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hits += n
}

func (m *fakeMetrics) RecordL1ViewMisses(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.misses += n
}

func (m *fakeMetrics) RecordL1ReorgDepth(depth uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.depths = append(m.depths, depth)
}

// logBook counts messages.
type logBook struct {
	mu       sync.Mutex
	messages map[string]int
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }

func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages[r.Message]++
	return nil
}

// rig is a view with everything around it.
type rig struct {
	*View
	l1      *fakeL1
	clock   *fakeClock
	metrics *fakeMetrics
	logs    *logBook
}

func newRig(t require.TestingT, cfg Config, l1 chain) *rig {
	r := &rig{
		l1:      &fakeL1{},
		clock:   &fakeClock{now: time.Unix(1000, 0)},
		metrics: &fakeMetrics{},
		logs:    &logBook{messages: make(map[string]int)},
	}
	r.l1.serve(l1)
	view, err := New(cfg, r.l1, log.NewLogger(r.logs), r.metrics, r.clock)
	require.NoError(t, err)
	r.View = view
	return r
}

// follow feeds the heads from one number to another, one by one, and forgets what was asked meanwhile.
func (r *rig) follow(c chain, from, to uint64) {
	for number := from; number <= to; number++ {
		r.OnHead(context.Background(), c[number])
	}
	r.l1.taken()
}

func (r *rig) logged(message string) int {
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	return r.logs.messages[message]
}
