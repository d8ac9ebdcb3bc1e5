package watch

import (
	"context"
	"sync"
)

// sharedLock is the lock of the host. An observation and the changes that follow
// from earlier ones share it.
type sharedLock struct {
	take func(context.Context) (release func() error, err error)

	mu      sync.Mutex
	holders int
	free    func() error // of what was taken
}

// acquire takes the lock, or shares it when the agent has it. Observations call
// it, one at a time.
func (s *sharedLock) acquire(ctx context.Context) error {
	if s.share() {
		return nil
	}
	free, err := s.take(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders, s.free = 1, free
	return nil
}

func (s *sharedLock) share() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders == 0 {
		return false
	}
	s.holders++
	return true
}

// release gives up one share. The last one releases the lock.
func (s *sharedLock) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders--
	if s.holders > 0 {
		return nil
	}
	return s.free()
}
