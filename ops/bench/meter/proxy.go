package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/gorilla/websocket"
)

// Proxy listens on a free loopback port and passes HTTP requests and WebSocket connections on to a server, counting the
// calls that the clients make. What the server sends is passed on unseen.
type Proxy struct {
	Counter
	target   url.URL
	listener net.Listener
	server   *http.Server
	http     *httputil.ReverseProxy
	// end makes the WebSocket connections close, running waits for them.
	end     context.CancelFunc
	running sync.WaitGroup
}

// NewProxy starts a proxy for an http, https, ws or wss URL. It runs until Close.
func NewProxy(target string) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("counting proxy: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("counting proxy: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	p := &Proxy{target: *to, listener: listener, end: end}
	p.http = &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(p.withScheme("http")) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway) // the client reports it
		},
	}
	p.server = &http.Server{Handler: p, BaseContext: func(net.Listener) context.Context { return life }}
	go func() { _ = p.server.Serve(listener) }() // ends with Close
	return p, nil
}

// withScheme is the target as an URL of the http or ws kind, whichever it was given as.
func (p *Proxy) withScheme(kind string) *url.URL {
	u := p.target
	secure := u.Scheme == "https" || u.Scheme == "wss"
	if u.Scheme = kind; secure {
		u.Scheme += "s"
	}
	return &u
}

// HTTP is the URL for plain requests.
func (p *Proxy) HTTP() string { return "http://" + p.listener.Addr().String() }

// WS is the URL for WebSocket connections.
func (p *Proxy) WS() string { return "ws://" + p.listener.Addr().String() }

// Close stops listening and ends all connections.
func (p *Proxy) Close() error {
	p.end()
	err := p.server.Close()
	p.running.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("counting proxy: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if websocket.IsWebSocketUpgrade(r) {
		p.running.Add(1)
		defer p.running.Done()
		p.tunnel(w, r)
		return
	}
	Count(&p.Counter, p.http).ServeHTTP(w, r)
}

// Count stands in front of a handler of plain JSON-RPC requests and counts their calls.
func Count(counter *Counter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		counter.addMessage(bytes.TrimSpace(body))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}

// tunnel passes WebSocket messages to and fro until one side ends.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	header := make(http.Header)
	if auth := r.Header.Get("Authorization"); auth != "" {
		header.Set("Authorization", auth)
	}
	server, response, err := websocket.DefaultDialer.DialContext(r.Context(), p.withScheme("ws").String(), header)
	if err != nil {
		status := http.StatusBadGateway
		if response != nil {
			status = response.StatusCode
		}
		http.Error(w, err.Error(), status)
		return
	}
	defer server.Close()
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	client, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() {
		client.Close()
		server.Close()
	})
	defer stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer client.Close()
		_ = forward(server, client, func([]byte) {})
	}()
	_ = forward(client, server, p.addMessage)
	server.Close()
	<-back
}

// forward copies messages until reading or writing fails.
func forward(from, to *websocket.Conn, see func([]byte)) error {
	for {
		kind, message, err := from.ReadMessage()
		if err != nil {
			return err
		}
		see(bytes.TrimSpace(message))
		if err := to.WriteMessage(kind, message); err != nil {
			return err
		}
	}
}
