package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockRetry is how often a lock that another holds is tried again.
const lockRetry = 100 * time.Millisecond

// Lock makes sure that one run at a time changes a host. It waits at most so
// long for another run to end, and then says which one it is. The kernel frees
// the lock of a program that dies.
func Lock(ctx context.Context, stateDir, who string, wait time.Duration) (unlock func() error, err error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state dir: %w", err)
	}
	lock, path, err := openLock(stateDir)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	held, err := lock.TryLock()
	if err == nil && !held {
		held, err = lock.TryLockContext(waiting, lockRetry)
	}
	switch {
	case held:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case waiting.Err() != nil:
		return nil, &LockedError{Path: path, Holder: holder(path)}
	default:
		return nil, fmt.Errorf("lock: %w", err)
	}
	text := fmt.Sprintf("%s, process %d, since %s\n", who, os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil && !full(err) { // the lock is held without the text
		return nil, errors.Join(fmt.Errorf("lock: %w", err), lock.Unlock())
	}
	return lock.Unlock, nil
}

// openLock is the lock of a state dir. Where its file cannot be made, as on a full
// disk, the folder itself is locked.
func openLock(stateDir string) (lock *flock.Flock, path string, err error) {
	path = filepath.Join(stateDir, "lock")
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	switch {
	case err == nil:
		return flock.New(path, flock.SetPermissions(0o600)), path, f.Close()
	case full(err):
		return flock.New(stateDir, flock.SetFlag(os.O_RDONLY)), path, nil
	}
	return nil, "", fmt.Errorf("lock: %w", err)
}

// full reports whether a filesystem takes nothing more.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

func holder(path string) string {
	text, err := os.ReadFile(path)
	who := strings.TrimSpace(string(text))
	if err != nil || who == "" {
		return "another run"
	}
	return who
}

// LockedError is a host that another run is changing.
type LockedError struct {
	Path   string
	Holder string
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("another run is changing this host: %s (wait for it, or give it longer with --lock-timeout)", e.Holder)
}
