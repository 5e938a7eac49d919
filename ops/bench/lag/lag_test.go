package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBehind(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var leader, follower History
	leader.Show(1, at(0)) // before the time that counts
	for i, number := range []uint64{2, 3, 4, 4} {
		leader.Show(number, at(1000+i))
	}
	leader.Show(8, at(5000))
	leader.Show(12, at(9000))
	leader.Show(16, at(13000))

	follower.Show(3, at(1500))
	follower.Show(4, at(1600))
	follower.Show(12, at(9030)) // has left 8 out
	lags, missing := follower.Behind(&leader, at(500), at(14000))
	require.Equal(t, []time.Duration{598 * time.Millisecond, 4030 * time.Millisecond, 30 * time.Millisecond}, lags)
	require.Equal(t, 1, missing)
	require.Equal(t, 4, leader.Updates(at(500), at(14000)))
	require.Equal(t, 3, leader.Updates(at(500), at(13000)))
}

func TestPeak(t *testing.T) {
	var at []time.Time
	for _, ms := range []int{500, 0, 90, 180, 510, 560, 600, 601} {
		at = append(at, time.Unix(0, 0).Add(time.Duration(ms)*time.Millisecond))
	}
	require.Equal(t, 4, Peak(at, 100*time.Millisecond))
	require.Equal(t, 500*time.Millisecond, at[0].Sub(time.Unix(0, 0)), "the moments are left in their order")
	require.Equal(t, 2, Peak(at[:3], 90*time.Millisecond))
	require.Zero(t, Peak(nil, time.Second))
}
