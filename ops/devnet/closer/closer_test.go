package closer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCloseRunsNewestFirstOnce(t *testing.T) {
	var c Closer
	var order []string
	for _, name := range []string{"a", "b", "c"} {
		c.AddFunc(name, func() { order = append(order, name) })
	}
	require.NoError(t, c.Close())
	require.Equal(t, []string{"c", "b", "a"}, order)
	require.NoError(t, c.Close())
	require.Len(t, order, 3, "what ran is forgotten")
}

func TestCloseJoinsErrorsAndGoesOn(t *testing.T) {
	var c Closer
	first, second := errors.New("first"), errors.New("second")
	ran := false
	c.AddFunc("base", func() { ran = true })
	c.AddErr("one", func() error { return first })
	c.Add("two", func(context.Context) error { return second })
	err := c.Close()
	require.ErrorIs(t, err, first)
	require.ErrorIs(t, err, second)
	require.ErrorContains(t, err, "close one: first")
	require.True(t, ran)
}

func TestCleanupThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Closer
		release := make(chan struct{})
		defer close(release)
		ran := false
		c.AddFunc("base", func() { ran = true })
		c.AddWithin("stuck", time.Second, func(context.Context) error { <-release; return nil })
		c.AddWithin("heeding", time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		start := time.Now()
		err := c.Close()
		require.ErrorContains(t, err, "close stuck: not done after 1s")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, ran)
		require.Less(t, time.Since(start), 3*time.Second)
	})
}

func TestCleanupMayAddAnother(t *testing.T) {
	var c Closer
	ran := false
	c.AddFunc("outer", func() { c.AddFunc("inner", func() { ran = true }) })
	require.NoError(t, c.Close())
	require.True(t, ran)
}
