package poll

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	const full = 4 * time.Second
	now := time.Unix(1_700_000_000, 0)
	require.False(t, Wait{}.On(now))

	w := NewWait(full)
	require.True(t, w.On(now))
	_, length := w.Request()
	require.Zero(t, length, "the first answer comes at once")
	w = w.OnAnswer(now, "a", true, now.Add(time.Hour))
	require.Equal(t, now.Add(apart), w.Next(), "progress costs no token")
	version, length := w.Request()
	require.Equal(t, "a", version)
	require.Equal(t, full, length, "spec W2")
	require.Equal(t, now.Add(time.Second), w.OnAnswer(now, "a", false, now.Add(time.Second)).Next(), "no progress costs one (spec W3)")

	lengths := func(w Wait) (after []time.Duration) {
		for range 3 {
			_, length := w.Request()
			after = append(after, length)
			w = w.OnAnswer(now, "a", false, now)
		}
		return after
	}
	cut := w.OnFailure(now, 3*time.Second)
	require.True(t, cut.On(now), "a wait that is cut is halved, and no fault")
	require.Equal(t, []time.Duration{full / 2, full / 2, full / 2}, lengths(cut), "and stays so")
	cut = cut.OnFailure(now, time.Second).OnFailure(now, time.Second)
	_, length = cut.Request()
	require.Equal(t, shortest, length)

	// What fails for good is tried again, less and less often.
	pause := firstPause
	for range 8 {
		cut = cut.OnFailure(now, 0)
		require.False(t, cut.On(now.Add(pause-1)))
		now = now.Add(pause)
		at, ok := cut.Resumes()
		require.True(t, ok)
		require.Equal(t, now, at)
		require.True(t, cut.On(now))
		version, _ := cut.Request()
		require.Empty(t, version)
		pause = min(2*pause, longestPause)
	}
	require.Equal(t, []time.Duration{full, full, full}, lengths(cut.OnAnswer(now, "b", true, now)))
	cut = cut.OnAnswer(now, "b", true, now)
	require.False(t, cut.OnFailure(now.Add(time.Minute), 0).On(now.Add(time.Minute+firstPause)), "an answer does not make up for it")
	now = now.Add(longestPause)
	require.True(t, cut.OnFailure(now, 0).On(now.Add(firstPause)), "a long time does")
}

func TestMemory(t *testing.T) {
	var m Memory[int]
	news := func(what int) (news bool) {
		m, news = m.Hear(what)
		return news
	}
	require.True(t, news(1))
	require.False(t, news(1))
	require.True(t, news(2))
	require.False(t, news(1), "backends that take turns")
	for i := range 8 {
		require.True(t, news(3+i))
	}
	require.True(t, news(1), "it is bounded")
}
