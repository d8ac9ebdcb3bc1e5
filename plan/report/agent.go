package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carrel/plan/decide"
	"carrel/plan/state"
)

// noHeartbeat is how long an agent may report nothing before it counts as gone.
const noHeartbeat = 2 * time.Minute

// Agent is the report of an agent: for the page, for /status and for systemd.
type Agent struct {
	state.Agent
	Workspaces []Status       `json:"workspaces"` // as they were at SyncedAt
	Recent     []state.Recent `json:"recent"`     // changes that were carried out, newest first
}

// OfAgent makes the report of an agent from what it knows and what it observed.
// started returns when a process was started, zero when that is unknown; it may
// be nil.
func OfAgent(a state.Agent, observed state.State, recent []state.Recent, started func(pid uint32) time.Time) Agent {
	r := Agent{Agent: a, Workspaces: WithUnmade(Statuses(observed), a.Host, a), Recent: notNil(recent)}
	r.Working, r.Pending, r.Waiting = notNil(r.Working), notNil(r.Pending), notNil(r.Waiting)
	r.Errors, r.Notes, r.Paths = notNil(r.Errors), notNil(r.Notes), notNil(r.Paths)
	for i := range r.Workspaces {
		r.Workspaces[i] = r.Workspaces[i].Of(a).Up(started)
	}
	return r
}

// Gone reports whether an agent was stopped, or has sent no heartbeat for so long
// that it probably does not run.
func Gone(a state.Agent, now time.Time) bool {
	return a.Trouble == state.Stopped || now.Sub(a.SeenAt) > noHeartbeat
}

// Health is the state of an agent in a few words.
func Health(a state.Agent, now time.Time) string {
	switch since := now.Sub(a.SeenAt); {
	case a.Trouble == state.Stopped:
		return fmt.Sprintf("it was stopped %s ago", decide.Since(since))
	case since > noHeartbeat:
		return fmt.Sprintf("no heartbeat for %s", decide.Since(since))
	case a.Trouble != "":
		return a.Trouble
	case a.SyncedAt.IsZero():
		return "not synced yet"
	default:
		return fmt.Sprintf("last sync %s ago", decide.Since(now.Sub(a.SyncedAt)))
	}
}

// Running are the agents that are not gone: what others reported may be obsolete.
func Running(all []state.Agent, now time.Time) []state.Agent {
	return slices.DeleteFunc(slices.Clone(all), func(a state.Agent) bool { return Gone(a, now) })
}

// Lines is the report of an agent without the workspaces, one fact a line. Of an
// agent that is gone, only how much it reported last is left.
func Lines(a state.Agent, now time.Time) []string {
	if Gone(a, now) {
		line := fmt.Sprintf("agent of set %s: it does not run, %s", a.Set, Health(a, now))
		if last := counts(a); last != "" {
			line += "; it had reported " + last
		}
		return []string{line}
	}
	lines := []string{fmt.Sprintf("agent of set %s: carrel %s, up %s, %s", a.Set, a.Version, decide.Since(now.Sub(a.StartedAt)), Health(a, now))}
	for _, p := range state.Grouped(a.Pending) {
		what := p.Names()
		if n := len(p.Workspaces); n > 1 {
			what = fmt.Sprintf("%d workspaces: %s", n, what)
		}
		lines = append(lines, fmt.Sprintf("  pending: %s %s: %s", p.Action, what, p.Why))
	}
	for _, w := range a.Waiting {
		what := w.Workspace
		if w.Image != "" {
			what = "image " + w.Image
		}
		lines = append(lines, fmt.Sprintf("  waiting: %s: %s (attempt %d, retry %s)", what, w.Why, w.Attempts, When(w.Until, now)))
	}
	for _, e := range a.Errors {
		position := e.Position
		if position != "" {
			position += ": "
		}
		lines = append(lines, fmt.Sprintf("  error: %s%s (for %s)", position, e.Text, decide.Since(now.Sub(e.Since))))
	}
	return lines
}

// counts is how much an agent reported.
func counts(a state.Agent) string {
	var words []string
	for _, c := range []struct {
		n         int
		one, many string
	}{
		{len(a.Pending), "pending change", "pending changes"}, {len(a.Waiting), "retry", "retries"}, {len(a.Errors), "error", "errors"},
	} {
		switch {
		case c.n == 1:
			words = append(words, "1 "+c.one)
		case c.n > 1:
			words = append(words, fmt.Sprintf("%d %s", c.n, c.many))
		}
	}
	return strings.Join(words, ", ")
}

// When is a future time in words, for example "in 3 minutes".
func When(at, now time.Time) string {
	if !at.After(now) {
		return "now"
	}
	return "in " + decide.Since(at.Sub(now))
}
