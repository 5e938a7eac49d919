package driver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A source names a block that nobody has, once, and is honest again afterwards: blocks go on as if nothing was said.
func TestLightSequencerAndAnUnobtainableTarget(t *testing.T) {
	performOpen(t, "A3", func(s *stage) {
		s.boot()
		stop := s.keepUp(6)
		s.wait(time.Minute)
		stop()
		tip := s.head().Number
		lie := s.replace(s.own(tip-5), 8, "nobody has it")
		begin := time.Now()
		s.source.says(lie[len(lie)-1].Ref, s.own(tip/2).Ref)
		s.wait(3 * blockTime)
		s.keepUp(6)
		s.wait(20 * time.Second)
		require.LessOrEqual(s.t, s.net.gap(begin, time.Now()), blockTime+100*time.Millisecond)
		require.GreaterOrEqual(s.t, s.status().SafeL2.Number+10, s.head().Number, "the labels are those of the honest source")
		require.True(s.t, s.onChain(s.own(tip).Ref), "no block was lost")
	})
}
