package watch

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"carrel/apply"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// mostRecent is how many changes a report has.
const mostRecent = 50

func addFault(all map[string]state.SpecError, f spec.Error, now time.Time) {
	place := ""
	if f.Pos != (spec.Pos{}) {
		place = spec.Error{Msg: f.Pos.String()}.Error() // in one line, whatever the file is called
	}
	fault := state.SpecError{Position: place, Text: spec.Error{Msg: f.Msg, Hint: f.Hint}.Error(), Since: now.UTC()}
	all[place+": "+fault.Text] = fault
}

// tellFaults says each fault once, and once that it is mended.
func (l *loop) tellFaults(faults map[string]state.SpecError) {
	for _, key := range slices.Sorted(maps.Keys(faults)) {
		fault := faults[key]
		if before, told := l.faults[key]; told {
			faults[key] = before
			continue
		}
		l.log.Warn("not applied", "place", fault.Position, "fault", fault.Text)
	}
	for _, key := range slices.Sorted(maps.Keys(l.faults)) {
		fault := l.faults[key]
		if _, still := faults[key]; !still {
			l.log.Info("mended", "place", fault.Position, "fault", fault.Text)
		}
	}
	l.faults = faults
}

// tellPending says each change once that waits for a person, or for its time.
func (l *loop) tellPending(before verdict) {
	for _, p := range l.verdict.Pending {
		if !slices.Contains(before.Pending, p) {
			l.log.Warn("left to a person", "workspace", p.Workspace, "action", p.Action, "because", p.Why)
		}
	}
	for _, w := range l.verdict.Waiting {
		told := slices.ContainsFunc(before.Waiting, func(b state.Waiting) bool {
			return b.Workspace == w.Workspace && b.Image == w.Image && b.Until.Equal(w.Until)
		})
		if !told && w.Workspace != "" {
			l.log.Warn("backing off", "workspace", w.Workspace, "because", w.Why, "tries", w.Attempts, "next", w.Until.UTC().Format(time.RFC3339))
		}
	}
}

// tellChange says what was done, in one line.
func (l *loop) tellChange(c plan.Change, took time.Duration, err error, a attempt, now time.Time) {
	reason := strings.Join(c.Reasons, "; ")
	took = took.Round(time.Millisecond)
	recent := state.Recent{Time: now.UTC(), Workspace: c.Workspace, Action: string(c.Action), Reason: reason, Duration: took}
	if err != nil {
		recent.Error = reasonOf(err)
		l.log.Error("change failed", "workspace", c.Workspace, "action", c.Action, "because", reason, "took", took.String(),
			"error", reasonOf(err), "tries", a.tries-1, "next", a.until.UTC().Format(time.RFC3339))
	} else {
		l.log.Info("change done", "workspace", c.Workspace, "action", c.Action, "because", reason, "took", took.String())
	}
	l.recent = slices.Insert(l.recent, 0, recent)
	l.recent = l.recent[:min(len(l.recent), mostRecent)]
}

// tellOthers says what went wrong in a run beside its changes.
func (l *loop) tellOthers(err error) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		var step *apply.StepError
		var interrupted *apply.InterruptedError
		if !errors.As(err, &step) && !errors.As(err, &interrupted) {
			l.log.Error("the run", "error", err)
		}
	}
}

// publish makes the snapshot anew.
func (l *loop) publish(now time.Time) {
	l.stale, l.published = false, now
	a := l.About
	a.Set, a.Trouble = l.loaded.Want.Name, l.trouble
	a.StartedAt, a.SeenAt, a.SyncedAt = l.started, now.UTC(), l.lookedAt
	a.Pending, a.Waiting, a.Notes = list(l.verdict.Pending), list(l.verdict.Waiting), list(l.notes)
	a.Errors = []state.SpecError{}
	for _, key := range slices.Sorted(maps.Keys(l.faults)) {
		a.Errors = append(a.Errors, l.faults[key])
	}
	a.Working = list(slices.Sorted(maps.Keys(l.busy)))
	for _, name := range slices.Sorted(maps.Keys(l.fetching)) {
		a.Working = append(a.Working, "image "+name)
	}
	a.Restarts = l.memory.restarts(now)
	s := Snapshot{Agent: a, Observed: l.now, Recent: slices.Clone(l.recent)}
	before := l.latest.Swap(&s)
	if l.Changed != nil {
		l.Changed(s)
	}
	if before == nil || differs(before.Agent, a) {
		l.tellAt = l.told.Add(pause)
	}
}

// restarts is how often workspaces were started in a row, of those that were.
func (m *memory) restarts(now time.Time) map[string]int {
	all := map[string]int{}
	for _, known := range []attempts{m.changes, m.kept} {
		for name, a := range known {
			switch {
			case !a.mends:
			case a.wanted:
				all[name] = a.tries - 1
			case now.Sub(a.done) < steady:
				all[name] = a.tries
			}
		}
	}
	return all
}

// list is a copy that is a list in JSON too when it is empty.
func list[T any](all []T) []T { return append([]T{}, all...) }

// differs reports whether an agent has something new to say.
func differs(a, b state.Agent) bool {
	a.SeenAt, a.SyncedAt, b.SeenAt, b.SyncedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}

// tell says to the store what the agent knows.
func (l *loop) tell(now time.Time) {
	if l.stale {
		l.publish(now)
	}
	l.telling, l.told, l.tellAt = true, now, now.Add(heartbeat)
	agent, state := l.Snapshot().Agent, l.now
	agent.SeenAt = now.UTC()
	l.beside(func() func() {
		ctx, cancel := context.WithTimeout(l.ctx, patience)
		defer cancel()
		err := l.Host.Tell(ctx, agent, state)
		return func() {
			l.telling = false
			if err != nil && l.ctx.Err() == nil {
				l.log.Debug("the store was not told", "error", err)
				l.schedule.look(time.Now(), "the store was not told") // which says why, if it cannot be read either
			}
		}
	})
}
