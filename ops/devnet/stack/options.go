package stack

import (
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/log"
)

// DA says where the batcher puts its batches.
type DA string

// The two places a batch can go.
const (
	Calldata DA = "calldata"
	Blobs    DA = "blobs"
)

// Options shape a devnet. Start from DefaultOptions; Check names what does not fit.
type Options struct {
	// L1BlockTime is the time between L1 blocks, in whole seconds.
	L1BlockTime time.Duration
	// L2BlockTime is the time between L2 blocks, in whole seconds, at most L1BlockTime.
	L2BlockTime time.Duration
	// FinalizedDistance is how many blocks L1 finality trails the L1 head. With L1BlockTime it sets the soonest an
	// L2 block can be final.
	FinalizedDistance uint64
	// DA is where batches go.
	DA DA
	// Batcher is false for a chain whose blocks never become safe.
	Batcher bool
	// P2P connects the rollup nodes by gossip. Without it unsafe blocks travel as safe ones only.
	P2P bool
	// DevP2P connects the execution engines with each other, so that one can fetch blocks it was only told of.
	DevP2P bool
	// Light is the op-node program to run as light sequencer: it makes the blocks and follows the source, which derives
	// from its batches. Empty is a sequencer inside this process that derives.
	Light string
	// Standby is how many more light sequencers wait to take over; with Light only.
	Standby int
	// Via, if set, returns the URL under which light sequencers reach a HTTP server, L1 or the source: that of a proxy in
	// between.
	Via func(url string) (string, error)
	// Dir receives the files of the devnet: JWT secret, rollup config, L1 chain config, the blob pool. It must exist.
	Dir string
	// Log receives what every in-process component prints.
	Log log.Logger
}

// DefaultOptions is a devnet that becomes safe within about ten seconds and final within about thirty: L1 every
// 2 s, L2 every second, calldata, gossip and
// devp2p on.
func DefaultOptions() Options {
	return Options{
		L1BlockTime:       2 * time.Second,
		L2BlockTime:       time.Second,
		FinalizedDistance: 3,
		DA:                Calldata,
		Batcher:           true,
		P2P:               true,
		DevP2P:            true,
		Log:               log.NewLogger(log.DiscardHandler()),
	}
}

// Check reports the first option a devnet cannot be built with, and why.
func (o Options) Check() error {
	switch {
	case o.L1BlockTime < time.Second || o.L1BlockTime%time.Second != 0:
		return fmt.Errorf("L1 block time %s: block timestamps are whole seconds, at least one", o.L1BlockTime)
	case o.L2BlockTime < time.Second || o.L2BlockTime%time.Second != 0:
		return fmt.Errorf("L2 block time %s: block timestamps are whole seconds, at least one", o.L2BlockTime)
	case o.L2BlockTime > o.L1BlockTime:
		return fmt.Errorf("L2 block time %s above L1 block time %s: L1 origins could not keep up", o.L2BlockTime, o.L1BlockTime)
	case o.FinalizedDistance == 0:
		return errors.New("finalized distance 0: an L1 head that is final at once leaves nothing to reorg")
	case o.DA != Calldata && o.DA != Blobs:
		return fmt.Errorf("data availability %q: want %q or %q", o.DA, Calldata, Blobs)
	case o.Standby < 0 || o.Standby > 0 && o.Light == "":
		return fmt.Errorf("%d light sequencers to stand by, and none to stand by for", o.Standby)
	case o.Dir == "":
		return errors.New("no directory for the devnet's files")
	case o.Log == nil:
		return errors.New("no logger")
	}
	return nil
}

func (o Options) l1Seconds() uint64 { return uint64(o.L1BlockTime / time.Second) }
func (o Options) l2Seconds() uint64 { return uint64(o.L2BlockTime / time.Second) }
