package api

import (
	"context"
	"net/http"

	"github.com/lightcl/op-node/op-node/rollup/driver"
)

// followState is what the follow namespace needs of the driver of follow mode.
type followState interface {
	State() driver.State
	Ready() (ready bool, why string)
}

// Follow is the follow namespace, which only follow mode serves.
type Follow struct{ driver followState }

// NewFollow returns the follow namespace of a driver.
func NewFollow(d followState) *Follow { return &Follow{driver: d} }

// Status serves follow_status: the sources, the choice among them, and what was applied.
func (f *Follow) Status(context.Context) (driver.State, error) { return f.driver.State(), nil }

// ServeReady serves /readyz: 200 while the applied labels are fresh, else 503 with the reason.
func (f *Follow) ServeReady(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if ready, why := f.driver.Ready(); !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(why + "\n")) // the client's problem
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}
