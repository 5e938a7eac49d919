package node

import (
	"fmt"
	"net"
	"strconv"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/httputil"
	"github.com/ethereum-optimism/optimism/op-service/oppprof"

	"github.com/lightcl/op-node/op-node/node/api"
	"github.com/lightcl/op-node/op-node/node/rpcserver"
)

// rpcListener is a port with an RPC server. The port is bound at once, so that one in use is noticed before anything slow; until the
// server is opened, every request is answered with 503.
type rpcListener struct {
	*rpcserver.Server
	http *httputil.HTTPServer
}

func (l *rpcListener) address() string {
	addr := l.http.Addr()
	if addr == nil {
		return ""
	}
	return addr.String()
}

// waitingMethods answer late on purpose.
var waitingMethods = []string{"follow_statusAfter"}

// listenRPC binds the port of an RPC server. The recorder's name is a label of its metrics. Scripts of web pages may use it if they
// come from the origins.
func (n *Node) listenRPC(recorder, address string, origins []string, jwtSecret []byte) (*rpcListener, error) {
	c := n.cfg.RPC
	server, err := rpcserver.New(rpcserver.Options{
		Version: n.version, Origins: origins, Hosts: c.VHosts, JWTSecret: jwtSecret,
		Limits:  rpcserver.Limits{Body: c.BodyLimit, Batch: c.BatchLimit, Answer: c.BatchAnswerLimit, Requests: c.RequestLimit},
		Waiting: waitingMethods,
		Recorder: func(served func(string) bool) rpc.Recorder {
			return n.metrics.NewServerRecorder(recorder, served)
		},
		Refused: func(reason rpcserver.Reason) { n.metrics.RecordRefused(string(reason)) },
		Log:     n.log,
	})
	if err != nil {
		return nil, err
	}
	n.cleanups.addFunc("RPC handler", server.Stop)
	listener := &rpcListener{server, httputil.NewHTTPServer(address, server)}
	if err := listener.http.Start(); err != nil {
		return nil, err
	}
	n.cleanups.add("RPC port", listener.http.Stop)
	return listener, nil
}

// bindServers binds the ports of RPC, metrics and profiling. The latter two work from here on.
func (n *Node) bindServers() (err error) {
	c := n.cfg.RPC
	for _, reason := range rpcserver.Reasons() {
		n.metrics.StartRefused(string(reason))
	}
	if n.rpc, err = n.listenRPC("main", net.JoinHostPort(c.ListenAddr, strconv.Itoa(c.ListenPort)), c.CORSDomains, nil); err != nil {
		return fmt.Errorf("failed to init the RPC server: --rpc.addr, --rpc.port: %w", err)
	}
	if c.AdminListen != "" {
		if n.adminRPC, err = n.listenRPC("admin", c.AdminListen, nil, c.AdminJWTSecret); err != nil {
			return fmt.Errorf("failed to init the RPC server: --rpc.admin-listen: %w", err)
		}
	}

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
	reading, control := n.namespaces()
	if n.adminRPC == nil { // one server for everything, as upstream
		return n.openListener(n.rpc, append(reading, control...), "Started JSON-RPC server")
	}
	if err := n.openListener(n.rpc, reading, "Started JSON-RPC server, for what reads"); err != nil {
		return err
	}
	return n.openListener(n.adminRPC, append(reading, control...), "Started JSON-RPC server, for everything")
}

// namespaces returns what the node serves: what only reads, and what changes the node or its peers.
func (n *Node) namespaces() (reading, control []rpc.API) {
	chain, driver, safeHeads := n.cfg.Chain.Rollup, n.stack.driver, n.stack.safeHeads
	reading = []rpc.API{
		{Namespace: "optimism", Service: api.NewOptimism(chain, n.cfg.Chain.DependencySet, driver, n.engine, safeHeads)},
		{Namespace: "superroot", Service: api.NewSuperroot(chain, driver, n.engine, safeHeads)},
		{Namespace: "follow", Service: api.NewWaiting(n.stack.feed)},
	}
	reading = append(reading, n.stack.apis...)
	control = n.stack.control
	if host := n.peers.host; host != nil {
		peers := p2p.NewP2PAPIBackend(host, n.log)
		reading = append(reading, rpc.API{Namespace: p2p.NamespaceRPC, Service: api.NewPeers(peers)})
		control = append(control, rpc.API{Namespace: p2p.NamespaceRPC, Service: peers})
		n.log.Info("P2P RPC enabled")
	}
	if n.cfg.RPC.EnableAdmin {
		control = append(control, rpc.API{Namespace: "admin", Service: api.NewAdmin(driver, n.log)})
		n.log.Info("Admin RPC enabled")
	}
	return reading, control
}

func (n *Node) openListener(l *rpcListener, namespaces []rpc.API, started string) error {
	for _, namespace := range namespaces {
		if err := l.Register(namespace); err != nil {
			return err
		}
	}
	for path, handler := range n.stack.routes {
		l.Handle(path, handler)
	}
	l.Open()
	n.cleanups.add("RPC", l.http.Stop) // requests end before what they use
	n.log.Info(started, "addr", l.address())
	return nil
}
