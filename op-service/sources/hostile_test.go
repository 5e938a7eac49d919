package sources

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// listener accepts connections and keeps count of those that its other side has open.
type listener struct {
	net.Listener
	mu         sync.Mutex
	open, most int
	conns      []net.Conn
}

// silent accepts connections, reads them and never writes a byte.
func silent(t *testing.T) *listener {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &listener{Listener: inner}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			l.count(conn, 1)
			running.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
				l.count(nil, -1)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		l.mu.Lock()
		for _, conn := range l.conns {
			_ = conn.Close()
		}
		l.mu.Unlock()
		running.Wait()
	})
	return l
}

func (l *listener) count(conn net.Conn, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += by
	l.most = max(l.most, l.open)
	if conn != nil {
		l.conns = append(l.conns, conn)
	}
}

func (l *listener) opened() (open, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open, l.most
}

// A source that accepts connections and stays silent in the TLS handshake holds few of them, and none for long.
func TestSilentTLS(t *testing.T) {
	for _, scheme := range []string{"https", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			l := silent(t)
			c := newClient(t, FollowConfig{URL: scheme + "://" + l.Addr().String(), Timeout: time.Second})
			for range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				_, err := c.Status(ctx)
				cancel()
				require.ErrorIs(t, err, ErrFetch)
			}
			_, most := l.opened()
			require.LessOrEqual(t, most, defaultMaxConns)
			require.Eventually(t, func() bool {
				open, _ := l.opened()
				return open == 0
			}, 5*time.Second, 10*time.Millisecond, "connections stay open")
		})
	}
}

// incoming counts what comes from the other side under its name.
type incoming struct {
	countingRecorder
	mu    sync.Mutex
	names map[string]int
}

func (r *incoming) RecordIncoming(_ context.Context, msg rpc.RecordedMsg) rpc.RecordDone {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[msg.MsgMethod()]++
	return nil
}

// A source has nothing to ask of us: a connection on which it does ends at once, without an answer, a count or a log line.
func TestRequestsFromTheOtherSide(t *testing.T) {
	for name, message := range map[string]string{
		"request":      `{"jsonrpc":"2.0","id":1,"method":"METHOD","params":[]}`,
		"notification": `{"jsonrpc":"2.0","method":"METHOD"}`,
		"batch":        `[{"jsonrpc":"2.0","id":1,"method":"METHOD"},{"jsonrpc":"2.0","id":2,"method":"METHOD"}]`,
		"subscription": `{"jsonrpc":"2.0","method":"METHOD_subscription","params":{"subscription":"1","result":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var answers, dials atomic.Int64
			handler := upgraded(t, func(conn *websocket.Conn) {
				dials.Add(1)
				for i := range 100 {
					text := strings.ReplaceAll(message, "METHOD", fmt.Sprintf("evil_%d", i))
					if conn.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
						return
					}
				}
				for {
					var got map[string]json.RawMessage
					if conn.ReadJSON(&got) != nil {
						return
					}
					if _, call := got["method"]; !call {
						answers.Add(1)
					}
				}
			})
			recorder := &incoming{names: map[string]int{}}
			server := newServer(t, handler)
			c, err := NewFollowClient(FollowConfig{URL: server, Timeout: time.Second}, recorder)
			require.NoError(t, err)
			_, err = c.Status(t.Context())
			c.Close()
			require.ErrorIs(t, err, ErrMalformed)
			require.Equal(t, int64(1), dials.Load())
			require.Empty(t, recorder.names)
			require.Zero(t, answers.Load())
		})
	}
}

// A caller that goes away does not end what others ask over the same connection.
func TestCallerThatHangsUp(t *testing.T) {
	asked, dials := make(chan struct{}, 2), new(atomic.Int64)
	release := make(chan struct{})
	server := newServer(t, upgraded(t, func(conn *websocket.Conn) {
		dials.Add(1)
		var ids []string
		for len(ids) < 2 {
			var call struct {
				ID json.RawMessage `json:"id"`
			}
			if conn.ReadJSON(&call) != nil {
				return
			}
			ids = append(ids, string(call.ID))
			asked <- struct{}{}
		}
		<-release
		for _, id := range ids { // the late answer to the first is nothing bad
			_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":`+id+`,"result":`+toJSON(t, fullStatus())+`}`))
		}
		_, _, _ = conn.ReadMessage()
	}))
	c := newClient(t, FollowConfig{URL: server, Timeout: 5 * time.Second})
	ctx, hangUp := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.Status(ctx); gone <- err }()
	<-asked
	go func() { _, err := c.Status(t.Context()); stays <- err }()
	<-asked
	hangUp()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(release)
	require.NoError(t, <-stays)
	require.Equal(t, int64(1), dials.Load())
}

