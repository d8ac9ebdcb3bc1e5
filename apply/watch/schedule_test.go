package watch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is when each test of a schedule begins.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// started is a schedule whose first sync has begun, at noon.
func started(t *testing.T) schedule {
	t.Helper()
	s := newSchedule(5*time.Minute, noon)
	expectSync(t, &s, 0, "start, reload")
	return s
}

// expectSync checks that the next sync is due so long after noon, and begins it.
// The text is its causes, and whether it reads the files.
func expectSync(t *testing.T, s *schedule, after time.Duration, want string) {
	t.Helper()
	at := s.next()
	c := s.begin(at)
	got := strings.Join(c.words, ", ")
	if c.reload {
		got += ", reload"
	}
	if at.Sub(noon) != after || got != want {
		t.Errorf("next sync after %s: %s; want after %s: %s", at.Sub(noon), got, after, want)
	}
}

func TestFilesAreReadWhenTheyHaveSettled(t *testing.T) {
	s := started(t)
	s.filesChanged(noon.Add(time.Second))
	s.filesChanged(noon.Add(1100 * time.Millisecond))
	s.request(noon.Add(1200*time.Millisecond), "task exited")
	expectSync(t, &s, 1200*time.Millisecond, "task exited")
	if !s.specsChanging() {
		t.Error("files that were not read yet do not count as changing")
	}
	expectSync(t, &s, 1300*time.Millisecond, "files changed, reload")
	if s.specsChanging() {
		t.Error("files that were read count as changing")
	}
	for at := 2 * time.Second; at < 6*time.Second; at += 100 * time.Millisecond {
		s.filesChanged(noon.Add(at))
	}
	expectSync(t, &s, 4*time.Second, "files changed, reload")
}

func TestResyncAndRetries(t *testing.T) {
	s := started(t)
	s.requestAt(noon.Add(time.Minute))
	s.requestAt(noon.Add(time.Second))
	s.requestAt(time.Time{})
	expectSync(t, &s, time.Second, "retry")
	expectSync(t, &s, 5*time.Minute, "resync, reload")
	expectSync(t, &s, 10*time.Minute, "resync, reload")
	s.requestReload(noon.Add(11*time.Minute), "SIGHUP")
	expectSync(t, &s, 11*time.Minute, "SIGHUP, reload")
	expectSync(t, &s, 16*time.Minute, "resync, reload")
}

func TestASlowObservationIsFollowedByAPause(t *testing.T) {
	s := started(t)
	s.observationEnded(10*time.Second, noon.Add(10*time.Second))
	s.request(noon.Add(11*time.Second), "task exited")
	expectSync(t, &s, 20*time.Second, "task exited")
}

// TestBackoffOfSyncs checks the waits after observations that fail, and after
// plans with an error of the host.
func TestBackoffOfSyncs(t *testing.T) {
	away := errors.New("containerd is away")
	for name, test := range map[string]struct {
		fail func(s *schedule, now time.Time)
		want []time.Duration
	}{
		"observations": {func(s *schedule, now time.Time) { s.observationFailed(away, now) }, []time.Duration{0, 1, 2, 4, 8, 16, 30, 30}},
		"host errors":  {func(s *schedule, now time.Time) { s.retryHostErrors(away, now) }, []time.Duration{1, 2, 4, 8, 16, 32, 64, 128}},
	} {
		s, now := newSchedule(time.Hour, noon), noon
		s.begin(now)
		var got []time.Duration
		for range test.want {
			test.fail(&s, now)
			got = append(got, s.next().Sub(now)/time.Second)
			now = s.next()
			s.begin(now)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: seconds (-want +got):\n%s", name, diff)
		}
	}
}
