package sources

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// held counts the descriptors and the goroutines of the process.
func held(t *testing.T) (descriptors, goroutines int) {
	list, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(list), runtime.NumGoroutine()
}

// A thousand calls of a source that fails each time in another way leave nothing behind, with one client for all of them
// and with one for each.
func TestConnectAndFail(t *testing.T) {
	const cycles = 1000
	upgrader := websocket.Upgrader{}
	fail := func(n uint64, w http.ResponseWriter, r *http.Request) {
		var conn *websocket.Conn
		if websocket.IsWebSocketUpgrade(r) && n%6 > 2 {
			var err error
			if conn, err = upgrader.Upgrade(w, r, nil); err != nil {
				return
			}
			defer conn.Close()
			_, _, _ = conn.ReadMessage()
		}
		switch {
		case n%6 == 0:
			panic(http.ErrAbortHandler)
		case n%6 == 1:
			http.Error(w, "down", http.StatusServiceUnavailable)
		case n%6 == 2:
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"jsonrpc":`)
		case conn == nil:
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}`)
		case n%6 == 3: // hangs up
		case n%6 == 4:
			_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":`))
		default: // until the caller has had enough
			_, _, _ = conn.ReadMessage()
		}
	}
	for _, scheme := range []string{"http", "https", "ws", "wss"} {
		for _, each := range []bool{false, true} {
			t.Run(scheme+map[bool]string{true: ", a client each"}[each], func(t *testing.T) {
				var turn atomic.Uint64
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(turn.Add(1), w, r) }))
				server.Start() // without TLS: with it, no handshake ever succeeds
				t.Cleanup(server.Close)
				url := strings.Replace(server.URL, "http", scheme, 1)
				client := newClient(t, FollowConfig{URL: url, Timeout: 5 * time.Second})
				cycle := func() {
					c := client
					if each {
						c = newClient(t, FollowConfig{URL: url})
						defer c.Close()
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
					defer cancel()
					_, err := c.Status(ctx)
					require.Error(t, err)
				}
				cycle()
				descriptors, goroutines := held(t)
				for range cycles {
					cycle()
				}
				client.Close()
				require.Eventually(t, func() bool {
					d, g := held(t)
					return d <= descriptors+5 && g <= goroutines+5
				}, 10*time.Second, 20*time.Millisecond, "descriptors or goroutines are left")
			})
		}
	}
}
