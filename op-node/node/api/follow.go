package api

import (
	"context"

	"github.com/lightcl/op-node/op-node/rollup/driver"
)

// followState is what the follow namespace needs of the driver of follow mode.
type followState interface {
	State() driver.State
}

// Follow is the follow namespace, which only follow mode serves.
type Follow struct{ driver followState }

// NewFollow returns the follow namespace of a driver.
func NewFollow(d followState) *Follow { return &Follow{driver: d} }

// Status serves follow_status: the sources, the choice among them, and what was applied.
func (f *Follow) Status(context.Context) (driver.State, error) { return f.driver.State(), nil }
