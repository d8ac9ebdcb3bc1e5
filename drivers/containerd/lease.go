package containerd

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
)

// lease is one that everything which needs a lease at the same time shares: the
// first to need it makes it, the last releases it.
type lease struct {
	mu      sync.Mutex
	holders int
	id      string
	end     func(context.Context) error
}

func (l *lease) hold(ctx context.Context, c *client.Client) (context.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders == 0 {
		leased, end, err := c.WithLease(ctx)
		if err != nil {
			return nil, err
		}
		l.id, _ = leases.FromContext(leased)
		l.end = end
	}
	l.holders++
	return leases.WithLease(ctx, l.id), nil
}

func (l *lease) release(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders--
	if l.holders == 0 {
		undo(ctx, l.end)
	}
}
