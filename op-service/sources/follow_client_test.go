package sources

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

// token stands in every place of a URL and of headers where operators put secrets.
const token = "s3cr3t"

func newClient(t *testing.T, cfg FollowConfig) *FollowClient {
	c, err := NewFollowClient(cfg, nil)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// withSecrets adds user info, a path and a query to the URL of a test server.
func withSecrets(url string) string {
	scheme, host, _ := strings.Cut(url, "://")
	return scheme + "://user:" + token + "@" + host + "/v3/" + token + "?key=" + token
}

// serve runs a source over HTTP, and returns a client that has secrets in its URL and headers.
func serve(t *testing.T, handler http.HandlerFunc) *FollowClient {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newClient(t, FollowConfig{
		URL:              withSecrets(server.URL),
		Headers:          http.Header{"X-Api-Key": {token}},
		Timeout:          5 * time.Second,
		MaxResponseBytes: 64 << 10,
	})
}

// reply answers a JSON-RPC call with its id and the given members.
func reply(w http.ResponseWriter, r *http.Request, members string) {
	var call struct {
		ID json.RawMessage `json:"id"`
	}
	_ = json.NewDecoder(r.Body).Decode(&call)
	_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(call.ID)+`,`+members+`}`)
}

func TestStatus(t *testing.T) {
	var requests []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, string(body))
		user, password, _ := r.BasicAuth()
		if user != "user" || password != token || r.Header.Get("X-Api-Key") != token ||
			r.URL.Path != "/v3/"+token || r.URL.Query().Get("key") != token {
			t.Errorf("URL or headers did not arrive: %s %v", r.URL, r.Header)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		reply(w, r, `"result":`+toJSON(t, fullStatus()))
	})
	for range 2 {
		status, err := c.Status(context.Background())
		require.NoError(t, err)
		require.Equal(t, needed(fullStatus()), status)
	}
	require.Len(t, requests, 2, "one request each")
	require.Contains(t, requests[0], `"method":"optimism_syncStatus"`)
}

func TestIdentity(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, `"result":`+toJSON(t, rollupConfig()))
	})
	id, err := c.Identity(context.Background())
	require.NoError(t, err)
	require.Equal(t, IdentityOf(rollupConfig()), id)

	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, `"error":{"code":-32601,"message":"the method optimism_rollupConfig does not exist"}`)
	})
	_, err = c.Identity(context.Background())
	require.ErrorIs(t, err, ErrMethodMissing)
	require.ErrorIs(t, err, ErrFetch)
}

// Whatever a source answers, there is a typed error in one short line that shows no secret.
func TestBadAnswers(t *testing.T) {
	status := func(t *testing.T) string { return `"result":` + toJSON(t, fullStatus()) }
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		kind    error
		text    string
	}{
		{"HTTP error", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no backend\nis there", http.StatusBadGateway)
		}, ErrFetch, "HTTP status 502 Bad Gateway: no backend is there"},
		{"HTTP error with a long page", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat("page ", 5000), http.StatusForbidden)
		}, ErrFetch, "HTTP status 403 Forbidden: page page"},
		{"HTTP error with an endless page", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			flood(w, []byte("page "))
		}, ErrFetch, "HTTP status 403 Forbidden"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+token, http.StatusTemporaryRedirect)
		}, ErrFetch, "HTTP status 307 Temporary Redirect: redirects are not followed"},
		{"JSON-RPC error", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"error":{"code":-32000,"message":"still\nstarting"}`)
		}, ErrFetch, "error -32000: still starting"},
		{"JSON-RPC error with a long text", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"error":{"code":-32000,"message":"`+strings.Repeat("x", 50000)+`"}`)
		}, ErrFetch, "error -32000: xxx"},
		{"method missing", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"error":{"code":-32601,"message":"no such method"}`)
		}, ErrMethodMissing, "method not served"},
		{"empty body", func(http.ResponseWriter, *http.Request) {}, ErrMalformed, "empty or cut off"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"safe_l2":`)
		}, ErrMalformed, "empty or cut off"},
		{"null", func(w http.ResponseWriter, r *http.Request) { reply(w, r, `"result":null`) }, ErrMalformed, "null"},
		{"no result", func(w http.ResponseWriter, r *http.Request) { reply(w, r, `"other":1`) }, ErrMalformed, "result"},
		{"page", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "<html>welcome</html>")
		}, ErrMalformed, "invalid character"},
		{"array", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "[]") }, ErrMalformed, "array"},
		{"wrong types", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"result":{"safe_l2":{"hash":12}}`)
		}, ErrMalformed, "optimism_syncStatus"},
		{"negative number", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, `"result":`+edit(t, "safe_l2.number", "-1"))
		}, ErrMalformed, "number -1"},
		{"too large by little", func(w http.ResponseWriter, r *http.Request) {
			reply(w, r, status(t)+`,"filler":"`+strings.Repeat("x", 64<<10)+`"`)
		}, ErrMalformed, "larger than allowed"},
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"`)
			flood(w, []byte("x"))
		}, ErrMalformed, "larger than allowed"},
		{"endless white space after the answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":`)
			flood(w, []byte(" "))
		}, ErrMalformed, "larger than allowed"},
		{"gzip bomb", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			bomb := flushing{gzip.NewWriter(w), http.NewResponseController(w)}
			_, _ = io.WriteString(bomb, `{"jsonrpc":"2.0","id":1,"result":"`)
			flood(bomb, []byte("x"))
		}, ErrMalformed, "larger than allowed"},
		{"endless headers", func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\n", "X-Filler: "+strings.Repeat("x", 1000)+"\r\n")
		}, ErrFetch, "header"},
		{"no HTTP at all", func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "", "+OK POP3 ready\r\n")
		}, ErrFetch, "malformed HTTP"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrFetch, "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, test.handler)
			for range 2 {
				_, err := c.Status(context.Background())
				require.ErrorIs(t, err, test.kind)
				requirePresentable(t, err, test.text)
			}
		})
	}
}

