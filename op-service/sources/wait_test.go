package sources

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatusAfter(t *testing.T) {
	var params []any
	answer := `"result":{"version":"v2","status":` + toJSON(t, fullStatus()) + `,"id":"a","path":["a","b"]}`
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var call struct {
			Method string
			Params []any
		}
		_ = json.Unmarshal(body, &call)
		params = append(call.Params, call.Method)
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,`+answer+`}`)
	})
	got, err := c.StatusAfter(context.Background(), "v1", 4*time.Second)
	require.NoError(t, err)
	require.Equal(t, Update{Version: "v2", Status: needed(fullStatus()), Lineage: Lineage{ID: "a", Path: []string{"a", "b"}}}, got)
	require.Equal(t, []any{"v1", 4000., "follow_statusAfter"}, params)

	for name, test := range map[string]struct {
		answer string
		kind   error
	}{
		"null":                     {`"result":null`, ErrMalformed},
		"no version":               {`"result":{"status":{}}`, ErrMalformed},
		"a version of control":     {`"result":{"version":"\n","status":{}}`, ErrMalformed},
		"no status":                {`"result":{"version":"v"}`, ErrMalformed},
		"a status of null":         {`"result":{"version":"v","status":null}`, ErrMalformed},
		"a status of another kind": {`"result":{"version":"v","status":[]}`, ErrMalformed},
		"not served":               {`"error":{"code":-32601,"message":"no"}`, ErrMethodMissing},
		"too many wait":            {`"error":{"code":-32005,"message":"too many"}`, ErrFetch},
	} {
		answer = test.answer
		got, err := c.StatusAfter(context.Background(), "", 0)
		require.ErrorIs(t, err, test.kind, name)
		require.Zero(t, got)
	}

	answer = `"result":{"version":"v","status":` + toJSON(t, fullStatus()) + `,"path":["\u202e"]}`
	got, err = c.StatusAfter(context.Background(), "", 0)
	require.NoError(t, err, "the status is good, whatever the path is")
	require.ErrorIs(t, got.LineageErr, ErrMalformed)
	require.Zero(t, got.Lineage)
}

// The time waited is none of the timeout.
func TestStatusAfterHasTime(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	t.Cleanup(func() { close(release) })
	c.timeout = 50 * time.Millisecond
	start := time.Now()
	_, err := c.StatusAfter(t.Context(), "v", 200*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.GreaterOrEqual(t, time.Since(start), 250*time.Millisecond)
}
