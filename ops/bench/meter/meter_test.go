package meter

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

type echo struct{}

func (echo) GetBlockByNumber(number string, _ bool) string { return number }
func (echo) ChainId() string                               { return "0x1" }

// Ticks is a subscription that delivers one value.
func (echo) Ticks(ctx context.Context) (*rpc.Subscription, error) {
	notifier, _ := rpc.NotifierFromContext(ctx)
	sub := notifier.CreateSubscription()
	go func() { _ = notifier.Notify(sub.ID, "tick") }()
	return sub, nil
}

func newProxy(t *testing.T) *Proxy {
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName("eth", echo{}))
	ws := server.WebsocketHandler([]string{"*"})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "Bearer x", r.Header.Get("Authorization"))
		if r.Header.Get("Upgrade") != "" {
			ws.ServeHTTP(w, r)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(backend.Close)
	t.Cleanup(server.Stop)
	p, err := NewProxy(backend.URL)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestProxyCountsWhatPasses(t *testing.T) {
	for _, scheme := range []string{"http", "ws"} {
		t.Run(scheme, func(t *testing.T) {
			p := newProxy(t)
			url := p.HTTP()
			if scheme == "ws" {
				url = p.WS()
			}
			auth := rpc.WithHeader("Authorization", "Bearer x")
			client, err := rpc.DialOptions(t.Context(), url, auth)
			require.NoError(t, err)
			defer client.Close()

			var number, chain string
			require.NoError(t, client.Call(&number, "eth_getBlockByNumber", "finalized", false))
			require.Equal(t, "finalized", number)
			before := p.Counts()
			require.Equal(t, Counts{"eth_getBlockByNumber:finalized": 1}, before)
			require.NoError(t, client.BatchCall([]rpc.BatchElem{
				{Method: "eth_getBlockByNumber", Args: []any{"0x7", false}, Result: &number},
				{Method: "eth_chainId", Result: &chain},
			}))
			require.Equal(t, "0x7", number)
			require.Equal(t, Counts{"eth_getBlockByNumber": 1, "eth_chainId": 1}, p.Counts().Since(before))
			require.EqualValues(t, 3, p.Counts().Total())
			require.Equal(t, Counts{"a": 3, "b": 1}, Counts{"a": 1}.Plus(Counts{"a": 2, "b": 1}))
		})
	}
}

func TestProxyPassesSubscriptions(t *testing.T) {
	p := newProxy(t)
	client, err := rpc.DialOptions(t.Context(), p.WS(), rpc.WithHeader("Authorization", "Bearer x"))
	require.NoError(t, err)
	defer client.Close()
	ticks := make(chan string, 1)
	sub, err := client.Subscribe(t.Context(), "eth", ticks, "ticks")
	require.NoError(t, err)
	require.Equal(t, "tick", <-ticks)
	require.NoError(t, p.Close(), "with the subscription open")
	<-sub.Err()
}

func TestMalformedIsCounted(t *testing.T) {
	var c Counter
	for _, message := range []string{"", "{", "[", `{"method":1}`} {
		c.addMessage([]byte(message))
	}
	require.Equal(t, Counts{"malformed": 4}, c.Counts())
}
