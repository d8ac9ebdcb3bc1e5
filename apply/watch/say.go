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
	"carrel/spec"
)

// mostRecent is how many changes a report has.
const mostRecent = 50

func addFault(all map[string]plan.Fault, f spec.Error, now time.Time) {
	place := ""
	if f.Pos != (spec.Pos{}) {
		place = spec.Error{Msg: f.Pos.String()}.Error() // in one line, whatever the file is called
	}
	fault := plan.Fault{Place: place, Text: spec.Error{Msg: f.Msg, Hint: f.Hint}.Error(), Since: now.UTC()}
	all[place+": "+fault.Text] = fault
}

// tellFaults says each fault once, and once that it is mended.
func (l *loop) tellFaults(faults map[string]plan.Fault) {
	for _, key := range slices.Sorted(maps.Keys(faults)) {
		fault := faults[key]
		if before, told := l.faults[key]; told {
			faults[key] = before
			continue
		}
		l.log.Warn("not applied", "place", fault.Place, "fault", fault.Text)
	}
	for _, key := range slices.Sorted(maps.Keys(l.faults)) {
		fault := l.faults[key]
		if _, still := faults[key]; !still {
			l.log.Info("mended", "place", fault.Place, "fault", fault.Text)
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
		told := slices.ContainsFunc(before.Waiting, func(b plan.Waiting) bool {
			return b.Workspace == w.Workspace && b.Image == w.Image && b.Until.Equal(w.Until)
		})
		if !told && w.Workspace != "" {
			l.log.Warn("backing off", "workspace", w.Workspace, "because", w.Why, "tries", w.Tries, "next", w.Until.UTC().Format(time.RFC3339))
		}
	}
}

// tellChange says what was done, in one line.
func (l *loop) tellChange(c plan.Change, took time.Duration, err error, a attempt, now time.Time) {
	reason := strings.Join(c.Reasons, "; ")
	took = took.Round(time.Millisecond)
	recent := plan.Recent{Time: now.UTC(), Workspace: c.Workspace, Action: c.Action, Reason: reason, Duration: took}
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

// publish makes the report anew.
func (l *loop) publish(now time.Time) {
	l.stale, l.published = false, now
	r := plan.Report{Agent: l.About, Recent: list(l.recent), Workspaces: plan.Statuses(l.now)}
	r.Set, r.Trouble = l.loaded.Want.Name, l.trouble
	r.StartedAt, r.SeenAt, r.LookedAt = l.started, now.UTC(), l.lookedAt
	r.Pending, r.Waiting, r.Notes = list(l.verdict.Pending), list(l.verdict.Waiting), list(l.notes)
	r.Faults = []plan.Fault{}
	for _, key := range slices.Sorted(maps.Keys(l.faults)) {
		r.Faults = append(r.Faults, l.faults[key])
	}
	r.Working = list(slices.Sorted(maps.Keys(l.busy)))
	for _, name := range slices.Sorted(maps.Keys(l.fetching)) {
		r.Working = append(r.Working, "image "+name)
	}
	for i := range r.Workspaces {
		l.finish(&r.Workspaces[i], now)
	}
	before := l.report.Swap(&r)
	if l.Changed != nil {
		l.Changed(r)
	}
	if before == nil || differs(before.Agent, r.Agent) {
		l.tellAt = l.told.Add(pause)
	}
}

// list is a copy that is a list in JSON too when it is empty.
func list[T any](all []T) []T { return append([]T{}, all...) }

// finish adds to the status of a workspace what only the agent knows.
func (l *loop) finish(s *plan.Status, now time.Time) {
	if l.Started != nil && s.Running {
		if since := l.Started(s.PID); !since.IsZero() {
			s.UpSince = &since
		}
	}
	a := l.memory.changes[s.Workspace]
	if kept, ok := l.memory.kept[s.Workspace]; ok {
		a = kept
	}
	switch {
	case !a.mends:
	case a.wanted:
		s.Restarts, s.NextTry = a.tries-1, &a.until
	case now.Sub(a.done) < steady:
		s.Restarts = a.tries
	}
}

// differs reports whether an agent has something new to say.
func differs(a, b plan.Agent) bool {
	a.SeenAt, a.LookedAt, b.SeenAt, b.LookedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}

// tell says to the store what the agent knows.
func (l *loop) tell(now time.Time) {
	if l.stale {
		l.publish(now)
	}
	l.telling, l.told, l.tellAt = true, now, now.Add(heartbeat)
	agent, state := l.Report().Agent, l.now
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
