package sources

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/secret"
)

// FollowConfig says how to reach one source.
type FollowConfig struct {
	// URL is http, https, ws or wss, and may contain user info.
	URL string
	// Name is what the source is called in logs and metrics; default what of the URL can be shown.
	Name string
	// Hide takes secrets, of this source and others, out of errors: a source may say what it was sent. Nil hides nothing.
	Hide *secret.Hider
	// Headers go with every HTTP request and with the WebSocket handshake.
	Headers http.Header
	// Timeout bounds each call from dialling to the last byte, and each handshake that outlives its call; default 10 s.
	Timeout time.Duration
	// MaxConns is how many connections there may be over HTTP, those being dialled included; default 4. More calls at a time
	// wait for one.
	MaxConns int
	// MaxResponseBytes bounds what is read of one answer, after decompression; default 1 MiB, some 300 times what is
	// usual.
	MaxResponseBytes int64
}

const (
	defaultMaxConns         = 4
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

// transport carries calls to one source.
type transport interface {
	// call sends a request and returns its answer. The context has a deadline.
	call(ctx context.Context, c call) (answer, error)
	// close gives the connections back. A later call would dial anew.
	close()
}

// FollowClient asks one external consensus node. It dials when it is used first, and again after a failure. It is safe
// for concurrent use.
type FollowClient struct {
	name      string
	hide      *secret.Hider
	timeout   time.Duration
	transport transport
	recorder  rpc.Recorder
}

// NewFollowClient makes a client for one source, and refuses a URL that none can be made for. It does not dial, so a
// source that is down is no error. The recorder counts the requests; nil counts nothing.
func NewFollowClient(cfg FollowConfig, recorder rpc.Recorder) (*FollowClient, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(cfg.Name, secret.Shown(cfg.URL))
	timeout, limit := cmp.Or(cfg.Timeout, defaultTimeout), cmp.Or(cfg.MaxResponseBytes, defaultMaxResponseBytes)
	if timeout < 0 || limit < 0 {
		return nil, fmt.Errorf("source %s: a negative timeout (%s) or response limit (%d bytes) lets no answer through",
			name, timeout, limit)
	}
	c := &FollowClient{name: name, hide: cfg.Hide, timeout: timeout, recorder: recorder}
	if u.Scheme == "ws" || u.Scheme == "wss" {
		c.transport = newWSTransport(u, cfg.Headers, limit)
	} else {
		c.transport = newHTTPTransport(u.String(), cfg.Headers.Clone(), timeout, limit, cmp.Or(cfg.MaxConns, defaultMaxConns))
	}
	return c, nil
}

// Name is what the source is called: stable, without anything secret, fit for logs and metric labels.
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
func (c *FollowClient) Close() { c.transport.close() }

// ask calls a method and decodes its result.
func ask[T any](ctx context.Context, c *FollowClient, method string, decode func([]byte) (T, error), args ...any) (T, error) {
	var none T
	data, err := c.call(ctx, call{id: 1, method: method, params: args})
	if err != nil {
		return none, fmt.Errorf("source %s: %w", c.name, c.hide.Error(err))
	}
	result, err := decode(data)
	if err != nil {
		return none, fmt.Errorf("source %s: %w", c.name, c.hide.Error(failed(method, err, ErrMalformed)))
	}
	return result, nil
}

// call returns the result of a call.
func (c *FollowClient) call(ctx context.Context, request call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	record := c.record(ctx, request)
	got, err := c.transport.call(ctx, request)
	if err != nil {
		return nil, classify(request.method, err)
	}
	record(got)
	if got.err != nil {
		return nil, refusal(request.method, got)
	}
	return got.result, nil
}

// record counts a request, and returns what counts its answer.
func (c *FollowClient) record(ctx context.Context, request call) func(answer) {
	if c.recorder != nil {
		if done := c.recorder.RecordOutgoing(ctx, request); done != nil {
			return func(got answer) { done(ctx, request, got) }
		}
	}
	return func(answer) {}
}
