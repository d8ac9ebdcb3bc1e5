package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"carrel/plan"
)

// The limits of the last output of a process.
const (
	lastLines     = 3
	lastSize      = 4 << 10         // bytes, of which the lines are taken
	outputTimeout = 5 * time.Second // for the shim to write the rest, once the process has ended
	outputRetry   = 5 * time.Millisecond
)

// starts are where the output of workspaces ended when their processes were started.
type starts struct {
	mu   sync.Mutex
	size map[string]int64 // by workspace
}

func (s *starts) note(workspace, file string) {
	info, err := os.Stat(file)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size == nil {
		s.size = map[string]int64{}
	}
	s.size[workspace] = 0
	if err == nil { // else there is no output yet
		s.size[workspace] = info.Size()
	}
}

func (s *starts) of(workspace string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size[workspace]
}

// LastOutput are the last lines that a process printed which this driver started and
// which has ended. There are none when they cannot be read: they explain an error,
// and are not one.
func (d *Driver) LastOutput(ctx context.Context, s plan.StartTask) []string {
	path, err := d.logFile(s.Workspace)
	if err != nil {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	untilWritten(ctx, f)
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	began := d.starts.of(s.Workspace)
	from := max(began, end-lastSize)
	text, err := io.ReadAll(io.NewSectionReader(f, from, max(0, end-from)))
	if err != nil {
		return nil
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	if from > began && len(lines) > 1 {
		lines = lines[1:] // its beginning was not read
	}
	return lines[max(0, len(lines)-lastLines):]
}

// untilWritten waits until no program has a file open for writing. The kernel gives
// a lease for reading only then.
func untilWritten(ctx context.Context, f *os.File) {
	ctx, cancel := context.WithTimeout(ctx, outputTimeout)
	defer cancel()
	for {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		if err == nil {
			_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) // closing the file ends it, too
			return
		}
		if !errors.Is(err, unix.EAGAIN) {
			return // not on this filesystem
		}
		select {
		case <-time.After(outputRetry):
		case <-ctx.Done():
			return
		}
	}
}
