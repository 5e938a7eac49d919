package api

import (
	"context"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/feed"
)

// waitingRoom is where clients wait for a change of the status.
type waitingRoom interface {
	Wait(ctx context.Context, known string, wait time.Duration) (*feed.Answer, error)
}

// Waiting is the part of the follow namespace that both modes serve.
type Waiting struct{ room waitingRoom }

// NewWaiting returns that part, for a feed.
func NewWaiting(room waitingRoom) *Waiting { return &Waiting{room} }

// StatusAfter serves follow_statusAfter (spec W1): the status, once its labels or its current L1 are others than those of the version,
// or after so many milliseconds. Without a version, or with one of another node that says something else, it answers at once.
func (w *Waiting) StatusAfter(ctx context.Context, version *string, milliseconds *uint64) (*feed.Answer, error) {
	var known string
	if version != nil {
		known = *version
	}
	var wait time.Duration
	if milliseconds != nil {
		wait = time.Duration(min(*milliseconds, uint64(feed.MaxWait.Milliseconds()))) * time.Millisecond
	}
	return w.room.Wait(ctx, known, wait)
}
