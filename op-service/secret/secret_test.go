package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShown(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://host:9545":                      "http://host:9545",
		"http://host:9545/":                     "http://host:9545",
		"https://me:hunter2@host/":              "https://host",
		"https://host/v3/hunter2":               "https://host/***",
		"https://host/hunter2/":                 "https://host/***",
		"wss://host?key=hunter2":                "wss://host/***",
		"https://host/#hunter2":                 "https://host/***",
		"http://supernode:9545/8453":            "http://supernode:9545/8453",
		"http://supernode:9545/hunter2/8453/":   "http://supernode:9545/***/8453",
		"https://host/8453?key=hunter2":         "https://host/***/8453",
		"https://host/123456789012345678901234": "https://host/***", // no chain id is that long
		"//host/hunter2":                        "host/***",
		"/data/geth.ipc":                        "/data/geth.ipc",
		"localhost:8545":                        "localhost:8545",
		"":                                      "",
		"https//host/hunter2":                   "(not shown)",
		"https:host/hunter2":                    "(not shown)",
		"https:///hunter2":                      "(not shown)",
		"http://host:hunter2/":                  "(not shown)",
		"me:hunter2@host":                       "(not shown)",
		"hunter2hunter2hunter2":                 "(not shown)",
		"http://ho\x7fst/hunter2":               "(not shown)",
		"host?hunter2":                          "(not shown)",
	} {
		require.Equal(t, want, Shown(endpoint), endpoint)
	}
}

func TestNamesDiffer(t *testing.T) {
	require.Equal(t, []string{"http://a", "http://b/***", "http://b/***#2", "http://b/1", "http://b/2", "http://b/***#3"},
		Names([]string{"http://a", "http://b/x", "http://b/y", "http://b/1", "http://b/2", "http://user@b/z"}))
}

const key = "a1B2c3D4e5F6a7b8"

// TestNothingIsLeft: whatever form the library at hand gives an endpoint, its secrets are not in what is shown.
func TestNothingIsLeft(t *testing.T) {
	for _, endpoint := range []string{
		"https://host/v2/" + key, "https://host/" + key + "/8453", "https://user:" + key + "@host", "https://" + key + "@host", "wss://host?apikey=" + key,
		"wss://host/?apikey=" + key + "&network=mainnet", "https://host/#" + key, "https//host/" + key, "http://host:" + key + "/", "https:host/" + key,
		"https://host/" + key + "%2f" + key, "/" + key, key,
	} {
		h := New(OfURL(endpoint)...)
		_, parsing := url.Parse(endpoint)
		for _, text := range []string{
			endpoint, fmt.Sprintf("address unavailable (%s)", endpoint), fmt.Sprintf("Post %q: refused", endpoint), fmt.Sprint(parsing),
			"dial unix " + endpoint + ": no such file", "404: no such key: " + key,
		} {
			require.NotContains(t, h.Text(text), key, endpoint)
		}
		if shown := Shown(endpoint); shown != notShown {
			require.NotContains(t, shown, key)
		}
	}
	header := http.Header{"Authorization": {"Bearer " + key}, "X-Key": {key}}
	require.NotContains(t, New(OfHeader(header)...).Text(`{"error":"bad token `+key+`"}`), key)
	user := New(OfURL("https://user:correct%20horse@host")...)
	require.Equal(t, "got Basic *** and ***", user.Text("got Basic dXNlcjpjb3JyZWN0IGhvcnNl and correct horse"))
}

// TestPlainTextStays: what is no secret is not replaced, so that lines can still be read.
func TestPlainTextStays(t *testing.T) {
	h := New(OfURL("https://operator:hunter2hunter2@l1.example:8545/rpc/8453?network=mainnet")...)
	const line = "L1 of mainnet at l1.example:8545, chain 8453, asked by operator over rpc"
	require.Equal(t, line, h.Text(line))
	require.Empty(t, OfURL("http://host:9545/8453"))
	require.Empty(t, OfURL("/data/geth.ipc"))
	var none *Hider
	require.Equal(t, line, none.Text(line))
	require.Equal(t, line, New("a", "").Text(line), "too short")
}

func TestErrorsStayWhatTheyAre(t *testing.T) {
	h := New(key)
	plain := errors.New("no secret")
	require.Same(t, plain, h.Error(plain))
	require.NoError(t, h.Error(nil))
	cause := &url.Error{Op: "Post", URL: "https://host/" + key, Err: context.Canceled}
	err := fmt.Errorf("asking: %w", h.Error(cause))
	require.ErrorIs(t, err, context.Canceled)
	var known *url.Error
	require.ErrorAs(t, err, &known)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		require.NotContains(t, fmt.Sprintf(format, h.Error(cause)), key)
	}
}

// shy shows itself only in the log.
type shy struct{}

func (shy) LogValue() slog.Value { return slog.StringValue(key) }

func TestHandler(t *testing.T) {
	for name, log := range map[string]func(*slog.Logger){
		"message":   func(l *slog.Logger) { l.Info("dialling " + key) },
		"string":    func(l *slog.Logger) { l.Info("dialling", "addr", "https://host/"+key) },
		"error":     func(l *slog.Logger) { l.Info("failed", "err", errors.New(key)) },
		"struct":    func(l *slog.Logger) { l.Info("config", "cfg", struct{ URL *url.URL }{&url.URL{Path: key}}.URL) },
		"list":      func(l *slog.Logger) { l.Info("config", "sources", []string{key}) },
		"LogValuer": func(l *slog.Logger) { l.Info("config", "value", shy{}) },
		"group":     func(l *slog.Logger) { l.Info("config", slog.Group("a", slog.Group("b", slog.String("c", key)))) },
		"with":      func(l *slog.Logger) { l.With("source", key).WithGroup("g").Info("x", "y", key) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log(slog.New(New(key).Handler(slog.NewTextHandler(&out, nil))))
			require.Contains(t, out.String(), hidden)
			require.NotContains(t, out.String(), key)
		})
	}
	next := slog.NewTextHandler(new(bytes.Buffer), &slog.HandlerOptions{Level: slog.LevelWarn})
	require.Same(t, next, New().Handler(next))
	wrapped := New(key).Handler(next)
	require.False(t, wrapped.Enabled(t.Context(), slog.LevelInfo))
	require.Same(t, next, wrapped.(interface{ Unwrap() slog.Handler }).Unwrap())
}
