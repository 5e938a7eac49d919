package l1chain

import (
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Known says from memory alone whether the block is canonical. Beside what the window holds, that is what L1 answered
// before; see Judge for the answers.
func (v *View) Known(id eth.BlockID) follow.L1Answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known(id)
}
