package sources

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// FollowConfig says how to reach one source.
type FollowConfig struct {
	// URL is http, https, ws or wss, and may contain user info.
	URL string
	// Headers go with every HTTP request and with the WebSocket handshake.
	Headers http.Header
	// Timeout bounds each call from dialling to the last byte; default 10 s.
	Timeout time.Duration
	// MaxResponseBytes bounds what is read of one answer, after decompression; default 1 MiB, some 300 times what is
	// usual.
	MaxResponseBytes int64
}

const (
	defaultTimeout          = 10 * time.Second
	defaultMaxResponseBytes = 1 << 20
)

// Identity is what tells the chain of a source from others. Two nodes of one rollup have equal identities.
type Identity struct {
	L1ChainID, L2ChainID eth.ChainID
	GenesisL1, GenesisL2 eth.BlockID
}

// IdentityOf is the identity of a node with this config.
func IdentityOf(cfg *rollup.Config) Identity {
	return Identity{
		L1ChainID: eth.ChainIDFromBig(cfg.L1ChainID),
		L2ChainID: eth.ChainIDFromBig(cfg.L2ChainID),
		GenesisL1: cfg.Genesis.L1,
		GenesisL2: cfg.Genesis.L2,
	}
}

// FollowClient asks one external consensus node. It dials when it is used first, and again after a failure. It is safe
// for concurrent use.
type FollowClient struct {
	name     string
	timeout  time.Duration
	limit    int64
	log      log.Logger
	dial     func(ctx context.Context) (*rpc.Client, error)
	httpPool *http.Client

	// conn holds the connection, nil while there is none. Whoever takes it out puts one back.
	conn chan *rpc.Client
	// allowance is how many bytes WebSocket connections may still receive until the next call.
	allowance *atomic.Int64
}

// NewFollowClient makes a client for one source, and refuses a URL that none can be made for. It does not dial, so a
// source that is down is no error. The recorder counts the requests; nil counts nothing.
func NewFollowClient(cfg FollowConfig, log log.Logger, recorder rpc.Recorder) (*FollowClient, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	timeout, limit := cmp.Or(cfg.Timeout, defaultTimeout), cmp.Or(cfg.MaxResponseBytes, defaultMaxResponseBytes)
	if timeout < 0 || limit < 0 {
		return nil, fmt.Errorf("source %s: a negative timeout (%s) or response limit (%d bytes) lets no answer through",
			redact(u), timeout, limit)
	}
	pool, allowance := newHTTPClient(limit), new(atomic.Int64)
	options := []rpc.ClientOption{
		rpc.WithHeaders(cfg.Headers.Clone()),
		rpc.WithHTTPClient(pool),
		rpc.WithWebsocketDialer(newWebsocketDialer(allowance)),
		rpc.WithWebsocketMessageSizeLimit(limit),
		rpc.WithRecorder(recorder),
	}
	c := &FollowClient{
		name:      redact(u),
		timeout:   timeout,
		limit:     limit,
		log:       log,
		dial:      func(ctx context.Context) (*rpc.Client, error) { return rpc.DialOptions(ctx, cfg.URL, options...) },
		httpPool:  pool,
		conn:      make(chan *rpc.Client, 1),
		allowance: allowance,
	}
	c.conn <- nil
	return c, nil
}

// Name is the URL of the source without anything secret: stable, and fit for logs and metric labels. Sources that only
// differ in user info, path or query have the same name.
func (c *FollowClient) Name() string { return c.name }

// Status asks for the sync status: one request, all refs out of its one response.
func (c *FollowClient) Status(ctx context.Context) (follow.Status, error) {
	return ask(ctx, c, "optimism_syncStatus", decodeStatus)
}

// Identity asks which chain the source is on. A source that does not serve the method gives ErrMethodMissing.
func (c *FollowClient) Identity(ctx context.Context) (Identity, error) {
	return ask(ctx, c, "optimism_rollupConfig", decodeIdentity)
}

// Close gives the connections back. A later call would dial anew.
func (c *FollowClient) Close() {
	if conn := <-c.conn; conn != nil {
		conn.Close()
	}
	c.conn <- nil
	c.httpPool.CloseIdleConnections()
}

// ask calls a method and decodes its result.
func ask[T any](ctx context.Context, c *FollowClient, method string, decode func([]byte) (T, error), args ...any) (T, error) {
	var none T
	data, err := c.call(ctx, method, args...)
	if err != nil {
		return none, fmt.Errorf("source %s: %w", c.name, classify(method, err))
	}
	result, err := decode(data)
	if err != nil {
		return none, fmt.Errorf("source %s: %w: %s: %w", c.name, ErrMalformed, method, err)
	}
	return result, nil
}

func (c *FollowClient) call(ctx context.Context, method string, args ...any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.allowance.Store(c.limit + wsOverhead)
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	var data json.RawMessage
	err = conn.CallContext(ctx, &data, method, args...)
	var reply rpc.Error
	if err != nil && !errors.As(err, &reply) {
		c.drop(conn)
	}
	return data, err
}

// connect returns the connection, and makes one if there is none.
func (c *FollowClient) connect(ctx context.Context) (*rpc.Client, error) {
	select {
	case conn := <-c.conn:
		var err error
		if conn == nil {
			conn, err = c.dial(ctx)
			c.log.Debug("Dialled source", "source", c.name, "ok", err == nil)
		}
		c.conn <- conn
		return conn, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drop gives up a connection that failed, so that nothing of a broken exchange is left for the next call.
func (c *FollowClient) drop(failed *rpc.Client) {
	conn := <-c.conn
	if conn == failed {
		conn.Close()
		conn = nil
	}
	c.conn <- conn
}
