package rpcserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/log"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

// service is a namespace to test with.
type service struct {
	entered chan struct{} // gets a value when a call to Block has begun
	release chan struct{}
}

func (service) Echo(text string) string    { return text }
func (service) Large(bytes int) string     { return strings.Repeat("x", bytes) }
func (s service) Block(context.Context)    { s.entered <- struct{}{}; <-s.release }
func (s service) Wait(ctx context.Context) { s.Block(ctx) }
func (service) Fail() error                { return failure{} }
func (service) NoMethod(a, b, c int) int   { return a + b + c }

type failure struct{}

func (failure) Error() string  { return "no" }
func (failure) ErrorCode() int { return -38001 }

// bench is a server under test, and what it was asked and refused.
type bench struct {
	service
	url string

	mu      sync.Mutex
	refused []Reason
	asked   []string
}

// RecordIncoming implements rpc.Recorder.
func (b *bench) RecordIncoming(_ context.Context, msg rpc.RecordedMsg) rpc.RecordDone {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, msg.MsgMethod())
	return nil
}

// RecordOutgoing implements rpc.Recorder.
func (b *bench) RecordOutgoing(context.Context, rpc.RecordedMsg) rpc.RecordDone { return nil }

func (b *bench) refusals() []Reason {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

func newBench(t *testing.T, change func(*Options)) *bench {
	b := &bench{service: service{entered: make(chan struct{}, 100), release: make(chan struct{})}}
	o := Options{
		Version: "v1", Origins: []string{"*"}, Hosts: []string{"*"}, Waiting: []string{"test_wait"},
		Limits:   Limits{Body: 10_000, Batch: 10, Answer: 1000, Requests: 2},
		Recorder: func(func(string) bool) rpc.Recorder { return b },
		Refused: func(reason Reason) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.refused = append(b.refused, reason)
		},
		Log: log.NewLogger(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	require.NoError(t, s.Register(rpc.API{Namespace: "test", Service: b.service}))
	s.Open()
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Stop()
		server.Close()
	})
	b.url = server.URL
	return b
}

// post sends a body and returns what comes back.
func (b *bench) post(t *testing.T, body string, headers ...string) (status int, answer string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

func one(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":[%s]}`, method, params)
}

func batch(n int, call string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(call+",", n), ",") + "]"
}

func TestLimits(t *testing.T) {
	for name, test := range map[string]struct {
		body    string
		status  int
		want    string
		refused []Reason
	}{
		"a call":               {one("test_echo", `"hi"`), 200, `"result":"hi"`, nil},
		"a batch":              {batch(10, one("test_echo", `"hi"`)), 200, `"result":"hi"`, nil},
		"an error":             {one("test_fail", ``), 200, `"code":-38001`, nil},
		"unknown method":       {one("test_nothing", ``), 200, "the method test_nothing does not exist/is not available", nil},
		"health":               {one("health_status", ``), 200, `"result":"v1"`, nil},
		"modules":              {one("rpc_modules", ``), 200, `"test":"1.0"`, nil},
		"long name":            {one("test_"+strings.Repeat("x", 300), ``), 200, `"id":7,"error":{"code":-32600,"message":"method name too long: 305 bytes, the limit is 256"}`, []Reason{LongName}},
		"long name in a batch": {batch(2, one("test_"+strings.Repeat("x", 300), ``)), 200, `[{"jsonrpc":"2.0","id":7,"error":{"code":-32600`, []Reason{LongName}},
		"long name, name again": {`{"method":"test_` + strings.Repeat("x", 300) + `","METHOD":"test_echo","id":7,"params":["hi"]}`, 200,
			`"id":7`, nil}, // the last one counts, for geth too
		"long batch":      {batch(11, one("test_echo", `"hi"`)), 200, `[{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"batch too large: the limit is 10 calls"}}]`, []Reason{TooMany}},
		"of numbers":      {batch(2000, `1`), 200, "batch too large", []Reason{TooMany}},
		"waits in batch":  {batch(2, one("test_wait", ``)), 200, "test_wait cannot be part of a batch", []Reason{TooMany}},
		"long answers":    {batch(10, one("test_large", `300`)), 200, `response too large`, []Reason{LongAnswer}},
		"one long answer": {one("test_large", `5000`), 200, strings.Repeat("x", 5000), nil},
		"long body":       {one("test_echo", `"`+strings.Repeat("x", 10_000)+`"`), 413, "content length too large (10059>10000)", []Reason{TooLong}},
		"no JSON":         {`nonsense`, 200, "parse error", nil},
		"empty batch":     {`[]`, 200, "empty batch", nil},
		"nothing":         {``, 200, "", nil},
		"half a batch":    {`[{"method":`, 200, "parse error", nil},
		"a notification":  {`{"jsonrpc":"2.0","method":"test_echo","params":["x"]}`, 200, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			status, answer := b.post(t, test.body)
			require.Equal(t, test.status, status, answer)
			require.Contains(t, answer, test.want)
			require.Equal(t, test.refused, b.refusals())
		})
	}
}

