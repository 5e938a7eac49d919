// Package closer collects the cleanups of a program that starts many things.
//
// A cleanup is registered the moment its resource exists. Close runs them last in, first out, each within its own
// time limit, so one that hangs delays the rest but never prevents it. A start that fails half-way rolls back with
// the same Close.
package closer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// DefaultLimit bounds a cleanup registered without a limit of its own.
const DefaultLimit = 10 * time.Second

// Closer is a stack of named cleanups. The zero value is ready for use; all methods may be called from any goroutine.
type Closer struct {
	mu    sync.Mutex
	steps []step
}

type step struct {
	name  string
	limit time.Duration
	run   func(context.Context) error
}

// Add registers a cleanup bounded by DefaultLimit. The context it gets ends with that limit.
func (c *Closer) Add(name string, run func(context.Context) error) {
	c.AddWithin(name, DefaultLimit, run)
}

// AddFunc registers a cleanup that cannot fail.
func (c *Closer) AddFunc(name string, run func()) {
	c.Add(name, func(context.Context) error { run(); return nil })
}

// AddErr registers a cleanup that takes no context, such as an io.Closer's.
func (c *Closer) AddErr(name string, run func() error) {
	c.Add(name, func(context.Context) error { return run() })
}

// AddWithin registers a cleanup bounded by limit.
func (c *Closer) AddWithin(name string, limit time.Duration, run func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, step{name: name, limit: limit, run: run})
}

// Close runs every cleanup registered so far, newest first, and joins their errors. A cleanup that outlives its
// limit is reported and left behind. What ran is forgotten: a second Close does nothing.
func (c *Closer) Close() error {
	var errs []error
	for {
		s, ok := c.pop()
		if !ok {
			return errors.Join(errs...)
		}
		if err := s.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", s.name, err))
		}
	}
}

func (c *Closer) pop() (step, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.steps) == 0 {
		return step{}, false
	}
	last := c.steps[len(c.steps)-1]
	c.steps = c.steps[:len(c.steps)-1]
	return last, true
}

func (s step) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	// A cleanup that heeds its context may answer just after the limit; give it the chance to say what happened.
	grace := time.NewTimer(s.limit + s.limit/10)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("not done after %s", s.limit)
	}
}
