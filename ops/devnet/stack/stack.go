// Package stack runs a whole OP Stack inside the calling process: an L1 with fake proof of stake and beacon, a
// sequencer, a batcher, a deriving node to follow, and op-geths for followers that run elsewhere.
//
// It is for the devnet program and for tests. Everything lives in memory and listens on free loopback ports; the
// only files are in Options.Dir. The components log through the process-wide go-ethereum logger in places, so a
// program that cares where that goes sets it before Start.
package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/rollup"

	"github.com/lightcl/op-node/ops/devnet/closer"
)

// Stack is a running devnet. Its methods may be called from any goroutine.
type Stack struct {
	opts      Options
	chain     *chain
	files     Files
	l1        *L1
	sequencer *Node
	source    *Node
	lights    []*Follower
	failed    chan error
	cleanup   closer.Closer
}

// Files are the paths a node outside of this process needs.
type Files struct {
	// JWT holds the secret of every engine API, in hex.
	JWT string
	// Rollup is the rollup config.
	Rollup string
	// L1Chain is the L1's chain config.
	L1Chain string
}

// devP2PTimeout bounds the wait for two engines of one process to find each other.
const devP2PTimeout = 20 * time.Second

// Start brings up L1, sequencer, source and batcher, in this order. When it fails nothing is left running.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	c, err := newChain(o, time.Now())
	if err != nil {
		return nil, err
	}
	s := &Stack{opts: o, chain: c, failed: make(chan error, 1)}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) (err error) {
	if s.files, err = writeFiles(s.opts.Dir, s.chain); err != nil {
		return err
	}
	if s.l1, err = startL1(s.opts, s.chain, &s.cleanup); err != nil {
		return err
	}
	if s.opts.Light == "" {
		if s.sequencer, err = s.startNode(ctx, nodeSpec{name: "sequencer", signer: s.chain.sequencer}); err != nil {
			return err
		}
	}
	if s.source, err = s.startNode(ctx, nodeSpec{name: "source", peers: s.inside()}); err != nil {
		return err
	}
	if s.opts.Light != "" {
		if err := s.startLights(ctx); err != nil {
			return err
		}
	}
	if !s.opts.Batcher {
		return nil
	}
	return startBatcher(ctx, s.opts, s.chain, s.l1, s.makers(), s.failed, &s.cleanup)
}

// inside are the nodes of this process that others connect to.
func (s *Stack) inside() []*Node {
	var nodes []*Node
	for _, n := range []*Node{s.sequencer, s.source} {
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// makers are the nodes that make the blocks, now or later.
func (s *Stack) makers() (list []maker) {
	if s.sequencer != nil {
		return []maker{{s.sequencer.el.HTTP(), s.sequencer.rpc}}
	}
	for _, light := range s.lights {
		list = append(list, maker{light.el.HTTP(), light.RPC()})
	}
	return list
}

// startNode starts the execution engine of a node and then the node.
func (s *Stack) startNode(ctx context.Context, spec nodeSpec) (*Node, error) {
	var err error
	if spec.el, err = s.startEL(ctx, spec.name, spec.peers); err != nil {
		return nil, err
	}
	spec.gossip = s.opts.P2P
	return startNode(ctx, builder{
		spec: spec, chain: s.chain, l1: s.l1, log: s.opts.Log, cleanup: &s.cleanup, failed: s.failed,
	})
}

func (s *Stack) startEL(ctx context.Context, name string, peers []*Node) (*EL, error) {
	engines := make([]*EL, len(peers))
	for i, peer := range peers {
		engines[i] = peer.el
	}
	el, err := startEL(name, s.chain, s.files.JWT, s.opts.DevP2P, engines, &s.cleanup)
	if err != nil {
		return nil, err
	}
	if s.opts.DevP2P {
		ctx, cancel := context.WithTimeout(ctx, devP2PTimeout)
		defer cancel()
		if err := el.awaitPeers(ctx, len(peers)); err != nil {
			return nil, fmt.Errorf("engine of %s: %w", name, err)
		}
	}
	return el, nil
}

// AddEL starts one more op-geth, for a node that runs elsewhere. With DevP2P it is connected to the engines of the
// sequencer and the source when AddEL returns. It lives until Close.
func (s *Stack) AddEL(ctx context.Context, name string) (*EL, error) {
	return s.startEL(ctx, name, s.inside())
}

// AddVerifier starts one more deriving node in this process, beside the source. It lives until Close.
func (s *Stack) AddVerifier(ctx context.Context, name string) (*Node, error) {
	return s.startNode(ctx, nodeSpec{name: name, peers: s.inside()})
}

// Close stops everything, newest first, each part within a time limit, and joins what went wrong. A second Close
// does nothing.
func (s *Stack) Close() error { return s.cleanup.Close() }

// L1 is the devnet's L1.
func (s *Stack) L1() *L1 { return s.l1 }

// Sequencer is the node of this process that makes the blocks; nil if light sequencers do, see Lights.
func (s *Stack) Sequencer() *Node { return s.sequencer }

// Source is the deriving node that followers follow.
func (s *Stack) Source() *Node { return s.source }

// Rollup is the chain's rollup config; callers must not change it.
func (s *Stack) Rollup() *rollup.Config { return s.chain.rollup }

// Files are the paths of the config files.
func (s *Stack) Files() Files { return s.files }

// Options are the options the devnet was started with.
func (s *Stack) Options() Options { return s.opts }

// Failed delivers the error of a component that ended by itself; nothing is delivered while all is well.
func (s *Stack) Failed() <-chan error { return s.failed }

func writeFiles(dir string, c *chain) (Files, error) {
	f := Files{
		JWT:     filepath.Join(dir, "jwt.txt"),
		Rollup:  filepath.Join(dir, "rollup.json"),
		L1Chain: filepath.Join(dir, "l1-chain.json"),
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return Files{}, fmt.Errorf("JWT secret: %w", err)
	}
	if err := os.WriteFile(f.JWT, []byte(hex.EncodeToString(secret[:])), 0o600); err != nil {
		return Files{}, fmt.Errorf("JWT secret: %w", err)
	}
	for path, value := range map[string]any{f.Rollup: c.rollup, f.L1Chain: c.l1.Config} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return Files{}, fmt.Errorf("encode %s: %w", path, err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return Files{}, err
		}
	}
	return f, nil
}

func readJWT(path string) (secret [32]byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return secret, fmt.Errorf("JWT secret: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(secret) {
		return secret, fmt.Errorf("JWT secret in %s: want 32 bytes of hex", path)
	}
	return [32]byte(raw), nil
}