// TestLongBodyWithoutLength: a client that does not say how much it sends is cut off too.
func TestLongBodyWithoutLength(t *testing.T) {
	b := newBench(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, io.MultiReader(strings.NewReader(`{"x":"`), bytes.NewReader(make([]byte, 20_000))))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	require.Contains(t, string(data), "request too long: the limit is 10000 bytes")
	require.Equal(t, []Reason{TooLong}, b.refusals())
}

// TestRequestsAtTheSameTime: the limit holds, methods that wait do not count, and what is over gives its place back.
func TestRequestsAtTheSameTime(t *testing.T) {
	b := newBench(t, nil)
	var running sync.WaitGroup
	for _, method := range []string{"test_block", "test_wait", "test_block", "test_wait", "test_wait"} {
		running.Go(func() { b.post(t, one(method, ``)) })
		select {
		case <-b.entered:
		case <-time.After(10 * time.Second):
			t.Fatal("a call does not begin: ", method)
		}
	}
	status, answer := b.post(t, one("test_echo", `"hi"`))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, answer, `"id":7,"error":{"code":-32005,"message":"too many requests at the same time (limit 2), try again"}`)
	require.Equal(t, []Reason{Busy}, b.refusals())

	time.AfterFunc(100*time.Millisecond, func() { close(b.release) })
	status, answer = b.post(t, one("test_echo", `"hi"`))
	require.Equal(t, http.StatusOK, status, "it waits for a place")
	require.Contains(t, answer, "hi")
	running.Wait()
}

// TestLongBatchesTakeMorePlaces: what a batch keeps in memory grows with its length.
func TestLongBatchesTakeMorePlaces(t *testing.T) {
	s, err := New(Options{
		Limits: Limits{Body: 1 << 20, Batch: 1000, Answer: 1000, Requests: 8}, Log: log.NewLogger(slog.DiscardHandler),
		Recorder: func(func(string) bool) rpc.Recorder { return new(bench) },
	})
	require.NoError(t, err)
	for calls, places := range map[int]int64{0: 1, 1: 1, 250: 1, 500: 2, 750: 3, 1000: 4, 1001: 4} {
		require.Equal(t, places, s.share(calls, s.limits.Batch), "%d calls", calls)
	}
	require.EqualValues(t, 4, s.share(1<<20, s.limits.Body))
	places := reservation{s: s}
	require.True(t, places.take(t.Context(), 2))
	require.True(t, places.take(t.Context(), 4))
	require.True(t, places.take(t.Context(), 1), "it has more")
	require.True(t, s.places.TryAcquire(4))
	require.False(t, s.places.TryAcquire(1))
	places.free()
	places.free()
	require.True(t, s.places.TryAcquire(4))
	require.False(t, places.take(t.Context(), 1), "none is left, and waiting does not help")
}

// TestLongRequestsShareMemory: clients that send long requests slowly do not fill the memory, and short requests still get through.
func TestLongRequestsShareMemory(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Limits.Body = 128 << 10 })
	for range longBodies * 2 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			128<<10, strings.Repeat(" ", 100<<10))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		status, answer := b.post(t, strings.Repeat(" ", 100<<10)+one("test_echo", `"hi"`))
		return status == http.StatusServiceUnavailable && strings.Contains(answer, "too many long requests")
	}, 10*time.Second, 10*time.Millisecond)
	status, answer := b.post(t, one("test_echo", `"hi"`))
	require.Equal(t, http.StatusOK, status, answer)
}

