package sources

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

type honestSource struct{}

// SyncStatus is optimism_syncStatus.
func (honestSource) SyncStatus(context.Context) (*eth.SyncStatus, error) {
	status := fullStatus()
	return &status, nil
}

// RollupConfig is optimism_rollupConfig.
func (honestSource) RollupConfig(context.Context) (*rollup.Config, error) { return rollupConfig(), nil }

// honest serves a source over HTTP and WebSocket.
func honest(t *testing.T) http.Handler {
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName("optimism", honestSource{}))
	t.Cleanup(server.Stop)
	overWebsocket := server.WebsocketHandler([]string{"*"})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) {
			overWebsocket.ServeHTTP(w, r)
		} else {
			server.ServeHTTP(w, r)
		}
	})
}

// overWebsocket runs a source over WebSocket, and returns a client for it and what cuts its connections.
func overWebsocket(t *testing.T, handler http.Handler, timeout time.Duration) (*FollowClient, func()) {
	var mu sync.Mutex
	var conns []net.Conn
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	client := newClient(t, FollowConfig{
		URL:              withSecrets("ws" + strings.TrimPrefix(server.URL, "http")),
		Headers:          http.Header{"X-Api-Key": {token}},
		Timeout:          timeout,
		MaxResponseBytes: 64 << 10,
	})
	return client, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

func TestWebsocket(t *testing.T) {
	handler := honest(t)
	var dials atomic.Int64
	c, cut := overWebsocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dials.Add(1)
		user, password, _ := r.BasicAuth()
		if user != "user" || password != token || r.Header.Get("X-Api-Key") != token || r.URL.Query().Get("key") != token {
			t.Errorf("URL or headers did not arrive: %s %v", r.URL, r.Header)
		}
		handler.ServeHTTP(w, r)
	}), 5*time.Second)
	require.Zero(t, dials.Load(), "making a client does not dial")
	for range 3 {
		status, err := c.Status(context.Background())
		require.NoError(t, err)
		require.Equal(t, needed(fullStatus()), status)
	}
	id, err := c.Identity(context.Background())
	require.NoError(t, err)
	require.Equal(t, IdentityOf(rollupConfig()), id)
	require.Equal(t, int64(1), dials.Load(), "the connection is kept")

	cut()
	require.Eventually(t, func() bool {
		_, err := c.Status(context.Background())
		return err == nil
	}, 5*time.Second, time.Millisecond, "a lost connection is dialled again")
	require.Equal(t, int64(2), dials.Load())

	c.Close()
	_, err = c.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, int64(3), dials.Load())
}

// upgraded is a WebSocket server that is not what it should be.
func upgraded(t *testing.T, talk func(conn *websocket.Conn)) http.Handler {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrading: %v", err)
			return
		}
		defer conn.Close()
		talk(conn)
	})
}

func TestBadWebsocketAnswers(t *testing.T) {
	answer := func(members string) func(*websocket.Conn) {
		return func(conn *websocket.Conn) {
			var call struct {
				ID json.RawMessage `json:"id"`
			}
			for conn.ReadJSON(&call) == nil {
				text := strings.Replace(members, "ID", string(call.ID), 1)
				if conn.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
					return
				}
			}
		}
	}
	for _, test := range []struct {
		name    string
		handler http.Handler
		kind    error
		text    string
	}{
		{"handshake refused", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "who are you", http.StatusUnauthorized)
		}), ErrFetch, "401"},
		{"redirect", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+token, http.StatusTemporaryRedirect)
		}), ErrFetch, "HTTP status 307 Temporary Redirect: redirects are not followed"},
		{"endless handshake", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "HTTP/1.1 101 Switching Protocols\r\n", "X-Filler: "+strings.Repeat("x", 1000)+"\r\n")
		}), ErrMalformed, "larger than allowed"},
		{"rubbish", upgraded(t, answer("<html>")), ErrMalformed, "invalid character"},
		{"null", upgraded(t, answer(`{"jsonrpc":"2.0","id":ID,"result":null}`)), ErrMalformed, "null"},
		{"wrong types", upgraded(t, answer(`{"jsonrpc":"2.0","id":ID,"result":{"safe_l2":7}}`)), ErrMalformed, "unmarshal JSON number"},
		{"JSON-RPC error", upgraded(t, answer(`{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no"}}`)), ErrFetch, "error -32000: no"},
		{"large message", upgraded(t, answer(strings.Repeat(" ", 65<<10))), ErrMalformed, "larger than allowed"},
		{"endless message", upgraded(t, func(conn *websocket.Conn) {
			if w, err := conn.NextWriter(websocket.TextMessage); err == nil {
				flood(w, []byte(" "))
			}
		}), ErrMalformed, "larger than allowed"},
		{"flood of messages", upgraded(t, func(conn *websocket.Conn) {
			flood(messages{conn}, []byte(`{"jsonrpc":"2.0","method":"optimism_subscription","params":{"subscription":"1"}}`)[:80])
		}), ErrMalformed, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := overWebsocket(t, test.handler, 2*time.Second)
			for range 2 {
				_, err := c.Status(t.Context())
				require.ErrorIs(t, err, test.kind)
				requirePresentable(t, err, test.text)
			}
		})
	}
}

// messages writes each 80 bytes as a message of their own.
type messages struct{ conn *websocket.Conn }

func (m messages) Write(p []byte) (int, error) {
	for part := p; len(part) >= 80; part = part[80:] {
		if err := m.conn.WriteMessage(websocket.TextMessage, part[:80]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func TestSlowWebsocket(t *testing.T) {
	const timeout = 150 * time.Millisecond
	var healthy atomic.Bool
	good := honest(t)
	stalled := upgraded(t, func(conn *websocket.Conn) {
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	})
	c, _ := overWebsocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if healthy.Load() {
			good.ServeHTTP(w, r)
		} else {
			stalled.ServeHTTP(w, r)
		}
	}), timeout)
	start := time.Now()
	_, err := c.Status(context.Background())
	require.ErrorIs(t, err, ErrFetch)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 20*timeout)

	healthy.Store(true)
	_, err = c.Status(context.Background())
	require.NoError(t, err, "a connection that stalled is not used again")

	t.Run("hangs up", func(t *testing.T) {
		c, _ := overWebsocket(t, upgraded(t, func(*websocket.Conn) {}), timeout)
		start := time.Now()
		_, err := c.Status(context.Background())
		require.ErrorIs(t, err, ErrFetch)
		require.Less(t, time.Since(start), 20*timeout)
	})
	t.Run("handshake", func(t *testing.T) {
		c, _ := overWebsocket(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stall(r) }), timeout)
		start := time.Now()
		_, err := c.Status(context.Background())
		require.ErrorIs(t, err, ErrFetch)
		require.Less(t, time.Since(start), 20*timeout)
	})
}

func TestLimitedReader(t *testing.T) {
	for _, test := range []struct {
		limit int64
		want  string
		err   error
	}{{0, "", errTooLarge}, {3, "abc", errTooLarge}, {5, "abcde", errTooLarge}, {6, "abcdef", nil}, {7, "abcdef", nil}} {
		body := &limitedReader{reader: strings.NewReader("abcdef"), left: test.limit}
		got, err := io.ReadAll(body)
		require.Equal(t, test.want, string(got))
		require.ErrorIs(t, err, test.err)
		if test.err != nil {
			_, err = body.Read(make([]byte, 8))
			require.True(t, errors.Is(err, errTooLarge), "and stays so")
		}
	}
}

// newServer runs a WebSocket server and returns its URL.
func newServer(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}
