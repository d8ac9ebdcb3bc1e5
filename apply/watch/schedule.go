package watch

import (
	"slices"
	"time"
)

// Files are read once they have not changed for settleTime, so that a file that
// is half written is not read. Files that keep changing are read after settleLimit.
const (
	settleTime  = 200 * time.Millisecond
	settleLimit = 2 * time.Second
)

// maxObserveBackoff is the longest wait after an observation that failed: what
// it needs (containerd, the store) may be back at any time.
const maxObserveBackoff = 30 * time.Second

// schedule is when to sync next, and why. A sync may be requested, be due
// because files changed, because something is to be retried, or because the last
// one that read the files is a resync interval ago.
type schedule struct {
	resync   time.Duration // between two syncs that read the files
	resyncAt time.Time     // of the next one

	firstChange time.Time // of the files, of those that were not read yet; zero when there are none
	lastChange  time.Time // likewise

	requestedAt time.Time // zero when no sync is requested
	reload      bool      // the requested sync reads the files
	causes      []string  // of the requested sync, for the log
	retryAt     time.Time // when something that waits is due; zero when nothing is
	notBefore   time.Time // no sync before: a slow observation is followed by a pause of its own length

	observation retry // of observations that fail
	hostErrors  retry // of errors of specs that the host causes: a device or a folder that is missing may appear
}

// cause is why a sync is made.
type cause struct {
	words   []string
	reload  bool      // it reads the files
	changed time.Time // when the first of the files changed; zero when none did
}

func newSchedule(resync time.Duration, now time.Time) schedule {
	s := schedule{resync: resync, resyncAt: now.Add(resync)}
	s.requestReload(now, "start")
	return s
}

// filesChanged notes a change of the files.
func (s *schedule) filesChanged(now time.Time) {
	if s.firstChange.IsZero() {
		s.firstChange = now
	}
	s.lastChange = now
}

// specsChanging reports whether files changed that were not read yet.
func (s *schedule) specsChanging() bool { return !s.firstChange.IsZero() }

// request requests a sync now.
func (s *schedule) request(now time.Time, why string) {
	if s.requestedAt.IsZero() {
		s.requestedAt = now
	}
	if !slices.Contains(s.causes, why) {
		s.causes = append(s.causes, why)
	}
}

// requestReload requests a sync that reads the files.
func (s *schedule) requestReload(now time.Time, why string) {
	s.reload = true
	s.request(now, why)
}

// requestAt has something be retried at a time; zero requests nothing.
func (s *schedule) requestAt(at time.Time) {
	if !at.IsZero() && (s.retryAt.IsZero() || at.Before(s.retryAt)) {
		s.retryAt = at
	}
}

// next is when to sync next.
func (s *schedule) next() time.Time {
	next := s.resyncAt
	for _, at := range []time.Time{s.filesSettled(), s.requestedAt, s.retryAt} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if next.Before(s.notBefore) {
		return s.notBefore
	}
	return next
}

// filesSettled is when files that changed are read; zero when none changed.
func (s *schedule) filesSettled() time.Time {
	if s.firstChange.IsZero() {
		return time.Time{}
	}
	settled, latest := s.lastChange.Add(settleTime), s.firstChange.Add(settleLimit)
	if settled.Before(latest) {
		return settled
	}
	return latest
}

// begin takes the causes of a sync that begins now. Files that have not settled
// are left to a later one.
func (s *schedule) begin(now time.Time) cause {
	c := cause{words: s.causes, reload: s.reload}
	if settled := s.filesSettled(); !settled.IsZero() && !now.Before(settled) {
		c.reload, c.changed = true, s.firstChange
		c.words = append(c.words, "files changed")
		s.firstChange, s.lastChange = time.Time{}, time.Time{}
	}
	if !now.Before(s.resyncAt) {
		c.reload = true
		c.words = append(c.words, "resync")
	}
	if len(c.words) == 0 {
		c.words = []string{"retry"}
	}
	if c.reload {
		s.resyncAt = now.Add(s.resync)
	}
	s.requestedAt, s.retryAt, s.reload, s.causes = time.Time{}, time.Time{}, false, nil
	return c
}

// observationEnded notes the end of an observation that took some time.
func (s *schedule) observationEnded(took time.Duration, now time.Time) { s.notBefore = now.Add(took) }

// observationSucceeded ends the backoff of observations.
func (s *schedule) observationSucceeded() { s.observation = retry{} }

// observationFailed has the host be observed again after a backoff.
func (s *schedule) observationFailed(err error, now time.Time) {
	s.observation = s.observation.end(err, now)
	at := s.observation.at
	if latest := now.Add(maxObserveBackoff); at.After(latest) {
		at = latest
	}
	s.requestAt(at)
}

// retryHostErrors has specs be planned again, after a backoff, that have errors
// which the host causes. Err is all of them; nil when there are none.
func (s *schedule) retryHostErrors(err error, now time.Time) {
	switch {
	case err == nil:
		s.hostErrors = retry{}
		return
	case s.hostErrors.key != err.Error():
		s.hostErrors = retry{key: err.Error(), attempt: 1}.end(err, now)
	case !now.Before(s.hostErrors.at):
		s.hostErrors = s.hostErrors.end(err, now)
	}
	s.requestAt(s.hostErrors.at)
}
