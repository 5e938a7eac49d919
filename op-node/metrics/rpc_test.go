package metrics

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

// message is a message of RPC as recorders see it.
type message struct {
	method string
	notice bool
	code   int // of an error; 0: none
}

func (m message) MsgIsNotification() bool    { return m.notice }
func (m message) MsgIsResponse() bool        { return false }
func (m message) MsgID() json.RawMessage     { return nil }
func (m message) MsgMethod() string          { return m.method }
func (m message) MsgParams() json.RawMessage { return nil }
func (m message) MsgResult() json.RawMessage { return nil }
func (m message) MsgError() *rpc.JsonError {
	if m.code == 0 {
		return nil
	}
	return &rpc.JsonError{Code: m.code}
}

// TestOthersDoNotNameSeries: neither a client of the RPC server nor an endpoint decides which series there are.
func TestOthersDoNotNameSeries(t *testing.T) {
	m := New()
	server := m.NewServerRecorder("main", func(method string) bool { return method == "optimism_version" })
	client := m.NewRecorder("follow-source-api")
	for i := range 100 {
		evil := strings.Repeat("x", i)
		ctx, answer := t.Context(), message{code: 1000 + i}
		done := server.RecordIncoming(ctx, message{method: evil})
		done(ctx, message{method: evil}, answer)
		server.RecordIncoming(ctx, message{method: evil, notice: true})
		done = client.RecordIncoming(ctx, message{method: evil})
		done(ctx, message{method: evil}, answer)
		client.RecordIncoming(ctx, message{method: evil, notice: true})
		done = client.RecordOutgoing(ctx, message{method: "optimism_syncStatus"})
		done(ctx, message{method: "optimism_syncStatus"}, answer)
		done(ctx, message{method: "optimism_syncStatus"}, nil)
	}
	done := server.RecordIncoming(t.Context(), message{method: "optimism_version"})
	done(t.Context(), message{method: "optimism_version"}, message{code: -32602})
	client.RecordIncoming(t.Context(), message{method: "eth_subscription", notice: true})

	got := samples(t, m)
	for name := range got {
		require.NotContains(t, name, "xx")
	}
	for series, want := range map[string]float64{
		"rpc_server_responses_total error=rpc_0 method=unknown rpc=main":                          100,
		"rpc_server_responses_total error=rpc_-32602 method=optimism_version rpc=main":            1,
		"rpc_server_requests_total method=unknown rpc=main":                                       100,
		"rpc_server_requests_total method=unknown rpc=follow-source-api":                          100,
		"rpc_client_notifications_received_total method=unknown rpc=follow-source-api":            100,
		"rpc_client_notifications_received_total method=eth_subscription rpc=follow-source-api":   1,
		"rpc_client_responses_total error=rpc_0 method=optimism_syncStatus rpc=follow-source-api": 100,
		"rpc_client_requests_total method=optimism_syncStatus rpc=follow-source-api":              100,
		"rpc_client_request_duration_seconds method=optimism_syncStatus rpc=follow-source-api":    200,
		"rpc_server_request_duration_seconds method=unknown rpc=main":                             100,
	} {
		require.Equal(t, want, got[series], series)
	}
}

func TestRefusedRequestsAreCounted(t *testing.T) {
	m := New()
	m.StartRefused("body", "busy")
	m.RecordRefused("busy")
	require.EqualValues(t, 0, samples(t, m)["rpc_server_refused_total reason=body"])
	require.EqualValues(t, 1, samples(t, m)["rpc_server_refused_total reason=busy"])
}
