package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

type fakeReadiness struct{ labels, unsafe string }

func (f fakeReadiness) Ready() (bool, string)       { return f.labels == "", f.labels }
func (f fakeReadiness) UnsafeReady() (bool, string) { return f.unsafe == "", f.unsafe }

// spec X1
func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		node   fakeReadiness
		query  string
		status int
		body   string
	}{
		"ready":                           {fakeReadiness{}, "", http.StatusOK, "ready\n"},
		"labels stand still":              {fakeReadiness{labels: "source_behind: it stands still"}, "", http.StatusServiceUnavailable, "source_behind: it stands still\n"},
		"labels stand still, which is ok": {fakeReadiness{labels: "source_behind"}, "?labels=false", http.StatusOK, "ready\n"},
		"labels are asked for":            {fakeReadiness{labels: "source_behind"}, "?labels=true", http.StatusServiceUnavailable, "source_behind\n"},
		"the engine is away":              {fakeReadiness{labels: "x", unsafe: "execution engine: loading"}, "?labels=false", http.StatusServiceUnavailable, "execution engine: loading\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			ServeReady(c.node)(w, httptest.NewRequest(http.MethodGet, "/readyz"+c.query, nil))
			require.Equal(t, c.status, w.Code)
			require.Equal(t, c.body, w.Body.String())
		})
	}
}

// spec X1
func TestDerivingIsReady(t *testing.T) {
	status := func(unsafe byte, current, head uint64) *eth.SyncStatus {
		return &eth.SyncStatus{UnsafeL2: eth.L2BlockRef{Hash: common.Hash{unsafe}},
			CurrentL1: eth.L1BlockRef{Time: current}, HeadL1: eth.L1BlockRef{Time: head}}
	}
	for name, c := range map[string]struct {
		status        *eth.SyncStatus
		err           error
		ready, unsafe bool
	}{
		"level":             {status(1, 1000, 1000), nil, true, true},
		"at the limit":      {status(1, 880, 1000), nil, true, true},
		"too far behind":    {status(1, 879, 1000), nil, false, true},
		"no engine yet":     {status(0, 1000, 1000), nil, false, false},
		"nothing derived":   {status(1, 0, 1000), nil, false, true},
		"ahead of the head": {status(1, 1001, 1000), nil, true, true},
		"no status":         {nil, errors.New("closed"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := Deriving{MaxLag: 2 * time.Minute, Status: func(context.Context) (*eth.SyncStatus, error) { return c.status, c.err }}
			ready, why := d.Ready()
			require.Equal(t, c.ready, ready)
			require.Equal(t, ready, why == "")
			ready, why = d.UnsafeReady()
			require.Equal(t, c.unsafe, ready)
			require.Equal(t, ready, why == "")
		})
	}
}
