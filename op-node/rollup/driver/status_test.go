package driver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/engine"
)

// spec G2: the sources are asked when L1 is found to have left the labels, once each time.
func TestL1ThatLeavesTheLabelsHintsTheSources(t *testing.T) {
	hints := 0
	g := gauges{again: func() {}, gone: func() { hints++ }}
	for _, step := range []struct {
		gone  time.Time
		hints int
	}{{time.Time{}, 0}, {time.Unix(5, 0), 1}, {time.Unix(5, 0), 1}, {time.Time{}, 1}, {time.Unix(9, 0), 2}} {
		g.OnSnapshot(&engine.Snapshot{GoneSince: step.gone})
		require.Equal(t, step.hints, hints)
	}
}
