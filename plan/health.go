package plan

import (
	"fmt"
	"time"
)

// silent is how long an agent may say nothing before it counts as gone.
const silent = 2 * time.Minute

// Stopped is the trouble of an agent that was stopped.
const Stopped = "it was stopped"

// Gone reports whether the agent does not run, as far as can be told.
func (a Agent) Gone(now time.Time) bool { return a.Trouble == Stopped || now.Sub(a.SeenAt) > silent }

// Health is how an agent is, in a few words.
func (a Agent) Health(now time.Time) string {
	switch since := now.Sub(a.SeenAt); {
	case a.Trouble == Stopped:
		return fmt.Sprintf("it was stopped %s ago", Since(since))
	case since > silent:
		return fmt.Sprintf("no heartbeat for %s", Since(since))
	case a.Trouble != "":
		return a.Trouble
	case a.LookedAt.IsZero():
		return "it has not looked yet"
	default:
		return fmt.Sprintf("last look %s ago", Since(now.Sub(a.LookedAt)))
	}
}

// Lines are what an agent knows beyond the workspaces, one thing a line.
func (a Agent) Lines(now time.Time) []string {
	lines := []string{fmt.Sprintf("agent of set %s: carrel %s, up %s, %s", a.Set, a.Version, Since(now.Sub(a.StartedAt)), a.Health(now))}
	if a.Gone(now) {
		lines = []string{fmt.Sprintf("agent of set %s: it does not run, %s; what it said then:", a.Set, a.Health(now))}
	}
	for _, p := range a.Pending {
		lines = append(lines, fmt.Sprintf("  pending: %s %s: %s", p.Action, p.Workspace, p.Why))
	}
	for _, w := range a.Waiting {
		what := w.Workspace
		if w.Image != "" {
			what = "image " + w.Image
		}
		lines = append(lines, fmt.Sprintf("  waiting: %s: %s (tried %d times, next %s)", what, w.Why, w.Tries, When(w.Until, now)))
	}
	for _, f := range a.Faults {
		place := f.Place
		if place != "" {
			place += ": "
		}
		lines = append(lines, fmt.Sprintf("  fault: %s%s (for %s)", place, f.Text, Since(now.Sub(f.Since))))
	}
	return lines
}

// When is a time to come in the words of a person.
func When(at, now time.Time) string {
	if !at.After(now) {
		return "now"
	}
	return "in " + Since(at.Sub(now))
}
