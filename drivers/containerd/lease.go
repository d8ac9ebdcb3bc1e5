package containerd

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
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
		undo(ctx, l.end)
	}
}
