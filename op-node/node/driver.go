package node

import (
	"context"
	"net/http"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/node/api"
	"github.com/lightcl/op-node/op-node/rollup/feed"
)

// rollupDriver is what the node needs of the driver, whichever mode it is in. Inputs (payloads, L1 blocks) may come before Start and
// after Close; the driver keeps or drops them then. All methods are safe for concurrent use, but Start and Close are called once.
type rollupDriver interface {
	// Start begins driving the engine and returns at once.
	Start() error
	// Close stops driving and waits for it to have stopped. It works without Start too.
	Close() error

	// SyncStatus returns the heads as they are served.
	SyncStatus(ctx context.Context) (*eth.SyncStatus, error)
	// BlockRefWithStatus returns an L2 block of the canonical chain together with a status that is consistent with it. The
	// status is there too when the error says that there is no such block.
	BlockRefWithStatus(ctx context.Context, number uint64) (eth.L2BlockRef, *eth.SyncStatus, error)

	// OnUnsafeL2Payload takes a block from gossip or from the admin API.
	OnUnsafeL2Payload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope)
	// OnL1Head, OnL1Safe and OnL1Finalized take the L1 blocks with these labels, each from one goroutine, repetitions included.
	OnL1Head(ctx context.Context, ref eth.L1BlockRef)
	OnL1Safe(ctx context.Context, ref eth.L1BlockRef)
	OnL1Finalized(ctx context.Context, ref eth.L1BlockRef)

	// The rest serves the admin API.
	ResetDerivationPipeline(ctx context.Context) error
	StartSequencer(ctx context.Context, head common.Hash) error
	StopSequencer(ctx context.Context) (common.Hash, error)
	SequencerActive(ctx context.Context) (bool, error)
	OverrideLeader(ctx context.Context) error
	ConductorEnabled(ctx context.Context) (bool, error)
	SetRecoverMode(ctx context.Context, recover bool) error
}

// rollupStack is what one mode contributes to the node.
type rollupStack struct {
	driver rollupDriver
	// wants are reasons to ask L1 out of turn.
	wants l1Wants
	// safeHeads answers which L2 block was safe at which L1 block, or says that nobody keeps that.
	safeHeads api.SafeHeads
	// feed has the status for those who wait for another one.
	feed *feed.Feed
	// apis are RPC namespaces that only this mode serves, and that only read.
	apis []rpc.API
	// control are those that change something.
	control []rpc.API
	// routes are HTTP paths beside the RPC that only this mode serves.
	routes map[string]http.Handler
}

var _ api.SafeHeads = safedb.Disabled
