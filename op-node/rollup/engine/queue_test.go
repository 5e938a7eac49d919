package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// TestQueueOrder posts kinds a second apart and takes them all out a second after the last. spec E1–E4.
func TestQueueOrder(t *testing.T) {
	const patience = 4 * time.Second
	for name, test := range map[string]struct {
		post, want []Kind
	}{
		"nothing":                     {nil, nil},
		"recovery goes first":         {[]Kind{KindFollow, KindInsert, KindReset}, []Kind{KindReset, KindInsert, KindFollow}},
		"inserts go before targets":   {[]Kind{KindProbe, KindFollow, KindInsert}, []Kind{KindInsert, KindProbe, KindFollow}},
		"FIFO within a class":         {[]Kind{KindRewind, KindReset, KindLoad}, []Kind{KindRewind, KindReset, KindLoad}},
		"FIFO within the lowest":      {[]Kind{KindGap, KindFollow, KindProbe}, []Kind{KindGap, KindFollow, KindProbe}},
		"one of a kind":               {[]Kind{KindInsert, KindFollow, KindInsert}, []Kind{KindInsert, KindFollow}},
		"a repeated one stays put":    {[]Kind{KindProbe, KindFollow, KindProbe}, []Kind{KindProbe, KindFollow}},
		"waited at the bound":         {[]Kind{KindFollow, KindInsert, KindInsert, KindInsert}, []Kind{KindInsert, KindFollow}},
		"waited too long":             {[]Kind{KindFollow, KindInsert, KindInsert, KindInsert, KindInsert}, []Kind{KindFollow, KindInsert}},
		"the oldest counts":           {[]Kind{KindFollow, KindInsert, KindInsert, KindInsert, KindFollow}, []Kind{KindFollow, KindInsert}},
		"recovery even then":          {[]Kind{KindFollow, KindInsert, KindInsert, KindInsert, KindReset}, []Kind{KindReset, KindFollow, KindInsert}},
		"only the first has waited":   {[]Kind{KindProbe, KindFollow, KindInsert, KindInsert, KindInsert}, []Kind{KindProbe, KindInsert, KindFollow}},
		"waiting is not for the rest": {[]Kind{KindInsert, KindReset, KindFollow, KindReset, KindReset}, []Kind{KindReset, KindInsert, KindFollow}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(patience)
			now := time.Unix(1000, 0)
			for _, kind := range test.post {
				q.post(task{kind: kind, queued: now})
				now = now.Add(time.Second)
			}
			var got []Kind
			for {
				next, ok := q.next(now)
				if !ok {
					break
				}
				got = append(got, next.kind)
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestQueueKeepsTheNewestTarget(t *testing.T) {
	q := newQueue(time.Second)
	first, second := new(follow.Target), new(follow.Target)
	start := time.Unix(1000, 0)
	q.post(task{kind: KindFollow, queued: start, target: first})
	q.post(task{kind: KindFollow, queued: start.Add(time.Hour), target: second})
	require.True(t, q.waits(KindFollow))
	got, ok := q.next(start)
	require.True(t, ok)
	require.Same(t, second, got.target)
	require.Equal(t, start, got.queued, "the wait began with the first")
	require.False(t, q.waits(KindFollow))
}

func TestQueueWakes(t *testing.T) {
	q := newQueue(time.Second)
	require.Empty(t, q.wake)
	q.post(task{kind: KindInsert})
	q.post(task{kind: KindFollow}) // nobody took the first signal: no matter
	require.Len(t, q.wake, 1)
}
