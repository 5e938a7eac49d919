package metrics

import (
	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
)

// Follow are the metrics of follow mode and of the engine queue. They are registered in both modes, so that a scrape always has them.
type Follow struct{}

func newFollow(opservicemetrics.Factory) *Follow {
	return &Follow{}
}
