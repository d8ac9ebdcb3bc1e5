package decide

import (
	"fmt"
	"slices"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// StoppedByUser reports whether a person stopped the workspace, and its spec has
// not changed since.
func (s Subject) StoppedByUser() bool {
	return s.Record != nil && s.Record.StoppedByUser && s.Record.Applied != nil &&
		(s.Desired == nil || len(compare(*s.Record.Applied, *s.Desired)) == 0)
}

// Applied is the spec that was applied last, as the instance says, or else the
// record.
func (s Subject) Applied() *spec.Workspace {
	if s.Instance != nil && s.Instance.Applied != nil {
		return s.Instance.Applied
	}
	if s.Record != nil {
		return s.Record.Applied
	}
	return nil
}

// NeverRan reports whether the instance is of a change that failed: it does not run,
// and the record was never written with what it was made from.
func (s Subject) NeverRan() bool {
	c, r := s.Instance, s.Record
	if c == nil || c.Task.Alive() || c.Applied == nil || r == nil {
		return false
	}
	return r.Applied == nil || costOf(compare(*r.Applied, *c.Applied)) == CostReplace
}

// LastApplyFailed is a reason for a change. The record says how it failed: that is
// left out, because the error of this change may be the same.
const LastApplyFailed = "the last apply failed"

// staleRecord is why the record of a workspace must be written though its
// instance is as desired; "" when it need not.
func (s Subject) staleRecord() string {
	r := s.Record
	switch {
	case r == nil:
		return "record missing in the store"
	case r.LastError != "":
		return LastApplyFailed
	case r.Source != s.Desired.Source && r.Gone && s.Desired.Source != "":
		return s.Desired.Source + " describes it now"
	case r.Container != s.Instance.ID:
		return fmt.Sprintf("the record names container %q", r.Container)
	case r.Applied == nil || len(compare(*r.Applied, *s.Desired)) > 0:
		return "the record has an older spec than the container"
	}
	return ""
}

// damage is that the instance can never start again. One whose process runs stays
// until that ends.
func (s Subject) damage() []Field {
	if s.Instance.Damaged == "" || s.Instance.Task.Alive() {
		return nil
	}
	return []Field{{Path: "container", Old: s.Instance.Damaged, New: "a new one", cost: CostReplace}}
}

// outdated notes that a file of the host was replaced since the process started: only
// a restart shows it the new one.
func (s Subject) outdated() []string {
	file := s.Instance.Outdated
	if file == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s has %s as it was when it started, and the host has replaced it since (carrel restart %s)", s.Name, file, s.Name)}
}

// whyNotRunning is why the process of an instance has to be started.
func whyNotRunning(t state.Task, now time.Time) string {
	switch t.Status {
	case state.TaskStopped:
		return fmt.Sprintf("exited %d%s%s", t.ExitCode, t.ShortOfMemory(), ago(t.ExitedAt, now))
	case state.TaskPaused:
		return "its task is paused"
	case state.TaskCreated:
		return "its task was made and never started"
	default:
		return "it has no task"
	}
}

func ago(at, now time.Time) string {
	if at.IsZero() || at.After(now) {
		return ""
	}
	return " " + Since(now.Sub(at)) + " ago"
}

// then adds a reason. The first call sets the action; the highest cost of all
// calls counts.
func (d *Decision) then(action Action, cost Cost, reason string) {
	if d.Action == "" {
		d.Action = action
	}
	d.Cost = costlier(d.Cost, cost)
	d.Because(reason)
}

func (d *Decision) Because(reason string) {
	if !slices.Contains(d.Reasons, reason) {
		d.Reasons = append(d.Reasons, reason)
	}
}

// update has fields of an instance that stays be changed in place.
func (d *Decision) update(changed []Field) {
	for _, field := range changed {
		d.then(ActionUpdate, CostInPlace, field.Reason())
		d.Goal.Instance, d.Goal.Redescribe = UpdateInstance, d.Instance.Redescribed()
	}
}

// Position is where the spec of a workspace names it; zero when no spec does.
func (s Subject) Position() spec.Pos {
	if s.Desired == nil {
		return spec.Pos{}
	}
	return s.Desired.At("metadata.name")
}
