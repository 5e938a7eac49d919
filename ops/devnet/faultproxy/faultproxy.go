// Package faultproxy stands between an RPC client and its server and misbehaves on command.
//
// What it does with a request is a Behaviour, which can be changed at any time. Behaviours that alter answers are
// written with the next handler they are given: call it with a recorder, change what was recorded, pass it on.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// Behaviour decides what becomes of one request. It is called from many goroutines at once. The request's context
// ends when the client gives up or the proxy is closed.
type Behaviour interface {
	Serve(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// Proxy is a listening reverse proxy. Its methods may be called from any goroutine.
type Proxy struct {
	url       string
	server    *http.Server
	upstream  http.Handler
	behaviour atomic.Pointer[Behaviour]
	requests  atomic.Uint64
	// end cancels the base of all requests' contexts.
	end context.CancelFunc
}

// Start listens on a free loopback port and passes everything on to target, a http URL, until told otherwise.
func Start(target string) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("proxy target: %w", err)
	}
	if to.Scheme != "http" || to.Host == "" {
		return nil, fmt.Errorf("proxy target %q: want http://host:port", target)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	p := &Proxy{
		url: "http://" + listener.Addr().String(),
		upstream: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
			// The client sees the gateway error; nobody reads a log of it.
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		},
		end: end,
	}
	p.Set(Pass())
	p.server = &http.Server{
		Handler:     http.HandlerFunc(p.serve),
		BaseContext: func(net.Listener) context.Context { return life },
	}
	go func() { _ = p.server.Serve(listener) }() // ends with Close
	return p, nil
}

// URL is where clients connect.
func (p *Proxy) URL() string { return p.url }

// Set makes the proxy treat requests from now on with b. Requests under way keep the behaviour they met.
func (p *Proxy) Set(b Behaviour) { p.behaviour.Store(&b) }

// Requests is how many requests have arrived.
func (p *Proxy) Requests() uint64 { return p.requests.Load() }

// Close stops listening and drops every connection, stalled ones included.
func (p *Proxy) Close() error {
	p.end()
	if err := p.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("proxy: %w", err)
	}
	return nil
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	(*p.behaviour.Load()).Serve(w, r, p.upstream)
}

// Func is a function that is a Behaviour.
type Func func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Serve calls f.
func (f Func) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) { f(w, r, next) }

// Pass hands every request on unchanged.
func Pass() Behaviour {
	return Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
}

// Stall accepts every request and never answers it. The connection stays open until the client gives up or the
// proxy is closed, whatever is set meanwhile.
func Stall() Behaviour {
	return Func(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		// The server notices that a client went away only once the request has been read.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // the way to drop the connection without an answer
	})
}

// Fail answers every request with an HTTP status, such as 503, and nothing else.
func Fail(status int) Behaviour {
	return Func(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, http.StatusText(status), status)
	})
}

// Delay hands every request on after d.
func Delay(d time.Duration) Behaviour {
	return Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	})
}
