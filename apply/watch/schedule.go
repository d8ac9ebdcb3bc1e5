package watch

import (
	"slices"
	"time"
)

// How long files must be left alone before they are read, and how long that is
// waited for at most.
const (
	settled   = 200 * time.Millisecond
	unsettled = 2 * time.Second
)

// schedule says when to look again, and whether the files are read for it.
type schedule struct {
	resync time.Duration

	first, last time.Time // of changes of files that were not read yet; zero when there are none
	at          time.Time // when a look is wanted; zero when none is
	retry       time.Time // when something that waits is due; zero when nothing is
	again       time.Time // of the next resync
	reload      bool      // the look reads the files
	causes      []string
}

// cause is why a look is made.
type cause struct {
	words   []string
	reload  bool      // read the files
	changed time.Time // when the first file changed; zero when none has
}

// file says that a file changed.
func (s *schedule) file(now time.Time) {
	if s.first.IsZero() {
		s.first = now
	}
	s.last = now
}

// look says that a look is wanted now.
func (s *schedule) look(now time.Time, why string) {
	if s.at.IsZero() {
		s.at = now
	}
	s.because(why)
}

// read is look, with the files read again.
func (s *schedule) read(now time.Time, why string) {
	s.reload = true
	s.look(now, why)
}

func (s *schedule) because(why string) {
	if !slices.Contains(s.causes, why) {
		s.causes = append(s.causes, why)
	}
}

// next is when to look. There always is a next resync.
func (s *schedule) next() time.Time {
	next := s.again
	for _, at := range []time.Time{s.files(), s.at, s.retry} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// files is when files that changed are read.
func (s *schedule) files() time.Time {
	if s.first.IsZero() {
		return time.Time{}
	}
	quiet, latest := s.last.Add(settled), s.first.Add(unsettled)
	if quiet.Before(latest) {
		return quiet
	}
	return latest
}

// begin takes what a look that begins now is for. Files that have not settled
// are left for the next one.
func (s *schedule) begin(now time.Time) cause {
	c := cause{words: s.causes, reload: s.reload}
	if files := s.files(); !files.IsZero() && !now.Before(files) {
		c.reload, c.changed = true, s.first
		c.words = append(c.words, "files changed")
		s.first, s.last = time.Time{}, time.Time{}
	}
	if !now.Before(s.again) {
		c.reload = true
		c.words = append(c.words, "resync")
	}
	if len(c.words) == 0 {
		c.words = []string{"something waited"}
	}
	if c.reload {
		s.again = now.Add(s.resync)
	}
	s.at, s.retry, s.reload, s.causes = time.Time{}, time.Time{}, false, nil
	return c
}

// wait says when something that waits is due; zero when nothing does.
func (s *schedule) wait(until time.Time) {
	if !until.IsZero() && (s.retry.IsZero() || until.Before(s.retry)) {
		s.retry = until
	}
}
