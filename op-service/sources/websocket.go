package sources

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// wsOverhead is what a WebSocket connection may receive for one call beside the answer: handshakes and pings.
const wsOverhead = 256 << 10

// wsTransport carries calls over one WebSocket connection, which it dials when it is used first, and again once it has
// ended. It is safe for concurrent use.
type wsTransport struct {
	url     string
	headers http.Header
	limit   int64
	dialer  websocket.Dialer
	// conn holds the connection, nil while there is none. Whoever takes it out puts one back.
	conn chan *wsConn
	// allowance is how many bytes connections may still receive until the next call.
	allowance *atomic.Int64
}

// newWSTransport makes a transport whose messages are limit bytes at most, and whose connections receive no more than
// that for each call, which covers also what has no limit of its own: the handshake, and what nobody asked for.
func newWSTransport(u *url.URL, headers http.Header, limit int64) *wsTransport {
	headers = maps.Clone(headers)
	if headers == nil {
		headers = http.Header{}
	}
	target := *u
	if u.User != nil { // the dialer refuses it in a URL
		password, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		headers["Authorization"] = []string{"Basic " + basic}
		target.User = nil
	}
	t := &wsTransport{
		url: target.String(), headers: headers, limit: limit,
		conn: make(chan *wsConn, 1), allowance: new(atomic.Int64),
	}
	t.dialer = websocket.Dialer{Proxy: http.ProxyFromEnvironment, NetDialContext: t.dial}
	t.conn <- nil
	return t
}

func (t *wsTransport) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: conn, allowance: t.allowance}, nil
}

// call implements transport. A caller that goes away leaves the connection to others; one that waits in vain until its
// deadline takes it out of use, and what others asked over it is still waited for.
func (t *wsTransport) call(ctx context.Context, c call) (answer, error) {
	t.allowance.Store(t.limit + wsOverhead)
	conn, err := t.connect(ctx)
	if err != nil {
		return answer{}, err
	}
	got, err := conn.call(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) {
		if in := <-t.conn; in != conn {
			t.conn <- in
		} else {
			t.conn <- nil
		}
		conn.retire()
	}
	return got, err
}

// connect returns the connection, and makes one if there is none in use.
func (t *wsTransport) connect(ctx context.Context) (*wsConn, error) {
	select {
	case conn := <-t.conn:
		var err error
		if conn == nil || conn.ended() {
			conn, err = t.handshake(ctx)
		}
		t.conn <- conn
		return conn, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *wsTransport) handshake(ctx context.Context) (*wsConn, error) {
	conn, response, err := t.dialer.DialContext(ctx, t.url, t.headers)
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && response != nil:
		page, _ := io.ReadAll(response.Body) // which the dialer has cut to 1 kB
		return nil, &statusError{code: response.StatusCode, page: page}
	case err != nil:
		return nil, err
	}
	conn.SetReadLimit(t.limit)
	c := &wsConn{conn: conn, pending: make(map[string]chan<- answer), over: make(chan struct{}), writing: make(chan struct{}, 1)}
	go c.read()
	return c, nil
}

// close implements transport.
func (t *wsTransport) close() {
	conn := <-t.conn
	t.conn <- nil
	if conn != nil {
		conn.end(net.ErrClosed)
		<-conn.over
	}
}

// wsConn is one connection. Its reader is a goroutine, which ends with it.
type wsConn struct {
	conn *websocket.Conn
	// writing is held by whoever writes.
	writing chan struct{}
	// over is closed once the reader has ended.
	over chan struct{}

	mu      sync.Mutex
	lastID  uint64
	pending map[string]chan<- answer
	retired bool
	err     error // why the connection ended, nil before
}

// call sends a request and waits for its answer.
func (c *wsConn) call(ctx context.Context, request call) (answer, error) {
	arrived := make(chan answer, 1)
	id, err := c.enter(&request, arrived)
	if err != nil {
		return answer{}, err
	}
	defer c.leave(id)
	data, err := request.encode()
	if err != nil {
		return answer{}, err
	}
	if err := c.write(ctx, data); err != nil {
		return answer{}, err
	}
	select {
	case got := <-arrived:
		return got, nil
	case <-c.over:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	select {
	case got := <-arrived: // the last message
		return got, nil
	default:
		return answer{}, c.reason()
	}
}

// enter registers a request, whose id it sets.
func (c *wsConn) enter(request *call, arrived chan<- answer) (id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return "", c.err
	}
	c.lastID++
	request.id, id = c.lastID, strconv.FormatUint(c.lastID, 10)
	c.pending[id] = arrived
	return id, nil
}

// leave ends the waiting for an answer, and a connection that is out of use with the last of them.
func (c *wsConn) leave(id string) {
	c.mu.Lock()
	delete(c.pending, id)
	last := c.retired && len(c.pending) == 0
	c.mu.Unlock()
	if last {
		c.end(net.ErrClosed)
	}
}

// retire takes the connection out of use. It ends once nobody waits for an answer.
func (c *wsConn) retire() {
	c.mu.Lock()
	c.retired = true
	last := len(c.pending) == 0
	c.mu.Unlock()
	if last {
		c.end(net.ErrClosed)
	}
}

func (c *wsConn) write(ctx context.Context, data []byte) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.over:
		return c.reason()
	}
	deadline, _ := ctx.Deadline()
	_ = c.conn.SetWriteDeadline(deadline) // which cannot fail
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.NetConn().SetWriteDeadline(time.Now())
		close(interrupted)
	})
	err := c.conn.WriteMessage(websocket.TextMessage, data)
	if !stop() {
		<-interrupted // or the next one to write would be
	}
	if err != nil {
		c.end(err) // half a message may be out
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.reason()
	}
	return nil
}

// read hands on the answers until the connection ends.
func (c *wsConn) read() {
	defer close(c.over)
	for {
		_, data, err := c.conn.ReadMessage()
		if err == nil {
			err = c.deliver(data)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// deliver hands an answer to who waits for it. One that comes too late is dropped; anything else ends the connection.
func (c *wsConn) deliver(data []byte) error {
	id, got, err := decodeAnswer(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if arrived, ok := c.pending[id]; ok {
		delete(c.pending, id)
		arrived <- got
		return nil
	}
	number, err := strconv.ParseUint(id, 10, 64)
	switch {
	case err == nil && 0 < number && number <= c.lastID:
		return nil
	case got.err != nil: // without an id: about the connection
		return got.err
	default:
		return fmt.Errorf("%w: %w", ErrMalformed, errNotAsked)
	}
}

// end closes the connection for a reason, of which the first counts.
func (c *wsConn) end(reason error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = reason
	}
	c.mu.Unlock()
	_ = c.conn.Close() // there is nothing more to be had of it
}

// reason is why the connection ended, nil before.
func (c *wsConn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// ended tells whether the connection has ended.
func (c *wsConn) ended() bool { return c.reason() != nil }

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
