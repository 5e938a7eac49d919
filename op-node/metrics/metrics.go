// Package metrics holds the Prometheus metrics of the node: upstream's op-node metrics, under the same names, and on the same
// registry those that follow mode and the engine queue add.
package metrics

import (
	opmetrics "github.com/ethereum-optimism/optimism/op-node/metrics"
	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
)

// processName is part of every metric's name; dashboards and alerts know it.
const processName = "default"

// namespace starts every metric's name.
const namespace = opmetrics.Namespace + "_" + processName

// Metrics are the metrics of one node, with a registry of their own, so that several nodes fit in one process. All methods are safe
// for concurrent use.
type Metrics struct {
	*opmetrics.Metrics
	*Follow
	*RPC

	added opservicemetrics.Factory
}

// New registers the metrics of a node on a new registry.
func New() *Metrics {
	base := opmetrics.NewMetrics(processName, nil)
	added := opservicemetrics.With(base.Registry())
	return &Metrics{Metrics: base, Follow: newFollow(added), RPC: newRPC(added), added: added}
}

// Document lists all metrics for the generated documentation.
func (m *Metrics) Document() []opservicemetrics.DocumentedMetric {
	return append(m.Metrics.Document(), m.added.Document()...)
}
