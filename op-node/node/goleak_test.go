package node

import (
	"testing"

	"go.uber.org/goleak"
)

// Goroutines of libraries that nobody can end: parts of the peer-to-peer side that outlive its Close, and the rest of a
// host whose start failed, which ends the program.
var beyondReach = []string{
	"github.com/cockroachdb/pebble/vfs.(*diskHealthCheckingFS).startTickerLocked.func1",
	"github.com/ethereum-optimism/optimism/op-node/p2p.(*NodeP2P).DiscoveryProcess.func5",
	"github.com/ethereum-optimism/optimism/op-node/p2p/store.startGc.func1",
	"github.com/libp2p/go-libp2p-pubsub/timecache.background",
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoreds.(*dsAddrBookGc).background",
	"github.com/libp2p/go-libp2p/p2p/host/resource-manager.(*resourceManager).background",
	"github.com/libp2p/go-libp2p/p2p/net/connmgr.(*BasicConnMgr).background",
	"github.com/libp2p/go-libp2p/p2p/net/connmgr.(*decayer).process",
	"github.com/libp2p/go-libp2p/p2p/net/swarm.(*DialBackoff).background",
	"github.com/libp2p/go-libp2p/p2p/net/swarm.(*connectednessEventEmitter).runEmitter",
	"github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain", // of a closed database, for another second
}

func TestMain(m *testing.M) {
	var options []goleak.Option
	for _, function := range beyondReach {
		options = append(options, goleak.IgnoreAnyFunction(function))
	}
	goleak.VerifyTestMain(m, options...)
}