// requirePresentable checks that an error fits into a log line.
func requirePresentable(t *testing.T, err error, text string) {
	t.Helper()
	require.ErrorContains(t, err, text)
	require.NotContains(t, err.Error(), token)
	require.NotContains(t, err.Error(), "\n")
	require.Less(t, len(err.Error()), 500)
}

// maxFlood is far more than any socket buffers, and far less than what a slow test writes.
const maxFlood = 256 << 20

// flood writes until the other side has had enough.
func flood(w io.Writer, filler []byte) {
	block := bytes.Repeat(filler, 64<<10/len(filler))
	for sent := 0; sent < maxFlood; sent += len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// flushing passes compressed data on at once.
type flushing struct {
	zip  *gzip.Writer
	conn *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	if _, err := f.zip.Write(p); err != nil {
		return 0, err
	}
	return len(p), errors.Join(f.zip.Flush(), f.conn.Flush())
}

// hijack takes over the connection and writes raw text, the filler without end.
func hijack(t *testing.T, w http.ResponseWriter, start, filler string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("hijacking: %v", err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, start)
	flood(conn, []byte(filler))
}

// A large body is not read to its end: the server gets rid of a fraction of it only.
func TestLargeBodyIsNotRead(t *testing.T) {
	const size = 100 << 20
	sent := make(chan int64, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		counted := &counter{w: w}
		_, _ = io.WriteString(counted, `{"jsonrpc":"2.0","id":1,"result":"`)
		block := bytes.Repeat([]byte("x"), 64<<10)
		for counted.n.Load() < size {
			if _, err := counted.Write(block); err != nil {
				break
			}
		}
		sent <- counted.n.Load()
	})
	_, err := c.Status(context.Background())
	require.ErrorIs(t, err, ErrMalformed)
	require.Less(t, <-sent, int64(size/4))
}

type counter struct {
	w io.Writer
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// An answer of exactly the allowed size passes, one byte more does not.
func TestResponseLimitIsExact(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"result":` + toJSON(t, fullStatus()) + `}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c := newClient(t, FollowConfig{URL: server.URL, MaxResponseBytes: int64(len(body))})
	_, err := c.Status(context.Background())
	require.NoError(t, err)
	c = newClient(t, FollowConfig{URL: server.URL, MaxResponseBytes: int64(len(body)) - 1})
	_, err = c.Status(context.Background())
	require.ErrorIs(t, err, ErrMalformed)
}

