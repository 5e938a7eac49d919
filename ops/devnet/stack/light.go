package stack

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"

	"github.com/ethereum/go-ethereum/crypto"
)

// LightSpec says which light sequencer to add: an op-node process that makes blocks and takes its labels from a source.
type LightSpec struct {
	// Name is what it is called in logs and tables. It must be new.
	Name string
	// Binary is the path of the op-node program.
	Binary string
	// Stopped has it wait for admin_startSequencer.
	Stopped bool
	// Sources are the RPC URLs to follow; empty is the devnet's source.
	Sources []string
	// Extra flags are appended to the command line.
	Extra []string
}

// AddLightSequencer starts an op-geth and on it an op-node process that sequences. Its RPC keeps its port when the
// process is started again, so that the batcher finds it.
func (s *Stack) AddLightSequencer(ctx context.Context, spec LightSpec) (*Follower, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	flags := []string{
		"--sequencer.enabled",
		fmt.Sprintf("--sequencer.stopped=%v", spec.Stopped),
		"--sequencer.l1-confs=1",
		"--rpc.enable-admin",
		fmt.Sprintf("--rpc.port=%d", port),
	}
	if s.opts.P2P {
		flags = append(flags, "--p2p.sequencer.key="+hex.EncodeToString(crypto.FromECDSA(s.chain.sequencer)))
	}
	if via := s.opts.Via; via != nil {
		l1, err := via(s.l1.HTTP())
		if err != nil {
			return nil, err
		}
		source, err := via(s.source.RPC())
		if err != nil {
			return nil, err
		}
		flags = append(flags, "--l1="+l1, "--l1.http-poll-interval=200ms")
		if len(spec.Sources) == 0 {
			spec.Sources = []string{source}
		}
	}
	light, err := s.AddFollower(ctx, FollowerSpec{
		Name: spec.Name, Binary: spec.Binary, Sources: spec.Sources, Metrics: true, Extra: append(flags, spec.Extra...),
	})
	if err != nil {
		return nil, err
	}
	s.lights = append(s.lights, light)
	return light, nil
}

// Lights are the light sequencers in the order of their start.
func (s *Stack) Lights() []*Follower { return s.lights }

// startLights starts the devnet's light sequencers: one that makes the blocks, and those that stand by.
func (s *Stack) startLights(ctx context.Context) error {
	for i := range 1 + s.opts.Standby {
		spec := LightSpec{Name: fmt.Sprintf("light-%d", i+1), Binary: s.opts.Light, Stopped: i > 0}
		if _, err := s.AddLightSequencer(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

// freePort is a loopback port that nobody listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}
