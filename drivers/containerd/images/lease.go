package images

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/log"
)

// lease is a lease of containerd that calls share which run at the same time: the
// first one makes it, the last one deletes it.
type lease struct {
	mu    sync.Mutex
	users int
	id    string
	end   func(context.Context) error // deletes it
}

func (l *lease) acquire(ctx context.Context, c *client.Client) (context.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 {
		leased, end, err := c.WithLease(ctx)
		if err != nil {
			return nil, err
		}
		l.id, _ = leases.FromContext(leased)
		l.end = end
	}
	l.users++
	return leases.WithLease(ctx, l.id), nil
}

func (l *lease) release(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	if l.users == 0 {
		CleanUp(ctx, l.end)
	}
}

// cleanupTimeout limits work that cleans up. It is of a context of its own, because
// the call may have failed with its context.
const cleanupTimeout = 10 * time.Second

// CleanUp runs a function that removes what a call needed only while it ran, even
// when ctx has ended. What it cannot remove, containerd collects when the lease
// expires.
func CleanUp(ctx context.Context, remove func(context.Context) error) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := remove(own); err != nil {
		log.G(ctx).WithError(err).Debug("clean up")
	}
}
