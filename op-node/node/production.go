package node

import (
	"github.com/ethereum-optimism/optimism/op-node/metrics/metered"

	"github.com/lightcl/op-node/op-node/rollup/driver"
)

// newProduction gathers what the driver of follow mode needs to make blocks; nil if the node only follows.
func (n *Node) newProduction() (*driver.Production, error) {
	c, chain := n.cfg.Sequencer, n.cfg.Chain
	if !c.Enabled {
		return nil, nil
	}
	state := &adminState{path: n.cfg.RPC.AdminStatePath}
	stopped, err := n.sequencerStopped(state)
	if err != nil {
		return nil, err
	}
	events := n.newEventSystem()
	return &driver.Production{
		Stopped:         stopped,
		Recover:         c.Recover,
		MaxSafeLag:      c.MaxSafeLag,
		L1Confs:         c.L1Confs,
		SealingDuration: c.SealingDuration,
		L1Chain:         chain.L1,
		DependencySet:   chain.DependencySet,
		L1:              metered.NewMeteredL1Fetcher(n.l1, n.metrics),
		L2:              n.engine,
		Network:         n.gossip,
		Conductor:       n.newConductor(),
		State:           state,
		Metrics:         n.metrics,
		Events:          events,
		Drain:           events.drain,
	}, nil
}
