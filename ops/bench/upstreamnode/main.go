// Upstreamnode is a rollup node around upstream's own driver, to be measured beside op-node. It takes the flags that the
// devnet gives to op-node, as far as a verifier needs them, and refuses all others: with --l2.follow.source it runs upstream's
// follow mode, without it derives from L1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/ethereum/go-ethereum/log"
)

// options are the flags.
type options struct {
	l1, beacon, l2, jwt, follow         string
	rollup, l1Chain                     string
	p2pStatic, p2pKey                   string
	rpcAddr, metricsAddr                string
	rpcPort, metricsPort, p2pPort       int
	p2pDisable, noDiscovery, metrics    bool
	engineKind, epochPoll, p2pIP, store string
}

func main() {
	o := options{}
	f := flag.NewFlagSet("upstreamnode", flag.ExitOnError)
	f.StringVar(&o.l1, "l1", "", "L1 RPC endpoint, a WebSocket")
	f.StringVar(&o.beacon, "l1.beacon", "", "L1 beacon endpoint, for deriving")
	f.StringVar(&o.epochPoll, "l1.epoch-poll-interval", "1s", "accepted; labels of L1 are polled every second")
	f.StringVar(&o.l2, "l2", "", "engine API endpoint")
	f.StringVar(&o.jwt, "l2.jwt-secret", "", "file with the engine API's secret")
	f.StringVar(&o.engineKind, "l2.enginekind", "geth", "accepted; the engine is op-geth")
	f.StringVar(&o.follow, "l2.follow.source", "", "RPC endpoint of the node to follow; empty derives")
	f.StringVar(&o.rollup, "rollup.config", "", "rollup config file")
	f.StringVar(&o.l1Chain, "rollup.l1-chain-config", "", "L1 chain config file")
	f.StringVar(&o.rpcAddr, "rpc.addr", "127.0.0.1", "RPC address")
	f.IntVar(&o.rpcPort, "rpc.port", 0, "RPC port")
	f.BoolVar(&o.p2pDisable, "p2p.disable", false, "takes no part in gossip")
	f.StringVar(&o.p2pIP, "p2p.listen.ip", "127.0.0.1", "accepted; gossip listens on loopback")
	f.IntVar(&o.p2pPort, "p2p.listen.tcp", 0, "gossip port")
	f.BoolVar(&o.noDiscovery, "p2p.no-discovery", true, "accepted; nobody is discovered")
	f.StringVar(&o.p2pStatic, "p2p.static", "", "multiaddrs of peers, separated by commas")
	f.StringVar(&o.p2pKey, "p2p.priv.path", "", "accepted; the key is a new one")
	f.StringVar(&o.store, "p2p.peerstore.path", "memory", "accepted; peers are kept in memory")
	f.BoolVar(&o.metrics, "metrics.enabled", false, "serves metrics")
	f.StringVar(&o.metricsAddr, "metrics.addr", "127.0.0.1", "metrics address")
	f.IntVar(&o.metricsPort, "metrics.port", 0, "metrics port")
	_ = f.Parse(os.Args[1:]) // exits by itself

	logger := log.NewLogger(log.LogfmtHandlerWithLevel(os.Stdout, slog.LevelInfo))
	log.SetDefault(logger)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, logger); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run brings the node up and keeps it until the context ends or the driver fails.
func run(ctx context.Context, o options, logger log.Logger) (err error) {
	n := &node{o: o, log: logger, failed: make(chan error, 1)}
	defer func() { err = errors.Join(err, n.cleanup.Close()) }()
	if err := n.start(ctx); err != nil {
		return err
	}
	select {
	case err := <-n.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
