package metrics

import (
	"context"
	"slices"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"

	opservicemetrics "github.com/ethereum-optimism/optimism/op-service/metrics"
)

// Values of labels that stand for everything that others made up.
const (
	// unknownMethod is the label of methods that nobody serves.
	unknownMethod = "unknown"
	// otherCode takes the place of error codes that no specification names.
	otherCode = 0
)

// RPC are the metrics of the RPC server that upstream does not have.
type RPC struct {
	refused *prometheus.CounterVec
}

func newRPC(factory opservicemetrics.Factory) *RPC {
	return &RPC{refused: factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "rpc_server_refused_total",
		Help: "Requests to the RPC server that met a limit, by limit"}, []string{"reason"})}
}

// RecordRefused counts a request that met a limit of the RPC server.
func (r *RPC) RecordRefused(reason string) { r.refused.WithLabelValues(reason).Inc() }

// StartRefused makes the counters of refused requests visible before the first one.
func (r *RPC) StartRefused(reasons ...string) {
	for _, reason := range reasons {
		r.refused.WithLabelValues(reason)
	}
}

// NewRecorder returns a recorder for a connection that this node makes. Names of requests that come from the other side, and
// error codes, are not taken as they are: the other side must not decide how many series there are.
func (m *Metrics) NewRecorder(name string) rpc.Recorder {
	pushed := func(method string) bool { return method == "eth_subscription" }
	return boundedRecorder{m.Metrics.NewRecorder(name), pushed}
}

// NewServerRecorder returns a recorder for a server that has the methods of served.
func (m *Metrics) NewServerRecorder(name string, served func(method string) bool) rpc.Recorder {
	return boundedRecorder{m.Metrics.NewRecorder(name), served}
}

// boundedRecorder hands on what it records under names and codes of which there are few. Only names of outgoing messages are
// this node's own.
type boundedRecorder struct {
	next  rpc.Recorder
	known func(method string) bool
}

// RecordIncoming implements rpc.Recorder.
func (r boundedRecorder) RecordIncoming(ctx context.Context, msg rpc.RecordedMsg) rpc.RecordDone {
	method := msg.MsgMethod()
	if !r.known(method) {
		method = unknownMethod
	}
	return bounded(r.next.RecordIncoming(ctx, boundedMsg{msg, method}), method)
}

// RecordOutgoing implements rpc.Recorder.
func (r boundedRecorder) RecordOutgoing(ctx context.Context, msg rpc.RecordedMsg) rpc.RecordDone {
	return bounded(r.next.RecordOutgoing(ctx, msg), msg.MsgMethod())
}

func bounded(done rpc.RecordDone, method string) rpc.RecordDone {
	if done == nil {
		return nil
	}
	return func(ctx context.Context, in, out rpc.RecordedMsg) {
		if out != nil { // a nil answer in the interface would not be nil
			out = boundedMsg{out, method}
		}
		done(ctx, boundedMsg{in, method}, out)
	}
}

// boundedMsg is a message under a name of which there are few.
type boundedMsg struct {
	rpc.RecordedMsg
	method string
}

// MsgMethod implements rpc.RecordedMsg.
func (m boundedMsg) MsgMethod() string { return m.method }

// MsgError implements rpc.RecordedMsg.
func (m boundedMsg) MsgError() *rpc.JsonError {
	err := m.RecordedMsg.MsgError()
	if err == nil || slices.Contains(knownCodes, err.Code) {
		return err
	}
	return &rpc.JsonError{Code: otherCode}
}

// knownCodes are the error codes of JSON-RPC, of Ethereum's JSON-RPC and of the engine API.
var knownCodes = []int{
	-32700, -32603, -32602, -32601, -32600,
	-32000, -32001, -32002, -32003, -32004, -32005, -32006,
	-38001, -38002, -38003, -38004, -38005, -38006, -38007,
	3, 4444,
}
