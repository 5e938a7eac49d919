// Package feed lets clients wait for a change of the status that a node serves (spec W1). It costs the node nothing but the
// answers: who changes the status tells the feed, and nobody polls.
package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// MaxWait is the longest wait: the HTTP server gives an answer up after thirty seconds.
const MaxWait = 20 * time.Second

// Answer is what a client that waited gets.
type Answer struct {
	// Version is a hash of the labels and currentL1 of Status: two nodes that say the same have the same.
	Version string          `json:"version"`
	Status  *eth.SyncStatus `json:"status"`
	// ID is the random id of the node, and Path the ids of all nodes that its labels come through, its own first.
	ID   string   `json:"id"`
	Path []string `json:"path"`

	encoded func() ([]byte, error)
}

// MarshalJSON is the same work for all who wait for one answer, and done once.
func (a *Answer) MarshalJSON() ([]byte, error) { return a.encoded() }

// TooManyError answers a client that would be one too many (spec W4).
type TooManyError struct{ Limit int }

// Error implements error.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many clients wait (limit %d), poll optimism_syncStatus instead", e.Limit)
}

// ErrorCode implements rpc.Error: it is Ethereum's code for a limit.
func (e *TooManyError) ErrorCode() int { return -32005 }

// Outcome is how a wait ended. It is the value of a metric's label.
type Outcome string

// The outcomes.
const (
	// Changed is a wait that a change ended, or that was none: the client did not know the newest version.
	Changed Outcome = "changed"
	// Expired is a wait in which nothing changed.
	Expired Outcome = "expired"
	// Gone is a wait whose client went away.
	Gone Outcome = "gone"
	// Refused is one too many.
	Refused Outcome = "refused"
	// Stopped is a wait that the end of the node ended.
	Stopped Outcome = "stopped"
)

// Outcomes are all outcomes.
func Outcomes() []Outcome { return []Outcome{Changed, Expired, Gone, Refused, Stopped} }

// Metrics is what a feed counts.
type Metrics interface {
	// RecordWaiters shows how many clients wait.
	RecordWaiters(count int)
	// RecordWait counts waits by outcome.
	RecordWait(outcome string)
}

// Feed has the newest status, and those who wait for another one. All methods are safe for concurrent use.
type Feed struct {
	id      string
	limit   int
	clock   clock.Clock
	metrics Metrics

	mu      sync.Mutex
	answer  *Answer
	changed chan struct{} // closed when the version changes
	waiters int
	stopped chan struct{}
	stop    sync.Once
}

// New makes a feed for a node with an id, in which up to limit clients may wait. The status is empty until one is published.
func New(id string, limit int, clk clock.Clock, m Metrics) *Feed {
	f := &Feed{id: id, limit: limit, clock: clk, metrics: m, changed: make(chan struct{}), stopped: make(chan struct{})}
	status := new(eth.SyncStatus)
	f.answer = f.compose(version(status), status, []string{id})
	return f
}

// Publish takes the status of the node, which nobody may change any more. It is cheap where the status is the last one.
func (f *Feed) Publish(status *eth.SyncStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.answer
	if status == before.Status {
		return
	}
	if sameLabels(status, before.Status) {
		f.answer = f.compose(before.Version, status, before.Path)
		return
	}
	f.answer = f.compose(version(status), status, before.Path)
	close(f.changed)
	f.changed = make(chan struct{})
}

// SetPath takes the ids of the nodes that the status comes through. It ends no wait.
func (f *Feed) SetPath(path []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(path, f.answer.Path) {
		f.answer = f.compose(f.answer.Version, f.answer.Status, path)
	}
}

// Wait returns the newest status once its version is another than the given one, or after the wait, which is at most MaxWait. It
// fails with a TooManyError, or with the context.
func (f *Feed) Wait(ctx context.Context, known string, wait time.Duration) (*Answer, error) {
	answer, changed, err := f.begin(known, wait > 0)
	if changed == nil {
		return answer, err
	}
	timer := f.clock.NewTimer(min(wait, MaxWait))
	defer timer.Stop()
	outcome := Changed
	select {
	case <-changed:
	case <-timer.Ch():
		outcome = Expired
	case <-f.stopped:
		outcome = Stopped
	case <-ctx.Done():
		outcome, err = Gone, ctx.Err()
	}
	return f.end(outcome), err
}

// begin returns what there is to wait for, or nil and the answer if there is nothing.
func (f *Feed) begin(known string, wait bool) (*Answer, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case known != f.answer.Version:
		f.metrics.RecordWait(string(Changed))
		return f.answer, nil, nil
	case !wait:
		f.metrics.RecordWait(string(Expired))
		return f.answer, nil, nil
	case f.waiters >= f.limit:
		f.metrics.RecordWait(string(Refused))
		return nil, nil, &TooManyError{Limit: f.limit}
	}
	f.waiters++
	f.metrics.RecordWaiters(f.waiters)
	return nil, f.changed, nil
}

func (f *Feed) end(outcome Outcome) *Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters--
	f.metrics.RecordWaiters(f.waiters)
	f.metrics.RecordWait(string(outcome))
	return f.answer
}

// Stop answers all who wait, and lets nobody wait any more.
func (f *Feed) Stop() { f.stop.Do(func() { close(f.stopped) }) }

func (f *Feed) compose(version string, status *eth.SyncStatus, path []string) *Answer {
	a := &Answer{Version: version, Status: status, ID: f.id, Path: path}
	type plain Answer // which is encoded field by field
	a.encoded = sync.OnceValues(func() ([]byte, error) { return json.Marshal((*plain)(a)) })
	return a
}

func sameLabels(a, b *eth.SyncStatus) bool {
	return a.LocalSafeL2 == b.LocalSafeL2 && a.SafeL2 == b.SafeL2 && a.FinalizedL2 == b.FinalizedL2 && a.CurrentL1 == b.CurrentL1
}

// version is a hash of the labels and of currentL1.
func version(s *eth.SyncStatus) string {
	hash := sha256.New()
	for _, block := range []eth.BlockID{s.LocalSafeL2.ID(), s.SafeL2.ID(), s.FinalizedL2.ID(), s.CurrentL1.ID()} {
		hash.Write(block.Hash[:])
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
