//go:build !race

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

var hostileFor = flag.Duration("hostile-for", 20*time.Second, "how `long` each attack of TestHostileNeighbours lasts")

// usage is what a process holds.
type usage struct{ residentMB, descriptors, goroutines, series int }

// attacked is a follower under attack, and what watches it.
type attacked struct {
	*stack.Follower
	metrics, profile string
}

// attack starts a follower of two sources, which shows what it holds.
func attack(t *testing.T, s *stack.Stack, name string, sources ...string) *attacked {
	metrics, profile := unused(t), unused(t)
	f := startFollower(t, s, stack.FollowerSpec{Name: name, Sources: sources, Extra: []string{
		"--metrics.enabled", "--metrics.addr=127.0.0.1", "--metrics.port=" + metrics,
		"--pprof.enabled", "--pprof.addr=127.0.0.1", "--pprof.port=" + profile,
	}})
	return &attacked{Follower: f, metrics: "http://127.0.0.1:" + metrics + "/metrics", profile: "http://127.0.0.1:" + profile + "/debug/pprof/goroutine?debug=1"}
}

// unused is a port that nobody listens on, below those that outgoing connections take.
func unused(t *testing.T) string {
	for range 100 {
		port := strconv.Itoa(10000 + rand.N(20000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	require.FailNow(t, "no port is free")
	return ""
}

func (a *attacked) usage(t *testing.T) (u usage) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if n, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err := fmt.Sscan(n, &u.residentMB)
			require.NoError(t, err)
			u.residentMB /= 1024
		}
	}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.PID()))
	require.NoError(t, err)
	u.descriptors = len(list)
	lines(t, a.profile, func(line string) {
		if n, ok := strings.CutPrefix(line, "goroutine profile: total "); ok {
			u.goroutines, err = strconv.Atoi(n)
			require.NoError(t, err)
		}
	})
	lines(t, a.metrics, func(line string) {
		// Peers are scored now and then, whoever attacks: a histogram of each kind of score appears with the first time.
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "peer_scores") {
			u.series++
		}
	})
	return u
}

func lines(t *testing.T, url string, visit func(line string)) {
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	scanner := bufio.NewScanner(answer.Body)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		visit(scanner.Text())
	}
	require.NoError(t, scanner.Err())
}

// endure lets an attack go on, and checks that the node holds no more than before, that unsafe blocks keep coming and that
// labels follow.
func (a *attacked) endure(t *testing.T, s *stack.Stack) {
	// Every usual metric has shown itself by then.
	waitFor(t, 2*finalTimeout, "a final block", func() bool { return heads(t, a)[mirror.Finalized].Number > 0 })
	// The heap of a new process grows for a while, whatever happens.
	time.Sleep(*hostileFor / 5)
	before, most := a.usage(t), usage{}
	var gap time.Duration
	last, unsafe := time.Now(), uint64(0)
	sampled, noted := time.Now(), time.Now()
	for end := time.Now().Add(*hostileFor); time.Now().Before(end); time.Sleep(pollInterval) {
		if n := heads(t, a)[mirror.Unsafe].Number; n != unsafe {
			gap, last, unsafe = max(gap, time.Since(last)), time.Now(), n
		}
		if time.Since(sampled) > time.Second {
			now := a.usage(t)
			most = usage{max(most.residentMB, now.residentMB), max(most.descriptors, now.descriptors),
				max(most.goroutines, now.goroutines), max(most.series, now.series)}
			sampled = time.Now()
			if time.Since(noted) > *hostileFor/10 {
				noted = time.Now()
				t.Logf("%s now: %+v", a.Name(), now)
			}
		}
	}
	gap = max(gap, time.Since(last))
	t.Logf("%s: before %+v, most %+v, longest unsafe gap %d ms in %s", a.Name(), before, most, gap.Milliseconds(), *hostileFor)
	room := 50
	if *raceNode {
		room *= 4 // the detector keeps a shadow of all memory that was ever touched
	}
	require.LessOrEqual(t, most.residentMB, before.residentMB+room)
	require.LessOrEqual(t, most.descriptors, before.descriptors+50)
	require.LessOrEqual(t, most.goroutines, before.goroutines+50)
	require.LessOrEqual(t, most.series, before.series+100)
	require.Less(t, gap, 2*hostileBlockTime+time.Second, "unsafe blocks, and the machine's noise")
	target := heads(t, s.Source())[mirror.Safe].Number
	waitFor(t, safeTimeout, "labels follow", func() bool { return heads(t, a)[mirror.Safe].Number >= target })
}

const hostileBlockTime = 2 * time.Second

// Sources, RPC clients and other followers that do their worst cost a follower nothing that lasts, and its chain nothing
// (spec I8).
func TestHostileNeighbours(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(o *stack.Options) { o.L1BlockTime, o.L2BlockTime = 4*time.Second, hostileBlockTime })
	t.Run("all", func(t *testing.T) { // before the devnet goes down
		for name, story := range map[string]func(t *testing.T, s *stack.Stack){
			"TLS silence":                    tlsSilence,
			"requests through the WebSocket": reverseRequests,
			"a byte a second":                drip,
			"cancel storm":                   cancelStorm,
			"followers of each other":        followersOfEachOther,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story(t, s)
			})
		}
	})
}

