package driver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spec F7, S5: an engine comes back without its newest blocks, and no peer has them. What this node handed in itself it hands in
// again: nothing that was published is lost, whether it is above the local-safe head or below. The node's client still finds
// the blocks in its cache.
func TestLightSequencerGivesTheEngineItsTipBack(t *testing.T) {
	for name, lost := range map[string]uint64{"above local-safe": 3, "below local-safe": 10} {
		t.Run(name, func(t *testing.T) {
			for offset := time.Duration(0); offset < blockTime; offset += 500 * time.Millisecond {
				perform(t, func(s *stage) {
					s.boot()
					s.keepUp(6)
					s.wait(60*time.Second + offset)
					begin, before := time.Now(), s.status()
					s.el.Rewind(s.el.Heads().Latest.Number - lost)
					s.wait(20 * time.Second)
					require.True(s.t, s.onChain(before.UnsafeL2), "offset %s: %s", offset, s)
					require.GreaterOrEqual(s.t, s.status().SafeL2.Number, before.SafeL2.Number+6)
					require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), 2*blockTime, "offset %s", offset)
					require.Zero(s.t, s.counts.reorg("force_reset")+s.counts.reorg("walk_back"))
				})
			}
		})
	}
}
