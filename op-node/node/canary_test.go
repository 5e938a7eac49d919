package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"github.com/ethereum-optimism/optimism/op-service/clock"

	"github.com/lightcl/op-node/op-node/config"
	"github.com/lightcl/op-node/op-node/metrics"
)

// canaries are random secrets, by where they are.
type canaries map[string]string

func (c canaries) add(place string) string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	c[place] = hex.EncodeToString(raw[:])
	return c[place]
}

// url puts a secret in each part of a URL that may have one.
func (c canaries) url(scheme, place, address string) string {
	return fmt.Sprintf("%s://user:%s@%s/v2/%s?apikey=%s", scheme, c.add(place+" password"), address, c.add(place+" path"), c.add(place+" query"))
}

// requireNone shows that none of the secrets is in a text.
func (c canaries) requireNone(t *testing.T, where, text string) {
	for place, secret := range c {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows the secret of %s: …%s…", where, place, text[max(0, at-100):min(len(text), at+50)])
		}
	}
}

// telltale is an endpoint that serves until it is spoiled, and then tells everything that it was sent: in pages, in JSON-RPC errors.
type telltale struct {
	next  http.Handler
	fault atomic.Pointer[string] // nil: serves
}

const (
	page   = "a page with the request"
	reply  = "a JSON-RPC error with the request"
	hangUp = "hangs up"
)

func (e *telltale) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := e.fault.Load()
	told := fmt.Sprintf("cannot %s %s with %v", r.Method, r.URL, r.Header)
	switch {
	case fault == nil:
		r.URL.Path, r.URL.RawQuery = "/", ""
		e.next.ServeHTTP(w, r)
	case *fault == page:
		http.Error(w, told, http.StatusForbidden)
	case *fault == reply:
		body, _ := io.ReadAll(r.Body)
		answer := func(id json.RawMessage) string {
			text, _ := json.Marshal(told)
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":%s}}`, id, text)
		}
		var one struct{ ID json.RawMessage }
		var many []struct{ ID json.RawMessage }
		w.Header().Set("Content-Type", "application/json")
		if json.Unmarshal(body, &many) == nil {
			var answers []string
			for _, call := range many {
				answers = append(answers, answer(call.ID))
			}
			_, _ = io.WriteString(w, "["+strings.Join(answers, ",")+"]")
			return
		}
		if json.Unmarshal(body, &one); one.ID == nil {
			one.ID = json.RawMessage("1")
		}
		_, _ = io.WriteString(w, answer(one.ID))
	default:
		panic(http.ErrAbortHandler)
	}
}

// spoiled is a world whose endpoints have secrets in their URLs and tell them.
type spoiled struct {
	*world
	canaries
	endpoints []*telltale
}

func newSpoiled(t *testing.T, follow bool) *spoiled {
	w := &spoiled{world: newWorld(t), canaries: make(canaries)}
	through := func(place, target string) string {
		e := &telltale{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { forward(w, r, target) })}
		w.endpoints = append(w.endpoints, e)
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		return w.url("http", place, strings.TrimPrefix(server.URL, "http://"))
	}
	c := w.cfg
	c.L1.URL, c.L2.URL, c.Beacon.URL = through("l1", c.L1.URL), through("l2", c.L2.URL), through("beacon", c.Beacon.URL)
	c.Beacon.Header = http.Header{"Authorization": {"Bearer " + w.add("beacon header")}}
	c.Beacon.Fallbacks = []string{through("beacon fallback", c.Beacon.URL)}
	_, _ = rand.Read(c.L2.JWTSecret[:])
	w.canaries["JWT secret"] = hex.EncodeToString(c.L2.JWTSecret[:])
	raw, err := c.P2P.Identity.Raw()
	require.NoError(t, err)
	w.canaries["peer key"] = hex.EncodeToString(raw)
	c.L1.HTTPPollInterval, c.L1.EpochPollInterval, c.L1.RuntimeConfigReloadInterval = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	c.Conductor = config.Conductor{Enabled: true, URL: through("conductor", "http://127.0.0.1:1"), CallTimeout: time.Second}
	c.Sequencer.Enabled, c.Sequencer.Stopped, c.RPC.EnableAdmin = true, true, true
	if follow {
		c.Follow.Sources = []string{through("source a", "http://127.0.0.1:1"), through("source b", "http://127.0.0.1:1"), w.url("ws", "source c", reserve(t))}
		c.Follow.Headers = http.Header{"X-Key": {w.add("source header")}}
	}
	return w
}

// forward passes a request on.
func forward(w http.ResponseWriter, r *http.Request, target string) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, strings.SplitN(target, "?", 2)[0], r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (w *spoiled) spoil(fault string) {
	for _, e := range w.endpoints {
		e.fault.Store(&fault)
	}
}

