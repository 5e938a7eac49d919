package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lightcl/op-node/ops/devnet/closer"
	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/screen"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// cycle is the fault of followers that follow each other in a ring, beside the source.
const cycle = "cycle"

// sourcing is how followers get at their sources.
type sourcing struct {
	count, quorum int
	fault         string
	after         time.Duration
}

func (s sourcing) check(followers int) error {
	faults := append(faultproxy.Names(), cycle)
	switch {
	case s.count < 1:
		return fmt.Errorf("--sources=%d: give 1 or more", s.count)
	case s.quorum < 1 || s.quorum > s.count:
		return fmt.Errorf("--quorum=%d: give 1 to %d, the number of --sources", s.quorum, s.count)
	case s.fault != "" && !slices.Contains(faults, s.fault):
		return fmt.Errorf("--fault=%s: there are %v", s.fault, faults)
	case s.fault == cycle && followers < 2:
		return fmt.Errorf("--fault=%s takes --followers=2 or more, to follow each other", cycle)
	case s.fault != "" && s.fault != cycle && s.count < 2:
		return fmt.Errorf("--fault=%s with --sources=1: nothing would be left to follow, give 2 or more", s.fault)
	}
	return nil
}

// plain tells that followers follow the devnet's source directly.
func (s sourcing) plain() bool { return s.count == 1 && s.fault == "" }

// proxies stand between the followers and the one source of the devnet: to a follower each of them is a source.
type proxies struct {
	sourcing
	list []*faultproxy.Proxy
	// ring leads to the first follower, once it runs.
	ring       *faultproxy.Proxy
	ringSwitch faultproxy.Switch
}

// start brings the proxies up; they close with cleanup.
func (s sourcing) start(net *stack.Stack, cleanup *closer.Closer) (*proxies, error) {
	p := &proxies{sourcing: s}
	add := func() (*faultproxy.Proxy, error) {
		proxy, err := faultproxy.Start(net.Source().RPC())
		if err == nil {
			cleanup.AddErr("source proxy", proxy.Close)
		}
		return proxy, err
	}
	for range s.count {
		proxy, err := add()
		if err != nil {
			return nil, err
		}
		p.list = append(p.list, proxy)
	}
	if s.fault == cycle {
		var err error
		if p.ring, err = add(); err != nil {
			return nil, err
		}
		p.ring.Set(&p.ringSwitch)
	}
	return p, nil
}

// spec completes what a follower is started with. before are the followers that run already.
func (p *proxies) spec(spec stack.FollowerSpec, before []*stack.Follower) stack.FollowerSpec {
	if p.fault == cycle {
		// Each follows the one before it, and the first will follow the last.
		if n := len(before); n > 0 {
			spec.Sources = append(spec.Sources, before[n-1].RPC())
		} else {
			spec.Sources = append(spec.Sources, p.ring.URL())
		}
	}
	for _, proxy := range p.list {
		spec.Sources = append(spec.Sources, proxy.URL())
	}
	if p.quorum > 1 {
		spec.Extra = append(slices.Clone(spec.Extra), fmt.Sprintf("--l2.follow.quorum=%d", p.quorum))
	}
	return spec
}

// misbehave closes the ring, or breaks the first source when its time has come. It returns at once.
func (p *proxies) misbehave(ctx context.Context, followers []*stack.Follower, display screen.Display) error {
	switch p.fault {
	case "":
		return nil
	case cycle:
		last := followers[len(followers)-1]
		display.Note(fmt.Sprintf("%s follows %s now: a ring", followers[0].Name(), last.Name()))
		return p.ringSwitch.To(last.RPC())
	}
	fault, err := faultproxy.Named(p.fault)
	if err != nil {
		return err
	}
	display.Note(fmt.Sprintf("the first of %d sources will %s after %s", p.count, p.fault, p.after))
	go func() {
		select {
		case <-time.After(p.after):
			p.list[0].Set(fault)
		case <-ctx.Done():
		}
	}()
	return nil
}