// Names of fields are exact, and none comes twice: two readers of one answer must not read two things.
func TestExactJSON(t *testing.T) {
	good := toJSON(t, fullStatus())
	other := func(old, new string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, new, 1)
	}
	t.Run("other case", func(t *testing.T) {
		for _, doc := range []string{other(`"safe_l2"`, `"Safe_L2"`), other(`"safe_l2":{"hash"`, `"safe_l2":{"HASH"`)} {
			status, err := decodeStatus([]byte(doc))
			require.NoError(t, err)
			require.Zero(t, status.Safe, "another name is another field")
		}
	})
	for name, doc := range map[string]string{
		"twice":                     other(`{"current_l1"`, `{"safe_l2":null,"current_l1"`),
		"twice, further inside":     other(`"safe_l2":{`, `"safe_l2":{"number":1,`),
		"twice, where nobody reads": other(`{"current_l1"`, `{"other":{"a":1,"a":2},"current_l1"`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeStatus([]byte(doc))
			require.ErrorContains(t, err, "duplicate")
		})
	}
	_, err := decodeIdentity([]byte(strings.Replace(toJSON(t, rollupConfig()), `"l2_chain_id"`, `"L2_Chain_ID"`, 1)))
	require.ErrorContains(t, err, "l2_chain_id: missing")
	_, err = decodeLineage([]byte(`{"id":"a","path":["b"],"path":[]}`))
	require.ErrorContains(t, err, "duplicate")
	_, err = decodeSafeHead([]byte(`{"L1Block":{"hash":"0x01000000000000000000000000000000000000000000000000000000000000aa","number":1},"safeHead":null}`))
	require.ErrorContains(t, err, "missing")
	for name, envelope := range map[string]string{
		"result twice": `"result":` + good + `,"result":` + good,
		"other case":   `"Result":` + good,
	} {
		t.Run("envelope, "+name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, r, envelope) })
			_, err := c.Status(t.Context())
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

// What a source says is shown without what steers terminals, viewers and readers.
func TestForeignText(t *testing.T) {
	const nasty = "a\u0007b\u009b31mc\u202ed\u2066e\u200ff\u2028g\ufeffh"
	escaped, err := json.Marshal(nasty)
	require.NoError(t, err)
	for name, handler := range map[string]http.HandlerFunc{
		"JSON-RPC error": func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"error":{"code":-32000,"message":`+string(escaped)+`}`)
		},
		"HTTP error": func(w http.ResponseWriter, r *http.Request) { http.Error(w, nasty, http.StatusBadGateway) },
		"wrong type": func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"result":{"safe_l2":{"number":`+string(escaped)+`}}`)
		},
		"wrong name": func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"result":{`+string(escaped)+`:1,`+string(escaped)+`:1}`)
		},
		"wrong header": func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\n"+nasty+"\r\n\r\n", "x")
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) { hijack(t, w, nasty+"\r\n", "x") },
		"no JSON": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, nasty) },
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, handler)
			_, err := c.Status(t.Context())
			require.Error(t, err)
			t.Log(err)
			for _, r := range err.Error() {
				require.True(t, unicode.IsPrint(r), "%U in %q", r, err.Error())
			}
		})
	}
}
