package l1chain

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dueIn is how long until L1 should be asked for its head; -1 for not at all.
func (r *rig) dueIn() time.Duration {
	at, wanted := r.HeadDue()
	if !wanted {
		return -1
	}
	return max(at.Sub(r.clock.Now()), 0)
}

func woken(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWantHead(t *testing.T) {
	a := newChain('a', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	r.WantHead("one", 20)
	require.False(t, woken(r.HeadWanted()), "the view has the number")
	require.Equal(t, time.Duration(-1), r.dueIn())

	r.WantHead("one", 21)
	require.True(t, woken(r.HeadWanted()))
	require.Zero(t, r.dueIn(), "at once")
	r.HeadAsked()
	r.clock.advance(100 * time.Millisecond)
	r.WantHead("two", 22)
	require.Equal(t, 150*time.Millisecond, r.dueIn(), "not twice in 250 ms, whoever wants it")

	r.OnHead(context.Background(), a[22])
	require.Equal(t, time.Duration(-1), r.dueIn(), "that is all they wanted")
}

// A source whose block L1 does not confirm is heard ever less often, and at once again when L1 confirms one.
func TestWantHeadThatIsNotConfirmed(t *testing.T) {
	a := newChain('a', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	r.WantHead("liar", 1<<62)
	var waits []time.Duration
	for wait := r.dueIn(); wait >= 0; wait = r.dueIn() {
		waits = append(waits, wait/time.Millisecond)
		r.clock.advance(wait)
		r.HeadAsked()
	}
	require.Equal(t, []time.Duration{0, 250, 500, 1000, 2000, 4000}, waits, "then it is left")
	for range 3 {
		r.WantHead("liar", 1<<62)
		require.Equal(t, 8*time.Second, r.dueIn())
		r.clock.advance(8 * time.Second)
		r.HeadAsked()
	}

	r.WantHead("honest", 21)
	require.Equal(t, minSpacing, r.dueIn(), "another source has nothing to do with it")
	r.OnHead(context.Background(), a[21])
	r.HeadAsked()
	r.WantHead("liar", 22)
	require.Equal(t, 8*time.Second, r.dueIn())
	r.OnHead(context.Background(), a[22])
	r.HeadAsked()
	r.WantHead("liar", 23)
	require.Equal(t, minSpacing, r.dueIn(), "it was right")
}

func TestWantFinality(t *testing.T) {
	ctx := context.Background()
	a := newChain('a', 60)
	r := newRig(t, Config{}, a)
	r.follow(a, 10, 20)
	require.True(t, r.OnFinalized(ctx, a[12]))
	r.WantFinality(12)
	require.False(t, woken(r.FinalityWanted()), "known to be final")

	r.WantFinality(15)
	require.True(t, woken(r.FinalityWanted()))
	r.WantFinality(15)
	r.WantFinality(16)
	require.False(t, woken(r.FinalityWanted()), "once per head")
	r.OnHead(ctx, a[20])
	require.False(t, woken(r.FinalityWanted()))
	r.OnHead(ctx, a[21])
	require.True(t, woken(r.FinalityWanted()), "again with the next head")

	require.False(t, r.OnFinalized(ctx, a[12]), "not moved")
	require.True(t, r.OnFinalized(ctx, a[14]))
	r.OnHead(ctx, a[22])
	require.False(t, woken(r.FinalityWanted()), "finality moved: what is not final now was claimed too early")
	r.WantFinality(15)
	require.True(t, woken(r.FinalityWanted()))
}
