package feed

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// counts are metrics that can be asked.
type counts struct {
	mu      sync.Mutex
	waiters int
	ended   map[Outcome]int
}

func (c *counts) RecordWaiters(count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters = count
}

func (c *counts) RecordWait(outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[Outcome(outcome)]++
}

func (c *counts) now() (waiters int, ended map[Outcome]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended, c.ended = c.ended, map[Outcome]int{}
	return c.waiters, ended
}

func ref(n byte) eth.L2BlockRef { return eth.L2BlockRef{Hash: common.Hash{n}, Number: uint64(n)} }

func status(safe, currentL1 byte) *eth.SyncStatus {
	return &eth.SyncStatus{
		LocalSafeL2: ref(safe), SafeL2: ref(safe), FinalizedL2: ref(1), CurrentL1: eth.L1BlockRef{Hash: common.Hash{currentL1}},
	}
}

// in runs a test on simulated time, with a feed in which three may wait.
func in(t *testing.T, run func(t *testing.T, f *Feed, m *counts)) {
	synctest.Test(t, func(t *testing.T) {
		m := &counts{ended: map[Outcome]int{}}
		run(t, New("me", 3, clock.SystemClock, m), m)
	})
}

// answered is what a wait came to, and when.
type answered struct {
	*Answer
	after time.Duration
	err   error
}

// wait waits in the background.
func wait(ctx context.Context, f *Feed, known string, length time.Duration) <-chan answered {
	done, start := make(chan answered, 1), time.Now()
	go func() {
		answer, err := f.Wait(ctx, known, length)
		done <- answered{answer, time.Since(start), err}
	}()
	return done
}

// Spec W1.
func TestWait(t *testing.T) {
	in(t, func(t *testing.T, f *Feed, m *counts) {
		f.Publish(status(5, 10))
		first := <-wait(t.Context(), f, "", time.Hour)
		require.NoError(t, first.err)
		require.Zero(t, first.after, "another version is answered at once")
		require.Equal(t, status(5, 10), first.Status)

		now := <-wait(t.Context(), f, first.Version, 0)
		require.Equal(t, first.Answer, now.Answer, "and a wait of nothing")

		pending := wait(t.Context(), f, first.Version, 4*time.Second)
		time.Sleep(time.Second)
		unsafe := status(5, 10)
		unsafe.UnsafeL2 = ref(9)
		f.Publish(unsafe)
		f.SetPath([]string{"me", "it"})
		expired := <-pending
		require.Equal(t, 4*time.Second, expired.after, "neither an unsafe block nor a path is a change")
		require.Equal(t, first.Version, expired.Version)
		require.Equal(t, unsafe, expired.Status, "but the answer is the newest")
		require.Equal(t, []string{"me", "it"}, expired.Path)

		for i, next := range []*eth.SyncStatus{status(6, 10), status(6, 11), status(5, 10)} {
			pending := wait(t.Context(), f, f.answer.Version, 4*time.Second)
			time.Sleep(time.Second)
			f.Publish(next)
			got := <-pending
			require.Equal(t, time.Second, got.after, i)
			require.Same(t, next, got.Status)
		}
		require.Equal(t, first.Version, f.answer.Version, "the version is a hash of the content")

		require.Equal(t, MaxWait, (<-wait(t.Context(), f, first.Version, time.Hour)).after)
		waiters, ended := m.now()
		require.Zero(t, waiters)
		require.Equal(t, map[Outcome]int{Changed: 4, Expired: 3}, ended)
	})
}

// Changes that come while an answer is on its way are one change.
func TestChangesCoalesce(t *testing.T) {
	in(t, func(t *testing.T, f *Feed, _ *counts) {
		version := f.answer.Version
		for safe := byte(1); safe < 100; safe++ {
			f.Publish(status(safe, 10))
		}
		require.Equal(t, ref(99), (<-wait(t.Context(), f, version, time.Minute)).Status.SafeL2)
	})
}

// Spec W4.
func TestWaitersAreBounded(t *testing.T) {
	in(t, func(t *testing.T, f *Feed, m *counts) {
		version := f.answer.Version
		ctx, cancel := context.WithCancel(t.Context())
		gone := wait(ctx, f, version, time.Minute)
		list := []<-chan answered{wait(t.Context(), f, version, MaxWait), wait(t.Context(), f, version, MaxWait)}
		synctest.Wait()
		over := <-wait(t.Context(), f, version, time.Minute)
		require.Equal(t, &TooManyError{Limit: 3}, over.err)
		require.Zero(t, over.after)
		require.NoError(t, (<-wait(t.Context(), f, "other", time.Minute)).err, "who does not wait takes no place")
		waiters, _ := m.now()
		require.Equal(t, 3, waiters)

		cancel()
		require.ErrorIs(t, (<-gone).err, context.Canceled)
		list = append(list, wait(t.Context(), f, version, MaxWait))
		synctest.Wait()
		f.Publish(status(1, 1))
		for _, l := range list {
			require.NoError(t, (<-l).err)
		}
		waiters, ended := m.now()
		require.Zero(t, waiters)
		require.Equal(t, map[Outcome]int{Gone: 1, Changed: 3}, ended)
	})
}

func TestStopAnswersWhoWaits(t *testing.T) {
	in(t, func(t *testing.T, f *Feed, m *counts) {
		f.Publish(status(5, 10))
		pending := wait(t.Context(), f, f.answer.Version, time.Minute)
		synctest.Wait()
		f.Stop()
		f.Stop()
		got := <-pending
		require.NoError(t, got.err)
		require.Equal(t, status(5, 10), got.Status)
		require.Zero(t, (<-wait(t.Context(), f, got.Version, time.Minute)).after)
		_, ended := m.now()
		require.Equal(t, map[Outcome]int{Stopped: 2}, ended)
	})
}

func TestAnswerIsJSON(t *testing.T) {
	f := New("me", 1, clock.SystemClock, &counts{ended: map[Outcome]int{}})
	f.Publish(status(5, 10))
	data, err := json.Marshal(f.answer)
	require.NoError(t, err)
	var got map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &got))
	require.Len(t, got, 4)
	require.JSONEq(t, `["me"]`, string(got["path"]))
	want, err := json.Marshal(status(5, 10))
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got["status"]), "as optimism_syncStatus has it")
	require.Len(t, strings.Trim(string(got["version"]), `"`), 32)
}

// BenchmarkPublishUnchanged is what each event of a deriving node costs for the sake of those who wait.
func BenchmarkPublishUnchanged(b *testing.B) {
	f := New("me", 1, clock.SystemClock, &counts{ended: map[Outcome]int{}})
	s := status(5, 10)
	for b.Loop() {
		f.Publish(s)
	}
}
