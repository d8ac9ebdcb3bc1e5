package agenthost

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// retireAfter is how long a value that was replaced stays open, for calls that
// still use it.
const retireAfter = 2 * time.Minute

// Connection keeps something open that is used for months: the drivers of a host.
// It is opened when it is first used, and an Open that failed is repeated by the
// next use. Open, Close, Replaced and Log are set before the first use; any
// goroutine may call its methods.
type Connection[T any] struct {
	Open     func(ctx context.Context) (T, error)
	Close    func(T) error
	Replaced func(T) bool // what it is connected to was replaced by something else: it has to be opened again
	Log      *slog.Logger

	mu      sync.Mutex
	current *T                // nil when it is not open
	retired map[*time.Timer]T // what was replaced and is not closed yet, by the timer that closes it
}

// Get gives what is open, or opens it.
func (c *Connection[T]) Get(ctx context.Context) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(ctx)
}

// Renew is Get, but opens again what was replaced.
func (c *Connection[T]) Renew(ctx context.Context) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.Replaced(*c.current) {
		c.retire()
	}
	return c.get(ctx)
}

func (c *Connection[T]) get(ctx context.Context) (T, error) {
	if c.current != nil {
		return *c.current, nil
	}
	opened, err := c.Open(ctx)
	if err == nil {
		c.current = &opened
	}
	return opened, err
}

// retire has what is open be closed later.
func (c *Connection[T]) retire() {
	var timer *time.Timer
	timer = time.AfterFunc(retireAfter, func() {
		c.mu.Lock()
		old, open := c.retired[timer]
		delete(c.retired, timer)
		c.mu.Unlock()
		if !open {
			return // Shut closes it
		}
		if err := c.Close(old); err != nil {
			c.Log.Warn("closing a connection to what was replaced", "error", err)
		}
	})
	if c.retired == nil {
		c.retired = map[*time.Timer]T{}
	}
	c.retired[timer], c.current = *c.current, nil
}

// Shut closes everything that is open.
func (c *Connection[T]) Shut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for timer, old := range c.retired {
		timer.Stop()
		errs = append(errs, c.Close(old))
	}
	if c.current != nil {
		errs = append(errs, c.Close(*c.current))
	}
	c.retired, c.current = nil, nil
	return errors.Join(errs...)
}
