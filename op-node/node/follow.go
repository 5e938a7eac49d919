package node

import (
	"context"
	"errors"
)

// newFollow builds the driver of follow mode. No beacon API, pipeline, finalizer or attributes handler exists in this mode.
func (n *Node) newFollow(_ context.Context) (*rollupStack, error) {
	return nil, errors.New("follow mode is not available yet")
}
