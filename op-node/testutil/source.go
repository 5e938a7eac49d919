package testutil

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

// Source is an external consensus node, behind a client that never fails on its own. What it says can be changed at any
// time, see [Say]. The fields are set before it is used; they are what it answers to other questions, and nil is a node
// that does not know the method. It is safe for concurrent use.
type Source struct {
	OnIdentity func() (sources.Identity, error)
	OnLineage  func() (sources.Lineage, error)
	OnHistory  func(l1 uint64, left sources.Hops) (sources.SafeHead, error)
	OnRequired func(time uint64) (sources.RequiredL1, bool, error)

	name string
	cfg  *rollup.Config

	mu                           sync.Mutex
	say                          Say
	after                        After
	polls, waits, inFlight, most int
}

// NewSource makes a source that is on the chain with a rollup configuration.
func NewSource(name string, cfg *rollup.Config, say Say) *Source {
	return &Source{name: name, cfg: cfg, say: say}
}

// Does changes what the source says from now on; nil is nothing, ever: a client gives up after its timeout.
func (s *Source) Does(say Say) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say = say
	return s
}

// Saying is what the source says at present.
func (s *Source) Saying() Say {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.say
}

// Count is how often the source was asked for its status.
func (s *Source) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls
}

// Most is how many requests for the status, waits included, were under way at once, at most.
func (s *Source) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// After is how a source answers clients that wait for another status than that of a version.
type After func(ctx context.Context, version string, wait time.Duration) (sources.Update, error)

// Awaits changes how the source answers clients that wait; nil is a source that has nobody wait.
func (s *Source) Awaits(after After) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = after
	return s
}

// Waits is how often a client has waited.
func (s *Source) Waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// Name implements the driver's Source, as do the methods below.
func (s *Source) Name() string { return s.name }

// Status says what the source was told to.
func (s *Source) Status(ctx context.Context) (follow.Status, error) {
	say := s.Saying()
	defer s.begin(&s.polls)()
	if say == nil {
		return stalled(ctx)
	}
	return say()
}

// StatusAfter answers as the source was told to.
func (s *Source) StatusAfter(ctx context.Context, version string, wait time.Duration) (sources.Update, error) {
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	if after == nil {
		return sources.Update{}, fmt.Errorf("%w: %w", sources.ErrFetch, sources.ErrMethodMissing)
	}
	defer s.begin(&s.waits)()
	return after(ctx, version, wait)
}

// begin counts a request, and returns what ends it.
func (s *Source) begin(counter *int) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter++
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inFlight--
	}
}

// stalled waits for an answer that does not come, until the client gives up.
func stalled(ctx context.Context) (follow.Status, error) {
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
	}
	return follow.Status{}, fmt.Errorf("%w: timeout", sources.ErrFetch)
}

// Identity is that of the rollup configuration.
func (s *Source) Identity(context.Context) (sources.Identity, error) {
	if s.OnIdentity != nil {
		return s.OnIdentity()
	}
	return sources.IdentityOf(s.cfg), nil
}

// Lineage is that of a node that derives.
func (s *Source) Lineage(context.Context) (sources.Lineage, error) {
	if s.OnLineage != nil {
		return s.OnLineage()
	}
	return sources.Lineage{}, fmt.Errorf("%w: %w", sources.ErrFetch, sources.ErrMethodMissing)
}

// ErrNoRecord is the answer of a node that keeps no record of what was safe when.
var ErrNoRecord = fmt.Errorf("%w: safe head database not enabled", sources.ErrFetch)

// SafeHeadAtL1 is the answer of a node that keeps no record.
func (s *Source) SafeHeadAtL1(_ context.Context, l1 uint64, left sources.Hops) (sources.SafeHead, error) {
	if s.OnHistory != nil {
		return s.OnHistory(l1, left)
	}
	return sources.SafeHead{}, ErrNoRecord
}

// RequiredL1 is the answer of a node that keeps no record.
func (s *Source) RequiredL1(_ context.Context, time uint64, _ eth.ChainID, _ sources.Hops) (sources.RequiredL1, bool, error) {
	if s.OnRequired != nil {
		return s.OnRequired(time)
	}
	return sources.RequiredL1{}, false, ErrNoRecord
}
