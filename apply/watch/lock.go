package watch

import (
	"context"
	"sync"
)

// shared is the lock of the host, which a look and the changes that follow from
// earlier ones have together.
type shared struct {
	take func(context.Context) (func() error, error)

	mu   sync.Mutex
	held int
	free func() error
}

// hold takes the lock, or shares it. One look at a time calls it.
func (s *shared) hold(ctx context.Context) error {
	if s.share() {
		return nil
	}
	free, err := s.take(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.free = 1, free
	return nil
}

func (s *shared) share() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == 0 {
		return false
	}
	s.held++
	return true
}

// release gives up a share. The last one frees the lock.
func (s *shared) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	if s.held > 0 {
		return nil
	}
	return s.free()
}
