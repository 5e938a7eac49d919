// Package watch looks at rollup nodes at a steady pace and reports what they show.
package watch

import (
	"context"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Node is something with a sync status.
type Node interface {
	Name() string
	SyncStatus(ctx context.Context) (*eth.SyncStatus, error)
}

// Look is one look at a node: a status or an error.
type Look struct {
	Node   string
	At     time.Time // when the answer was there
	Status *eth.SyncStatus
	Err    error
}

// callTimeout bounds one look, so that a node that hangs is reported as such.
const callTimeout = 2 * time.Second

// Poll looks at every node each interval, at each on its own, and delivers in order per node until ctx ends; then
// the channel is closed. The reader must keep up: a node is not looked at while its last look waits for delivery.
func Poll(ctx context.Context, interval time.Duration, nodes ...Node) <-chan Look {
	looks := make(chan Look)
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() { poll(ctx, interval, node, looks) })
	}
	go func() {
		wg.Wait()
		close(looks)
	}()
	return looks
}

func poll(ctx context.Context, interval time.Duration, node Node, looks chan<- Look) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		status, err := node.SyncStatus(call)
		cancel()
		select {
		case looks <- Look{Node: node.Name(), At: time.Now(), Status: status, Err: err}:
		case <-ctx.Done():
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
