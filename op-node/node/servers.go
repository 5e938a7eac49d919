package node

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/httputil"
	"github.com/ethereum-optimism/optimism/op-service/oppprof"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"

	"github.com/lightcl/op-node/op-node/node/api"
)

// rpcServer is the JSON-RPC server. Its port is bound at once, so that a port in use is noticed before anything slow; until it is
// opened, every request is answered with 503.
type rpcServer struct {
	http    *httputil.HTTPServer
	handler *oprpc.Handler
	open    atomic.Bool
}

// ServeHTTP implements http.Handler.
func (s *rpcServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.open.Load() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the node is starting or stopping", http.StatusServiceUnavailable)
		return
	}
	s.handler.ServeHTTP(w, r)
}

func (s *rpcServer) address() string {
	addr := s.http.Addr()
	if addr == nil {
		return ""
	}
	return addr.String()
}

// bindServers binds the ports of RPC, metrics and profiling. The latter two work from here on.
func (n *Node) bindServers() error {
	rpcCfg := n.cfg.RPC
	n.rpc = &rpcServer{handler: oprpc.NewHandler(n.version,
		oprpc.WithLogger(n.log),
		oprpc.WithCORSHosts([]string{"*"}),
		oprpc.WithRPCRecorder(n.metrics.NewRecorder("main")),
	)}
	n.cleanups.addFunc("RPC handler", n.rpc.handler.Stop)
	n.rpc.http = httputil.NewHTTPServer(net.JoinHostPort(rpcCfg.ListenAddr, strconv.Itoa(rpcCfg.ListenPort)), n.rpc)
	if err := n.rpc.http.Start(); err != nil {
		return fmt.Errorf("failed to init the RPC server: --rpc.addr, --rpc.port: %w", err)
	}
	n.cleanups.add("RPC port", n.rpc.http.Stop)

	if n.cfg.Metrics.Enabled {
		server, err := n.metrics.StartServer(n.cfg.Metrics.ListenAddr, n.cfg.Metrics.ListenPort)
		if err != nil {
			return fmt.Errorf("failed to init the metrics server: --metrics.addr, --metrics.port: %w", err)
		}
		n.cleanups.add("metrics server", server.Stop)
		n.log.Info("started metrics server", "addr", server.Addr())
	} else {
		n.log.Info("metrics disabled")
	}
	n.metrics.RecordInfo(n.version)
	n.metrics.RecordHardforkActivationTimes(n.cfg.Chain.Rollup)

	pprof := n.cfg.Pprof
	profiler := oppprof.New(pprof.ListenEnabled, pprof.ListenAddr, pprof.ListenPort, pprof.ProfileType, pprof.ProfileDir, pprof.ProfileFilename)
	if err := profiler.Start(); err != nil {
		return fmt.Errorf("failed to init profiling: see the --pprof flags: %w", err)
	}
	n.cleanups.add("profiler", profiler.Stop)
	return nil
}

// openRPC registers the namespaces and lets requests in. It comes last: whoever gets an answer finds a running node.
func (n *Node) openRPC() error {
	chain, driver, safeHeads := n.cfg.Chain.Rollup, n.stack.driver, n.stack.safeHeads
	namespaces := []rpc.API{
		{Namespace: "optimism", Service: api.NewOptimism(chain, n.cfg.Chain.DependencySet, driver, n.engine, safeHeads)},
		{Namespace: "superroot", Service: api.NewSuperroot(chain, driver, n.engine, safeHeads)},
	}
	namespaces = append(namespaces, n.stack.apis...)
	if host := n.peers.host; host != nil {
		namespaces = append(namespaces, rpc.API{Namespace: p2p.NamespaceRPC, Service: p2p.NewP2PAPIBackend(host, n.log)})
		n.log.Info("P2P RPC enabled")
	}
	if n.cfg.RPC.EnableAdmin {
		namespaces = append(namespaces, rpc.API{Namespace: "admin", Service: api.NewAdmin(driver, n.log)})
		n.log.Info("Admin RPC enabled")
	}
	for _, namespace := range namespaces {
		if err := n.rpc.handler.AddAPI(namespace); err != nil {
			return err
		}
	}
	for path, handler := range n.stack.routes {
		n.rpc.handler.AddHandler(path, handler)
	}
	n.rpc.open.Store(true)
	n.cleanups.add("RPC", n.rpc.http.Stop) // requests end before what they use
	n.log.Info("Started JSON-RPC server", "addr", n.rpc.address())
	return nil
}