// stall keeps a request until its client goes away, which the server notices once the body is read.
func stall(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// A source that is slow in whatever way costs its timeout and no more.
func TestSlowSource(t *testing.T) {
	const timeout = 150 * time.Millisecond
	drip := func(w io.Writer, flush func(), done <-chan struct{}) {
		tick := time.NewTicker(timeout / 10)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				flush()
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"stall": func(_ http.ResponseWriter, r *http.Request) { stall(r) },
		"stall after headers": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			stall(r)
		},
		"slow drip": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			drip(w, func() { _ = http.NewResponseController(w).Flush() }, r.Context().Done())
		},
		"slow drip with an HTTP error": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusBadGateway)
			drip(w, func() { _ = http.NewResponseController(w).Flush() }, r.Context().Done())
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			c := newClient(t, FollowConfig{URL: withSecrets(server.URL), Timeout: timeout})
			start := time.Now()
			_, err := c.Status(context.Background())
			require.ErrorIs(t, err, ErrFetch)
			requirePresentable(t, err, "")
			require.Less(t, time.Since(start), 20*timeout)
		})
	}
	t.Run("the caller may be shorter of patience", func(t *testing.T) {
		c := serve(t, func(_ http.ResponseWriter, r *http.Request) { stall(r) })
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, err := c.Status(ctx)
		require.ErrorIs(t, err, ErrFetch)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A source that is down stops nothing, and is used as soon as it is up.
func TestSourceThatIsDown(t *testing.T) {
	for _, scheme := range []string{"http", "ws"} {
		t.Run(scheme, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			addr := listener.Addr().String()
			require.NoError(t, listener.Close())
			c := newClient(t, FollowConfig{URL: withSecrets(scheme + "://" + addr), Timeout: 5 * time.Second})
			for range 2 {
				_, err = c.Status(context.Background())
				require.ErrorIs(t, err, ErrFetch)
				requirePresentable(t, err, "connection refused")
			}
			listener, err = net.Listen("tcp", addr)
			require.NoError(t, err)
			server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: honest(t)}}
			server.Start()
			t.Cleanup(server.Close)
			_, err = c.Status(context.Background())
			require.NoError(t, err)
		})
	}
}

func TestURLs(t *testing.T) {
	for raw, name := range map[string]string{
		"http://localhost:9545":                       "http://localhost:9545",
		"http://localhost:9545/":                      "http://localhost:9545",
		"https://node.example":                        "https://node.example",
		"ws://[::1]:9546":                             "ws://[::1]:9546",
		withSecrets("wss://node.example:443"):         "wss://node.example:443/***",
		"https://" + token + "@node.example":          "https://node.example",
		"https://node.example/" + token:               "https://node.example/***",
		"https://node.example?k=" + token:             "https://node.example/***",
		"https://node.example/#" + token:              "https://node.example/***",
		"HTTPS://node.example/" + token + "/" + token: "https://node.example/***",
	} {
		require.Equal(t, name, newClient(t, FollowConfig{URL: raw}).Name())
	}
	for raw, want := range map[string]string{
		"":                                  "is empty",
		"localhost:9545":                    "another scheme: localhost:9545",
		"node.example/" + token:             "no scheme",
		"//node.example/" + token:           "no scheme: node.example/***",
		"ftp://" + token + "@node.example":  "another scheme: ftp://node.example",
		"http://":                           "no host",
		"http://:9545":                      "no host: http://:9545",
		"http://node.example:port":          "cannot be parsed",
		"http://u:" + token + "\x7f@host/":  "cannot be parsed",
		"http://node.example/%zz" + token:   "cannot be parsed",
		"http://u:p%zz" + token + "@host":   "cannot be parsed",
		"mailto:" + token + "@node.example": "another scheme",
	} {
		_, err := NewFollowClient(FollowConfig{URL: raw}, nil)
		require.ErrorContains(t, err, want, raw)
		require.NotContains(t, err.Error(), token)
	}
	_, err := NewFollowClient(FollowConfig{URL: "http://a", Timeout: -1}, nil)
	require.ErrorContains(t, err, "negative timeout")
	_, err = NewFollowClient(FollowConfig{URL: "http://a", MaxResponseBytes: -1}, nil)
	require.ErrorContains(t, err, "response limit (-1 bytes)")
}

type countingRecorder struct{ started, done atomic.Int64 }

func (r *countingRecorder) RecordIncoming(context.Context, rpc.RecordedMsg) rpc.RecordDone {
	return nil
}

func (r *countingRecorder) RecordOutgoing(context.Context, rpc.RecordedMsg) rpc.RecordDone {
	r.started.Add(1)
	return func(context.Context, rpc.RecordedMsg, rpc.RecordedMsg) { r.done.Add(1) }
}

func TestRecorderSeesEveryRequest(t *testing.T) {
	server := httptest.NewServer(honest(t))
	t.Cleanup(server.Close)
	recorder := new(countingRecorder)
	c, err := NewFollowClient(FollowConfig{URL: server.URL}, recorder)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	for range 3 {
		_, err = c.Status(context.Background())
		require.NoError(t, err)
	}
	require.Equal(t, [2]int64{3, 3}, [2]int64{recorder.started.Load(), recorder.done.Load()})
}