// rootLog makes what libraries log through geth's root logger go into a book, as the program does.
func rootLog(t *testing.T, book *logBook) {
	before := log.Root()
	log.SetDefault(book.logger())
	t.Cleanup(func() { log.SetDefault(before) })
}

// TestCanaries (spec D5): a running node whose endpoints fail in every way tells none of its secrets, in logs, metrics and answers of the RPC.
func TestCanaries(t *testing.T) {
	for _, follow := range []bool{false, true} {
		for _, fault := range []string{page, reply, hangUp} {
			t.Run(fmt.Sprintf("follow=%t/%s", follow, fault), func(t *testing.T) {
				w, book := newSpoiled(t, follow), new(logBook)
				rootLog(t, book)
				w.cfg.Metrics.Enabled, w.cfg.Metrics.ListenAddr, w.cfg.Metrics.ListenPort = true, "127.0.0.1", 0
				n := w.start(t, book)
				w.spoil(fault)
				time.Sleep(300 * time.Millisecond) // on real sockets: the node meets the fault by itself, and logs it
				var answers strings.Builder
				for method, args := range map[string][]any{
					"optimism_outputAtBlock": {"0x0"}, "optimism_safeHeadAtL1Block": {"0x0"}, "superroot_atTimestamp": {"0x0"}, "optimism_syncStatus": nil,
					"follow_status": nil, "admin_startSequencer": {common.Hash{1}}, "admin_sequencerActive": nil, "admin_stopSequencer": nil,
				} {
					var result json.RawMessage
					err := call(t.Context(), n.HTTPEndpoint(), &result, method, args...)
					fmt.Fprintln(&answers, method, string(result), err)
				}
				require.Contains(t, answers.String(), "optimism_outputAtBlock  failed")
				families, err := n.metrics.Registry().Gather()
				require.NoError(t, err)
				w.requireNone(t, "the RPC", answers.String())
				w.requireNone(t, "the metrics", fmt.Sprint(families))
				w.requireNone(t, "the configuration", fmt.Sprintf("%v %+v %#v", w.cfg, w.cfg, *w.cfg))
				require.NoError(t, n.Stop(t.Context()))
				w.requireNone(t, "the log", book.String())
			})
		}
	}
}

// TestCanariesAtStart: a node that does not come up says why, and none of its secrets.
func TestCanariesAtStart(t *testing.T) {
	type change = func(*spoiled, func(string) string)
	spoil := map[string]change{}
	for _, fault := range []string{page, reply, hangUp} {
		spoil[fault] = func(w *spoiled, _ func(string) string) { w.spoil(fault) }
	}
	for typo, format := range map[string]string{
		"refused": "http://user:%[1]s@127.0.0.1:1/%[1]s", "no scheme": "http//127.0.0.1/%[1]s", "no slashes": "https:127.0.0.1/%[1]s", "bad port": "http://127.0.0.1:%[1]s/",
		"bare": "%[1]s", "a file": "/%[1]s", "another scheme": "ftp://127.0.0.1/%[1]s", "WebSocket": "ws://127.0.0.1:1/%[1]s", "escape": "http://127.0.0.1/%%zz%[1]s",
		"no host": "http:///%[1]s", "user": "%[1]s:%[1]s@127.0.0.1", "space": "http://127.0.0.1 /%[1]s",
	} {
		for flag, set := range map[string]func(*config.Config, string){
			"l1": func(c *config.Config, v string) { c.L1.URL = v }, "l2": func(c *config.Config, v string) { c.L2.URL = v },
			"l1.beacon":        func(c *config.Config, v string) { c.Beacon.URL, c.Follow.Sources = v, nil },
			"l2.follow.source": func(c *config.Config, v string) { c.Follow.Sources = []string{v} },
			"conductor.rpc":    func(c *config.Config, v string) { c.Conductor.URL = v },
			"signer.endpoint": func(c *config.Config, v string) {
				c.Signer.Remote.Endpoint, c.Signer.Remote.Address, c.Signer.Remote.TLSConfig.Enabled = v, common.Address{1}.Hex(), false
			},
			"altda.da-server": func(c *config.Config, v string) {
				c.AltDA.Enabled, c.AltDA.DAServerURL, c.Follow.Sources = true, v, nil
			},
		} {
			spoil[flag+" "+typo] = func(w *spoiled, add func(string) string) { set(w.cfg, fmt.Sprintf(format, add(flag))) }
		}
	}
	for name, change := range spoil {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, book := newSpoiled(t, true), new(logBook)
			change(w, w.add)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
			defer cancel()
			n, err := New(ctx, w.cfg, book.logger(), "v1", metrics.New(), clock.SystemClock)
			if err == nil {
				err = n.Start(ctx)
				_ = n.Stop(t.Context())
			}
			w.requireNone(t, "the error", fmt.Sprintf("%v %+v %q", err, err, err))
			w.requireNone(t, "the log", book.String())
		})
	}
}
