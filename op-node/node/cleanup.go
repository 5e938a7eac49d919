package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// releaseLimit bounds the release of one resource.
	releaseLimit = 10 * time.Second
	// hurriedLimit bounds it once the caller does not want to wait any more.
	hurriedLimit = time.Second
)

// cleanups releases resources in the opposite order of their making. A resource is added the moment it exists. Safe for concurrent
// use.
type cleanups struct {
	mu    sync.Mutex
	stack []cleanup
}

type cleanup struct {
	name    string
	release func(context.Context) error
}

// add remembers how to release a resource. The context that release gets is cancelled when the time for it is over or the caller of
// run is in a hurry.
func (c *cleanups) add(name string, release func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stack = append(c.stack, cleanup{name, release})
}

// addFunc is add for a release that needs no context and cannot fail.
func (c *cleanups) addFunc(name string, release func()) {
	c.add(name, func(context.Context) error {
		release()
		return nil
	})
}

// run releases everything, each resource once, whatever happens to the others. A release that does not come back in time is left
// alone and reported. A later run only releases what was added in between.
func (c *cleanups) run(ctx context.Context) error {
	var errs []error
	for {
		next, ok := c.pop()
		if !ok {
			return errors.Join(errs...)
		}
		if err := next.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("failed to close %s: %w", next.name, err))
		}
	}
}

func (c *cleanups) pop() (cleanup, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.stack) == 0 {
		return cleanup{}, false
	}
	last := len(c.stack) - 1
	top := c.stack[last]
	c.stack = c.stack[:last]
	return top, true
}

func (c cleanup) run(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, releaseLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.release(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// The context told the release to hurry; that takes a moment too.
	grace := time.NewTimer(hurriedLimit)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return errors.New("still not done, left behind")
	}
}