func TestAccess(t *testing.T) {
	open := newBench(t, nil)
	status, _ := open.post(t, one("test_echo", `"hi"`), "Origin", "https://evil.example", "Host", "evil.example")
	require.Equal(t, http.StatusOK, status, "as upstream")

	closed := newBench(t, func(o *Options) { o.Origins, o.Hosts = []string{"https://good.example"}, []string{"node.internal"} })
	status, answer := closed.post(t, one("test_echo", `"hi"`), "Host", "evil.example")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, answer, "invalid host specified")
	status, _ = closed.post(t, one("test_echo", `"hi"`), "Host", "node.internal:9545")
	require.Equal(t, http.StatusOK, status)
	for origin, allowed := range map[string]string{"https://evil.example": "", "https://good.example": "https://good.example"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, closed.url, nil)
		require.NoError(t, err)
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, allowed, resp.Header.Get("Access-Control-Allow-Origin"), origin)
	}
}

func TestSignedCalls(t *testing.T) {
	secret := [32]byte{1, 2, 3}
	b := newBench(t, func(o *Options) { o.JWTSecret = secret[:] })
	status, _ := b.post(t, one("test_echo", `"hi"`))
	require.Equal(t, http.StatusUnauthorized, status)
	header := make(http.Header)
	require.NoError(t, gethnode.NewJWTAuth([32]byte{9})(header))
	status, _ = b.post(t, one("test_echo", `"hi"`), "Authorization", header.Get("Authorization"))
	require.Equal(t, http.StatusUnauthorized, status)
	require.NoError(t, gethnode.NewJWTAuth(secret)(header))
	status, answer := b.post(t, one("test_echo", `"hi"`), "Authorization", header.Get("Authorization"))
	require.Equal(t, http.StatusOK, status, answer)
	resp, err := http.Get(b.url + "/healthz")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "open for health checks")
}

func TestPaths(t *testing.T) {
	b := newBench(t, nil)
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/healthz/": 200, "/other": 404, "/ws": 404} {
		resp, err := http.Get(b.url + path)
		require.NoError(t, err)
		var health struct{ Version string }
		if strings.HasPrefix(path, "/healthz") {
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&health))
			require.Equal(t, "v1", health.Version)
		}
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, path)
	}
}

// TestMethodsAreKnown: what is served, and nothing else, is recorded by its name.
func TestMethodsAreKnown(t *testing.T) {
	var known func(string) bool
	newBench(t, func(o *Options) {
		o.Recorder = func(served func(string) bool) rpc.Recorder { known = served; return new(bench) }
	})
	for method, want := range map[string]bool{
		"test_echo": true, "test_noMethod": true, "health_status": true, "rpc_modules": true,
		"test_Echo": false, "test_": false, "echo": false, "": false, "test_echo_": false,
	} {
		require.Equal(t, want, known(method), method)
	}
}

func TestRegisteringComesFirst(t *testing.T) {
	s, err := New(Options{
		Limits: Limits{1, 1, 1, 1}, Log: log.NewLogger(slog.DiscardHandler),
		Recorder: func(func(string) bool) rpc.Recorder { return new(bench) },
	})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "not open yet")
	s.Open()
	require.ErrorContains(t, s.Register(rpc.API{Namespace: "test", Service: service{}}), "open already")
	_, err = New(Options{Limits: Limits{1, 0, 1, 1}})
	require.Error(t, err)
}

// FuzzScan: whatever a request is, it is found out without a crash, and the limits hold for what geth would run.
func FuzzScan(f *testing.F) {
	f.Add([]byte(one("test_echo", `"hi"`)))
	f.Add([]byte(batch(12, one("test_echo", `"hi"`))))
	f.Add([]byte(`[1,null,{"method":1},{"Method":"a","method":"b"}]`))
	f.Add([]byte(" [[[[\"\\ud800\"]]]]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		req := scan(bytes.NewReader(body), 10)
		var raw json.RawMessage
		if json.NewDecoder(bytes.NewReader(body)).Decode(&raw) != nil {
			return // geth stops there too
		}
		var calls []json.RawMessage
		if json.Unmarshal(raw, &calls) != nil || bytes.TrimLeft(raw, " \t\r\n")[0] != '[' {
			require.False(t, req.batch && req.calls > 1)
			return
		}
		require.True(t, req.batch)
		require.Equal(t, min(len(calls), 11), req.calls)
		for _, call := range calls[:min(len(calls), 10)] {
			var c struct{ Method string }
			_ = json.Unmarshal(call, &c)
			require.GreaterOrEqual(t, req.longest, len(c.Method))
		}
	})
}
