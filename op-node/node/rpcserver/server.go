// Package rpcserver is the JSON-RPC server of the node: geth's, behind bounds on everything that a client decides. What a
// request may cost is settled before geth sees it: how long it is, how many calls it has, how long their names are, and how
// many requests are worked on at the same time. It knows neither the node nor its configuration.
package rpcserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/ethereum/go-ethereum/log"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/semaphore"

	oplog "github.com/ethereum-optimism/optimism/op-service/log"
)

// Options say what a server is to be. All of them have to be given, but for Waiting, JWTSecret and Refused.
type Options struct {
	// Version is what /healthz and health_status answer.
	Version string
	// Origins are the web pages, as scheme://host:port, whose scripts may use the server; * stands for all.
	Origins []string
	// Hosts are the names under which the server may be asked for, beside IP addresses; * stands for all.
	Hosts []string
	// JWTSecret, if there is one, is what every call has to be signed with, as in the engine API. /healthz and the paths of
	// Handle stay open.
	JWTSecret []byte
	// Limits bound what a client can make the server do.
	Limits Limits
	// Waiting are the methods that answer late on purpose, and have a bound of their own. They take no part in
	// Limits.Requests, and have to come alone, not in a batch.
	Waiting []string
	// Recorder makes the recorder of calls. It is told how to find out whether a method is served.
	Recorder func(served func(method string) bool) rpc.Recorder
	// Refused is told of each request that a limit did not let through. Any goroutine may call it.
	Refused func(reason Reason)
	// Log gets a line for each HTTP request, at debug level.
	Log log.Logger
}

// Limits bound what a client can make the server do. All are positive.
type Limits struct {
	// Body is how long a request may be, in bytes.
	Body int
	// Batch is how many calls a request may have.
	Batch int
	// Answer is how long the answers to one batch may be together, in bytes. What comes after that is answered with an error.
	Answer int
	// Requests is how many requests are worked on at the same time; more wait, for a second. One that is as long as Body, or has as
	// many calls as Batch, counts as half of them.
	Requests int
}

// Check refuses limits that would let nothing through.
func (l Limits) Check() error {
	if l.Body < 1 || l.Batch < 1 || l.Answer < 1 || l.Requests < 1 {
		return errors.New("a limit of the RPC server is less than one")
	}
	return nil
}

// Server is an HTTP handler. Namespaces and paths are registered first; from Open on it serves, until Stop.
type Server struct {
	rpc     *rpc.Server
	mux     *http.ServeMux
	outer   http.Handler
	limits  Limits
	waiting []string
	refused func(Reason)
	places  *semaphore.Weighted
	bodies  atomic.Int64    // bytes of long requests in memory
	methods map[string]bool // written before open is set, only read after
	open    atomic.Bool
}

// New returns a server that answers every request with 503 until it is opened.
func New(o Options) (*Server, error) {
	if err := o.Limits.Check(); err != nil {
		return nil, err
	}
	if o.Refused == nil {
		o.Refused = func(Reason) {}
	}
	s := &Server{
		rpc: rpc.NewServer(), mux: http.NewServeMux(), limits: o.Limits, waiting: o.Waiting, refused: o.Refused,
		places: semaphore.NewWeighted(int64(o.Limits.Requests)), methods: map[string]bool{"rpc_modules": true},
	}
	s.rpc.SetRecorder(weighing{o.Recorder(func(method string) bool { return s.methods[method] })})
	s.rpc.SetHTTPBodyLimit(o.Limits.Body)
	s.rpc.SetBatchLimits(o.Limits.Batch, o.Limits.Answer)
	stack := gethnode.NewHTTPHandlerStack(http.HandlerFunc(s.serveCalls), o.Origins, o.Hosts, o.JWTSecret)
	s.mux.Handle("/{$}", stack)
	healthy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"version": o.Version})
	}
	s.mux.HandleFunc("/healthz", healthy)
	s.mux.HandleFunc("/healthz/{$}", healthy)
	s.outer = oplog.NewLoggingMiddleware(o.Log, s.mux)
	return s, s.Register(rpc.API{Namespace: "health", Service: health(o.Version)})
}

// health is the health namespace.
type health string

// Status serves health_status.
func (h health) Status() string { return string(h) }

// Register adds a namespace. It is called before Open.
func (s *Server) Register(api rpc.API) error {
	if s.open.Load() {
		return errors.New("the RPC server is open already")
	}
	if err := s.rpc.RegisterName(api.Namespace, api.Service); err != nil {
		return fmt.Errorf("RPC namespace %s: %w", api.Namespace, err)
	}
	for method := range reflect.TypeOf(api.Service).Methods() {
		first, rest := method.Name[:1], method.Name[1:]
		s.methods[api.Namespace+"_"+strings.Map(unicode.ToLower, first)+rest] = true
	}
	return nil
}

// Methods are the names of all methods, sorted. It is called after Open, or by who registers.
func (s *Server) Methods() []string { return slices.Sorted(maps.Keys(s.methods)) }

// Handle adds a path beside the RPC. It is called before Open.
func (s *Server) Handle(path string, handler http.Handler) { s.mux.Handle(path, handler) }

// Open lets requests in.
func (s *Server) Open() { s.open.Store(true) }

// Stop ends calls that are running. The HTTP server in front is stopped by its owner.
func (s *Server) Stop() { s.rpc.Stop() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.open.Load() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the node is starting or stopping", http.StatusServiceUnavailable)
		return
	}
	s.outer.ServeHTTP(w, r)
}

// waits tells whether a method answers late on purpose.
func (s *Server) waits(method string) bool { return slices.Contains(s.waiting, method) }
