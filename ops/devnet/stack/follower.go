package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/ops/devnet/opnode"
)

// stopTimeout bounds a follower's clean stop; after it the process is killed.
const stopTimeout = 10 * time.Second

// FollowerSpec says which op-node process to add.
type FollowerSpec struct {
	// Name is what the follower is called in logs and tables. It must be new.
	Name string
	// Binary is the path of the op-node program.
	Binary string
	// Sources are the RPC URLs to follow; empty is the devnet's source.
	Sources []string
	// Derive makes it a node without a source that derives from L1, for comparison.
	Derive bool
	// Metrics opens its metrics server.
	Metrics bool
	// Extra flags are appended to the command line.
	Extra []string
}

// Follower is an op-node process and the op-geth it drives. The process can be ended and started again on the same
// op-geth.
type Follower struct {
	*opnode.Node
	el  *EL
	dir string
}

// EL is the execution engine, which lives on when the process ends.
func (f *Follower) EL() *EL { return f.el }

// AddFollower starts an op-geth and an op-node process on it, with the flags an operator would type, and returns
// when the process answers. Both live until Close, or Stop and Kill9 of the follower.
func (s *Stack) AddFollower(ctx context.Context, spec FollowerSpec) (*Follower, error) {
	el, err := s.AddEL(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.opts.Dir, spec.Name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of %s: %w", spec.Name, err)
	}
	return s.startFollower(ctx, spec, el, dir)
}

// Replace starts another op-node process, with other flags, on the op-geth and in the directory of one that has ended.
func (s *Stack) Replace(ctx context.Context, old *Follower, spec FollowerSpec) (*Follower, error) {
	return s.startFollower(ctx, spec, old.el, old.dir)
}

func (s *Stack) startFollower(ctx context.Context, spec FollowerSpec, el *EL, dir string) (*Follower, error) {
	node, err := opnode.New(spec.Name, spec.Binary, dir, s.followerFlags(spec, el, dir))
	if err != nil {
		return nil, err
	}
	s.cleanup.AddWithin("op-node "+spec.Name, 2*stopTimeout, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		return node.Stop(ctx)
	})
	f := &Follower{Node: node, el: el, dir: dir}
	if err := node.Start(ctx); err != nil {
		return nil, fmt.Errorf("%w\nstarted with:\n%s", err, node.CommandLine())
	}
	return f, nil
}

func (s *Stack) followerFlags(spec FollowerSpec, el *EL, dir string) opnode.Flags {
	flags := opnode.Flags{
		L1: s.l1.WS(), L2: el.AuthHTTP(), JWT: s.files.JWT,
		Rollup: s.files.Rollup, L1Chain: s.files.L1Chain,
		Metrics: spec.Metrics, Extra: spec.Extra,
	}
	switch {
	case spec.Derive:
		flags.Beacon = s.l1.Beacon()
	case len(spec.Sources) > 0:
		flags.Follow = spec.Sources
	default:
		flags.Follow = []string{s.source.RPC()}
	}
	if s.opts.P2P {
		flags.Gossip = &opnode.Gossip{
			Key: filepath.Join(dir, "p2p.key"),
		}
		for _, node := range s.inside() {
			flags.Gossip.Static = append(flags.Gossip.Static, node.Multiaddr())
		}
	}
	return flags
}

// followTimeout bounds the wait for a follower to apply its first status.
const followTimeout = 30 * time.Second

// awaitCurrentL1 returns once the node has a current L1 to show.
func (f *Follower) awaitCurrentL1(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, followTimeout, fmt.Errorf("%s has no current L1 after %s", f.Name(), followTimeout))
	defer cancel()
	for {
		if status, err := f.SyncStatus(ctx); err == nil && status.CurrentL1 != (eth.L1BlockRef{}) {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
