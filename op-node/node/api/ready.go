package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// readiness tells whether a node is of use to its clients, and if not, why.
type readiness interface {
	// Ready tells whether the labels are fresh.
	Ready() (ready bool, why string)
	// UnsafeReady tells whether the unsafe chain is followed, whatever the labels do.
	UnsafeReady() (ready bool, why string)
}

// ServeReady serves /readyz: 200 while the labels are fresh, else 503 with the reason. /readyz?labels=false looks at the unsafe
// chain alone, for those who would rather go on being served while all labels stand still.
func ServeReady(node readiness) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		ask := node.Ready
		if r.URL.Query().Get("labels") == "false" {
			ask = node.UnsafeReady
		}
		if ready, why := ask(); !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(why + "\n")) // the client's problem
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	}
}

// statusTimeout bounds the wait for the status, which is in memory.
const statusTimeout = 2 * time.Second

// Deriving is the readiness of a node that derives: its engine has answered, and its current L1 block is not too far behind
// the L1 head.
type Deriving struct {
	// Status returns the sync status.
	Status func(ctx context.Context) (*eth.SyncStatus, error)
	// MaxLag is how far the current L1 block may be behind the L1 head, in time of L1.
	MaxLag time.Duration
}

// Ready implements readiness.
func (d Deriving) Ready() (ready bool, why string) {
	status, why := d.status()
	if status == nil {
		return false, why
	}
	lag := time.Duration(status.HeadL1.Time-min(status.HeadL1.Time, status.CurrentL1.Time)) * time.Second
	if lag > d.MaxLag {
		return false, fmt.Sprintf("derivation is %s behind the L1 head: at L1 block %d of %d", lag, status.CurrentL1.Number, status.HeadL1.Number)
	}
	return true, ""
}

// UnsafeReady implements readiness.
func (d Deriving) UnsafeReady() (ready bool, why string) {
	status, why := d.status()
	return status != nil, why
}

// status is the status once the engine has answered.
func (d Deriving) status() (status *eth.SyncStatus, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	status, err := d.Status(ctx)
	switch {
	case err != nil:
		return nil, fmt.Sprintf("no sync status: %v", err)
	case status.UnsafeL2.Hash == common.Hash{}:
		return nil, "the execution engine has not answered yet"
	}
	return status, ""
}
