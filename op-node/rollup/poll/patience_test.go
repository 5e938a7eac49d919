package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatience(t *testing.T) {
	const most = 10 * time.Second
	now := time.Unix(1_700_000_000, 0)
	p := NewPatience(most)
	send := func() (deadline time.Duration) {
		p, deadline = p.OnSend(now)
		return deadline
	}
	answer := func(took time.Duration) {
		now = now.Add(took)
		p = p.OnAnswer(now, took)
	}
	// fail has requests fail for a time, and returns the longest that one of them was given.
	fail := func(length time.Duration) (longest time.Duration) {
		for end := now.Add(length); now.Before(end); {
			deadline := send()
			now, longest = now.Add(deadline), max(longest, deadline)
		}
		return longest
	}
	require.Equal(t, time.Second, send())
	for range 20 {
		answer(50 * time.Millisecond)
		require.Equal(t, time.Second, send(), "a quick source is given a second")
	}
	require.Equal(t, time.Second, fail(20*time.Second), "and that stays so while it stalls")
	require.Less(t, fail(40*time.Second), 4*time.Second)

	// It comes back as a slow one.
	for took := 3 * time.Second; send() < took; {
		fail(time.Second)
		require.Less(t, now.Sub(p.answered), 2*time.Minute, "a source that is slow now is found out in the end")
	}
	for range 20 {
		answer(3 * time.Second)
		require.GreaterOrEqual(t, send(), 3*time.Second)
	}
	require.Equal(t, most, send(), "four times its usual time, but no more than the most")
	require.Equal(t, most, fail(time.Hour))
}
