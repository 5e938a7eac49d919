package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCleanupsRunBackwards(t *testing.T) {
	var c cleanups
	var order []string
	for _, name := range []string{"first", "second", "third"} {
		c.add(name, func(context.Context) error {
			order = append(order, name)
			return errors.New("broken " + name)
		})
	}
	err := c.run(t.Context())
	require.Equal(t, []string{"third", "second", "first"}, order)
	require.EqualError(t, err, "failed to close third: broken third\nfailed to close second: broken second\nfailed to close first: broken first")
	require.NoError(t, c.run(t.Context()), "nothing is released twice")

	c.addFunc("late", func() { order = append(order, "late") })
	require.NoError(t, c.run(t.Context()))
	require.Equal(t, "late", order[3])
}

func TestCleanupsAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		patience time.Duration // of the caller
		release  func(context.Context) error
		want     string
		took     time.Duration
	}{
		"hangs for ever": {time.Hour, func(context.Context) error { select {} }, "failed to close hanging: still not done, left behind", releaseLimit + hurriedLimit},
		"hangs until told": {time.Hour, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}, "", releaseLimit},
		"caller is in a hurry": {time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}, "", time.Second},
		"caller has no time at all": {0, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(hurriedLimit / 2)
			return nil
		}, "", hurriedLimit / 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block := make(chan struct{})
				defer close(block)
				var c cleanups
				reached := false
				c.addFunc("beneath", func() { reached = true })
				release := test.release
				if test.want != "" {
					release = func(context.Context) error {
						<-block
						return nil
					}
				}
				c.add("hanging", release)
				ctx, cancel := context.WithTimeout(t.Context(), test.patience)
				defer cancel()
				start := time.Now()
				err := c.run(ctx)
				require.Equal(t, test.took, time.Since(start))
				require.True(t, reached, "the others are released all the same")
				if test.want == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, test.want)
				}
			})
		})
	}
}

func TestBackgroundIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		stop := background(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		})
		stop()
		require.True(t, ended)
	})
}
