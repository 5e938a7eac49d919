package node

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

	"github.com/ethereum-optimism/optimism/op-service/clock"

	"github.com/lightcl/op-node/op-node/metrics"
)

// failing is an endpoint that fails each time in another way. It answers WebSocket handshakes first.
func failing(t *testing.T) (url string) {
	var turn atomic.Uint64
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := turn.Add(1)
		if websocket.IsWebSocketUpgrade(r) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			if n%2 == 0 { // else it hangs up at once
				_, _, _ = conn.ReadMessage()
				_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":`))
			}
			return
		}
		switch n % 4 {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			http.Error(w, "down", http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"jsonrpc":`)
		case 3:
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// held counts the descriptors and the goroutines of the process.
func held(t *testing.T) (descriptors, goroutines int) {
	list, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(list), runtime.NumGoroutine()
}

// A thousand connections to an L1 or an execution layer that fails leave nothing behind.
func TestConnectAndFail(t *testing.T) {
	const cycles = 1000
	for name, connect := range map[string]func(ctx context.Context, n *Node, url string) error{
		"L1": func(ctx context.Context, n *Node, url string) error {
			n.cfg.L1.URL = url
			_, err := n.connectL1(ctx)
			return err
		},
		"execution layer": func(ctx context.Context, n *Node, url string) error {
			n.cfg.L2.URL = url
			_, err := n.connectEngine(ctx)
			return err
		},
	} {
		for _, scheme := range []string{"http", "ws"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				w := newWorld(t)
				url := strings.Replace(failing(t), "http", scheme, 1)
				m := metrics.New()
				cycle := func() {
					n := &Node{cfg: w.cfg, log: silent(), metrics: m, clock: clock.SystemClock}
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					defer cancel()
					require.Error(t, connect(ctx, n, url))
					require.NoError(t, n.cleanups.run(t.Context()))
				}
				cycle()
				descriptors, goroutines := held(t)
				for range cycles {
					cycle()
				}
				require.Eventually(t, func() bool {
					http.DefaultTransport.(*http.Transport).CloseIdleConnections()
					d, g := held(t)
					return d <= descriptors+5 && g <= goroutines+5
				}, 10*time.Second, 50*time.Millisecond, "descriptors or goroutines are left")
			})
		}
	}
}
