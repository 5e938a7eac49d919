package faultproxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// start puts a proxy in front of a server that echoes the path and body it gets.
func start(t *testing.T) *Proxy {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.URL.Path+" "+string(body))
	}))
	t.Cleanup(server.Close)
	p, err := Start(server.URL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func post(ctx context.Context, p *Proxy, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/rpc", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func TestPassIsTheBeginning(t *testing.T) {
	p := start(t)
	status, answer, err := post(t.Context(), p, "hello")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "/rpc hello", answer)
	require.EqualValues(t, 1, p.Requests())
}

func TestFail(t *testing.T) {
	p := start(t)
	p.Set(Fail(http.StatusServiceUnavailable))
	status, answer, err := post(t.Context(), p, "hello")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotContains(t, answer, "hello")
	p.Set(Pass())
	_, answer, err = post(t.Context(), p, "again")
	require.NoError(t, err)
	require.Equal(t, "/rpc again", answer)
}

func TestDelayAnswersLate(t *testing.T) {
	const late = 60 * time.Millisecond
	p := start(t)
	p.Set(Delay(late))
	begin := time.Now()
	_, answer, err := post(t.Context(), p, "hello")
	require.NoError(t, err)
	require.Equal(t, "/rpc hello", answer)
	require.GreaterOrEqual(t, time.Since(begin), late)
}

func TestDelayEndsWithTheClient(t *testing.T) {
	p := start(t)
	p.Set(Delay(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := post(ctx, p, "hello")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestStallNeverAnswers(t *testing.T) {
	p := start(t)
	stalling := make(chan struct{})
	stall := Stall()
	p.Set(Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(stalling)
		stall.Serve(w, r, next)
	}))
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _, err := post(ctx, p, "hello")
		result <- err
	}()
	<-stalling
	p.Set(Pass())
	_, answer, err := post(t.Context(), p, "other")
	require.NoError(t, err, "others are served")
	require.Equal(t, "/rpc other", answer)
	select {
	case err := <-result:
		require.FailNow(t, "the stalled request came back", "%v", err)
	default:
	}
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
}

func TestCloseDropsStalledRequests(t *testing.T) {
	p := start(t)
	stalling := make(chan struct{})
	p.Set(Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(stalling)
		Stall().Serve(w, r, next)
	}))
	result := make(chan error, 1)
	go func() {
		_, _, err := post(t.Context(), p, "hello")
		result <- err
	}()
	<-stalling
	require.NoError(t, p.Close())
	require.Error(t, <-result)
	_, _, err := post(t.Context(), p, "late")
	require.Error(t, err, "nobody listens any more")
}

func TestDeadServerIsABadGateway(t *testing.T) {
	p, err := Start("http://127.0.0.1:1")
	require.NoError(t, err)
	defer p.Close()
	status, _, err := post(t.Context(), p, "hello")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadGateway, status)
}

func TestTargetMustBeHTTP(t *testing.T) {
	for _, target := range []string{"", "127.0.0.1:80", "ws://127.0.0.1:80", "http://", "http://a b"} {
		_, err := Start(target)
		require.ErrorContains(t, err, "proxy target", target)
	}
}