func tlsSilence(t *testing.T, s *stack.Stack) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	a := attack(t, s, "tls", s.Source().RPC(), "https://"+l.Addr().String(), "wss://"+l.Addr().String())
	a.endure(t, s)
}

func reverseRequests(t *testing.T, s *stack.Stack) {
	var upgrader websocket.Upgrader
	var sent atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for range 5000 {
			text := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"evil_%d","params":[]}`, sent.Add(1))
			if conn.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
				return
			}
		}
		_, _, _ = conn.ReadMessage()
	}))
	t.Cleanup(server.Close)
	a := attack(t, s, "reverse", s.Source().RPC(), "ws"+strings.TrimPrefix(server.URL, "http"))
	a.endure(t, s)
	text, err := os.ReadFile(a.LogFile())
	require.NoError(t, err)
	require.NotContains(t, string(text), "evil_")
	require.Positive(t, sent.Load())
}

func drip(t *testing.T, s *stack.Stack) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for _, c := range []byte(`{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat(" ", 3600)) {
			if _, err := w.Write([]byte{c}); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}))
	t.Cleanup(server.Close)
	attack(t, s, "drip", s.Source().RPC(), server.URL).endure(t, s)
}

// askSafeHeads has clients ask a node for random safe heads until the returned function is called, which says how many
// questions and answers there were. A client hangs up after its patience and pauses after each question.
func askSafeHeads(t *testing.T, url string, clients int, patience, pause time.Duration) (stop func() (asked, answered uint64)) {
	ctx, cancel := context.WithCancel(t.Context())
	var questions, answers atomic.Uint64
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"optimism_safeHeadAtL1Block","params":["0x%x"]}`, rand.N(1<<20))
				question, hangUp := context.WithTimeout(ctx, patience)
				request, err := http.NewRequestWithContext(question, http.MethodPost, url, strings.NewReader(body))
				if err != nil {
					t.Error(err)
				}
				request.Header.Set("Content-Type", "application/json")
				questions.Add(1)
				if answer, err := http.DefaultClient.Do(request); err == nil {
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
					answers.Add(1)
				}
				hangUp()
				time.Sleep(pause)
			}
		})
	}
	return func() (asked, answered uint64) {
		cancel()
		running.Wait()
		return questions.Load(), answers.Load()
	}
}

func cancelStorm(t *testing.T, s *stack.Stack) {
	proxy, err := faultproxy.Start(s.Source().RPC())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	lookups := faultproxy.CountCalls("optimism_safeHeadAtL1Block")
	proxy.Set(lookups.Over(faultproxy.Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })))
	a := attack(t, s, "storm", proxy.URL(), s.Source().RPC())
	stop := askSafeHeads(t, a.RPC(), 10, 5*time.Millisecond, 50*time.Millisecond)
	a.endure(t, s)
	asked, _ := stop()
	t.Logf("%d questions of clients, %d calls of the source, %d at a time", asked, lookups.Total(), lookups.Most())
	require.Positive(t, lookups.Total())
	require.LessOrEqual(t, lookups.Total(), 2*asked)
	require.LessOrEqual(t, lookups.Most(), 4)
}

// withoutRecords is a source that keeps no record of safe heads, and counts who asks for one.
func withoutRecords(t *testing.T, url string, asked *atomic.Uint64) string {
	proxy, err := faultproxy.Start(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	proxy.Set(faultproxy.Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		var call struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(body, &call) == nil && call.Method == "optimism_safeHeadAtL1Block" {
			asked.Add(1)
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"safe head database not enabled"}}`, call.ID)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next.ServeHTTP(w, r)
	}))
	return proxy.URL()
}

func followersOfEachOther(t *testing.T, s *stack.Stack) {
	var asked, relayed atomic.Uint64
	honest := withoutRecords(t, s.Source().RPC(), &asked)
	ring, err := faultproxy.Start(s.Source().RPC())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	var other faultproxy.Switch
	ring.Set(faultproxy.Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		relayed.Add(1)
		other.Serve(w, r, next)
	}))
	a := attack(t, s, "one", honest, ring.URL())
	b := attack(t, s, "another", honest, a.RPC())
	require.NoError(t, other.To(b.RPC()))
	const clients = 3
	stopA := askSafeHeads(t, a.RPC(), clients, 5*time.Second, 50*time.Millisecond)
	stopB := askSafeHeads(t, b.RPC(), clients, 5*time.Second, 50*time.Millisecond)
	a.endure(t, s)
	ofA, answeredA := stopA()
	ofB, answeredB := stopB()
	questions := ofA + ofB
	t.Logf("%d questions of clients, %d calls of the source, %d requests over the ring", questions, asked.Load(), relayed.Load())
	require.LessOrEqual(t, asked.Load(), 3*questions, "one call at each node that is asked")
	require.GreaterOrEqual(t, answeredA+answeredB+2*clients, questions, "all but the last are answered")
}
