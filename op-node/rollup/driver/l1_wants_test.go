package driver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// TestStatusAboveTheL1Head (spec C1): a source that names an L1 block above the own head has L1 asked for its head, a source
// that does not has not.
func TestStatusAboveTheL1Head(t *testing.T) {
	for ahead, want := range map[uint64]bool{0: false, 1: true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.follow(Config{}, w.source("a", func() (follow.Status, error) { return w.truth(w.l1Head() + ahead), nil }))
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			_, due := w.view.HeadDue()
			require.Equal(t, want, due, "%d ahead", ahead)
		})
	}
}
