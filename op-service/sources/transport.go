package sources

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// maxHeaderBytes is how large the headers of an HTTP answer may be.
const maxHeaderBytes = 64 << 10

// newHTTPClient makes a client whose answers, decompressed, end in an error after limit bytes. It follows no redirects:
// they would carry the configured headers to a place that nobody configured.
func newHTTPClient(limit int64) *http.Client {
	return &http.Client{
		Transport: &limitedTransport{
			limit: limit,
			base: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				ForceAttemptHTTP2:      true,
				MaxIdleConnsPerHost:    2,
				MaxResponseHeaderBytes: maxHeaderBytes,
				IdleConnTimeout:        90 * time.Second,
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type limitedTransport struct {
	base  *http.Transport
	limit int64
}

// RoundTrip implements http.RoundTripper.
func (t *limitedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: t.limit}
	return resp, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (t *limitedTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// limitedBody fails with errTooLarge instead of passing on more than it has left.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than is left tells an answer that just fits from one that does not.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}

// wsOverhead is what a WebSocket connection may receive for one call beside the answer: handshakes and pings.
const wsOverhead = 256 << 10

// newWebsocketDialer makes a dialer whose connections receive no more than the allowance holds, which covers also what
// has no limit of its own: the handshake, and messages that nobody asked for.
func newWebsocketDialer(allowance *atomic.Int64) websocket.Dialer {
	var dialer net.Dialer
	return websocket.Dialer{
		Proxy: http.ProxyFromEnvironment,
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &meteredConn{Conn: conn, allowance: allowance}, nil
		},
	}
}

// meteredConn takes every byte it receives from the allowance, and fails when that is used up.
type meteredConn struct {
	net.Conn
	allowance *atomic.Int64
}

func (c *meteredConn) Read(p []byte) (int, error) {
	if c.allowance.Load() <= 0 {
		return 0, errTooLarge
	}
	n, err := c.Conn.Read(p)
	c.allowance.Add(-int64(n))
	return n, err
}
