package page

import (
	"fmt"
	"strings"
	"time"

	"carrel/plan/decide"
	"carrel/plan/report"
)

// At is a time relative to now.
func (p page) At(at time.Time) moment { return moment{at: at, now: p.Now} }

// Several is a number of things in words.
func (page) Several(n int, one, many string) string { return several(n, one, many) }

func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Took is how long a change took.
func (page) Took(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// moment is a time relative to another one, now.
type moment struct{ at, now time.Time }

// Words is for example "3 minutes ago" or "in 3 minutes".
func (m moment) Words() string {
	switch ahead := m.at.Sub(m.now); {
	case ahead >= time.Second:
		return "in " + decide.Since(ahead)
	case ahead > 0:
		return "now"
	default:
		return decide.Since(-ahead) + " ago"
	}
}

// Stamp is the exact time for programs.
func (m moment) Stamp() string { return m.at.UTC().Format(time.RFC3339) }

// Exact is the exact time for people.
func (m moment) Exact() string { return m.at.UTC().Format("Monday, 2 January 2006, 15:04:05 UTC") }

// row is one workspace in a table.
type row struct {
	report.Status
	Pending bool   // a change of it needs approval
	Working bool   // it is being changed
	Foreign string // its set, when that is not the agent's
	now     time.Time
}

// Unhealthy reports whether a workspace needs attention. One that is stopped
// needs none: its spec may say so.
func (r row) Unhealthy() bool {
	if r.State == report.StateRunning || r.State.Idle() {
		return r.Pending || r.LastError != "" || r.Restarts > 0 || r.NextRetry != nil
	}
	return r.State != report.StateWaiting || r.NextRetry != nil
}

// Kind is the CSS class of the state: good, busy, idle or bad.
func (r row) Kind() string {
	switch {
	case r.Working, r.State == report.StateWaiting && r.NextRetry == nil:
		return "busy"
	case r.State == report.StateRunning:
		return "good"
	case r.State.Idle():
		return "idle"
	}
	return "bad"
}

// Remarks is the text beside the state.
func (r row) Remarks() string {
	var words []string
	if r.Working {
		words = append(words, "being changed")
	}
	if r.ExitCode != nil {
		words = append(words, fmt.Sprintf("exit code %d", *r.ExitCode))
	}
	if r.OOMKills > 0 {
		words = append(words, "out of memory")
	}
	if r.Restarts > 0 {
		words = append(words, "restarted "+several(r.Restarts, "time", "times"))
	}
	if r.Pending {
		words = append(words, "needs approval")
	}
	return strings.Join(words, ", ")
}

// Since is when the workspace entered its state; nil when that is not known.
func (r row) Since() *moment {
	if r.UpSince != nil {
		return r.moment(r.UpSince)
	}
	return r.moment(r.ExitedAt)
}

// Retry is when the agent retries; nil when nothing failed.
func (r row) Retry() *moment { return r.moment(r.NextRetry) }

func (r row) moment(at *time.Time) *moment {
	if at == nil || at.IsZero() {
		return nil
	}
	return &moment{at: *at, now: r.now}
}

// ShortDigest is the beginning of the image's digest, for people.
func (r row) ShortDigest() string {
	_, hex, _ := strings.Cut(r.Digest, ":")
	return hex[:min(digestShown, len(hex))]
}
