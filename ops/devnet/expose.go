package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lightcl/op-node/ops/devnet/closer"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// The ports on which the devnet is exposed. Further engines have the ports above firstEngine.
const (
	l1Port      = 8545
	l1WSPort    = 8546
	sourcePort  = 9545
	firstEngine = 8551
)

// exposure is what op-nodes that run elsewhere, as in containers, may use of the devnet: L1, the source, and engines that
// no node here drives.
type exposure struct {
	// host is the address to listen on; empty exposes nothing.
	host string
	// engines is how many op-geths there are for them.
	engines int
	// files is the folder that gets the JWT secret, the rollup config and the L1 chain config.
	files string
}

func (e exposure) check() error {
	switch {
	case e.host == "" && (e.engines > 0 || e.files != ""):
		return errors.New("--engines and --files go with --expose=ADDRESS")
	case e.host != "" && e.engines < 0:
		return fmt.Errorf("--engines=%d: give 0 or more", e.engines)
	case e.host != "" && e.files == "":
		return errors.New("--expose needs --files=FOLDER: a node cannot be started without the chain's config")
	}
	return nil
}

// start opens the ports, and writes the files last: once they are there, everything is.
func (e exposure) start(ctx context.Context, s *stack.Stack, cleanup *closer.Closer) error {
	if e.host == "" {
		return nil
	}
	targets := map[int]string{l1Port: s.L1().HTTP(), l1WSPort: s.L1().WS(), sourcePort: s.Source().RPC()}
	for i := range e.engines {
		el, err := s.AddEL(ctx, fmt.Sprintf("engine-%d", i+1))
		if err != nil {
			return err
		}
		targets[firstEngine+i] = el.AuthHTTP()
	}
	for port, target := range targets {
		if err := relay(net.JoinHostPort(e.host, strconv.Itoa(port)), target, cleanup); err != nil {
			return fmt.Errorf("--expose: %w", err)
		}
	}
	if err := os.MkdirAll(e.files, 0o755); err != nil {
		return fmt.Errorf("--files: %w", err)
	}
	files := s.Files()
	for name, file := range map[string]string{"jwt.hex": files.JWT, "rollup.json": files.Rollup, "l1-chain.json": files.L1Chain} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(e.files, name), text, 0o644); err != nil {
			return fmt.Errorf("--files: %w", err)
		}
	}
	return nil
}

// relay passes HTTP and WebSocket requests on to a server of this process, under the name that it knows itself by.
func relay(address, target string, cleanup *closer.Closer) error {
	to, err := url.Parse(target)
	if err != nil {
		return err
	}
	if to.Scheme == "ws" {
		to.Scheme = "http"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = to.Host
		}},
		ReadHeaderTimeout: 10 * time.Second,
	}
	cleanup.AddErr("relay "+address, server.Close)
	go func() { _ = server.Serve(listener) }()
	return nil
}
