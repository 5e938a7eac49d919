package faultproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const ask = `{"jsonrpc":"2.0","id":1,"method":"optimism_syncStatus","params":[]}`

// node serves a sync status whose safe head grows with every request, and echoes other methods.
func node(t *testing.T) *Proxy {
	t.Helper()
	var asked atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != ask {
			_, _ = w.Write(body)
			return
		}
		n := asked.Add(1)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":{"safe_l2":{"hash":"0xaa","number":%d,"timestamp":%d},"current_l1":{"hash":"0xbb","number":7}}}`, n, 100+n)
	}))
	t.Cleanup(server.Close)
	p, err := Start(server.URL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func safe(t *testing.T, p *Proxy) (hash string, number, timestamp uint64) {
	t.Helper()
	_, answer, err := post(t.Context(), p, ask)
	require.NoError(t, err)
	var reply struct {
		ID     int
		Result struct {
			Safe struct {
				Hash              string
				Number, Timestamp uint64
			} `json:"safe_l2"`
			CurrentL1 struct{ Hash string } `json:"current_l1"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &reply), answer)
	require.Equal(t, 1, reply.ID)
	require.Equal(t, "0xbb", reply.Result.CurrentL1.Hash, "what is not altered stays")
	return reply.Result.Safe.Hash, reply.Result.Safe.Number, reply.Result.Safe.Timestamp
}

func TestReplay(t *testing.T) {
	p := node(t)
	p.Set(Replay())
	for range 3 {
		_, number, _ := safe(t, p)
		require.EqualValues(t, 1, number)
	}
	p.Set(Pass())
	_, number, _ := safe(t, p)
	require.EqualValues(t, 4, number)
}

func TestLieAndEquivocate(t *testing.T) {
	p := node(t)
	p.Set(Lie())
	hash, number, _ := safe(t, p)
	require.Equal(t, "0x0000000000000000000000000000000000000000000000000000000000000002", hash)
	require.EqualValues(t, 1, number)
	p.Set(Equivocate())
	first, _, _ := safe(t, p)
	second, _, _ := safe(t, p)
	require.Equal(t, "0xaa", first)
	require.NotEqual(t, "0xaa", second)
}

func TestWrongChain(t *testing.T) {
	p := node(t)
	p.Set(WrongChain())
	hash, number, timestamp := safe(t, p)
	require.Equal(t, "0xaa", hash)
	require.Equal(t, 101+number, timestamp)
}

func TestOtherMethodsPass(t *testing.T) {
	p := node(t)
	p.Set(Lie())
	_, answer, err := post(t.Context(), p, `{"method":"optimism_version"}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"method":"optimism_version"}`, answer)
}

func TestSwitch(t *testing.T) {
	p, q := node(t), node(t)
	var s Switch
	p.Set(&s)
	status, _, err := post(t.Context(), p, ask)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadGateway, status)
	require.NoError(t, s.To(q.URL()))
	_, number, _ := safe(t, p)
	require.EqualValues(t, 1, number)
	require.EqualValues(t, 1, q.Requests())
}

func TestNamed(t *testing.T) {
	for _, name := range Names() {
		b, err := Named(name)
		require.NoError(t, err)
		require.NotNil(t, b)
	}
	_, err := Named("sulk")
	require.ErrorContains(t, err, "equivocate")
}
