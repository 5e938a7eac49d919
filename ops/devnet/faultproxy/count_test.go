package faultproxy

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCount(t *testing.T) {
	p := node(t)
	asked, all := CountCalls("optimism_syncStatus"), CountCalls("")
	p.Set(all.Over(asked.Over(Pass())))
	_, number, _ := safe(t, p)
	require.EqualValues(t, 1, number, "the call is passed on whole")
	_, answer, err := post(t.Context(), p, `{"method":"optimism_version"}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"method":"optimism_version"}`, answer)
	p.Set(all.Over(asked.Over(Fail(http.StatusServiceUnavailable))))
	_, _, err = post(t.Context(), p, ask)
	require.NoError(t, err)
	require.EqualValues(t, 2, asked.Total())
	require.EqualValues(t, 3, all.Total())
	require.Equal(t, 1, all.Most(), "one after the other")
}

func TestCountOfCallsAtTheSameTime(t *testing.T) {
	p := node(t)
	asked := CountCalls("optimism_syncStatus")
	p.Set(asked.Over(Stall()))
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() { _, _, _ = post(ctx, p, ask) })
	}
	require.Eventually(t, func() bool { return asked.Most() == 3 }, 10*time.Second, time.Millisecond)
	cancel()
	calls.Wait()
	require.EqualValues(t, 3, asked.Total())
}
