package watch

import (
	"cmp"
	"errors"
	"log/slog"
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

// The limits of reporting.
const (
	maxRecent     = 50                     // changes that a snapshot lists
	snapshotPause = 100 * time.Millisecond // between two snapshots
	storePause    = time.Second            // between two reports to the store
)

// reporter is what the agent reports: to its log, where each thing is said once;
// in its metrics; in snapshots, for the page and for systemd; and to the store.
type reporter struct {
	log     *slog.Logger
	metrics *Metrics
	about   state.Agent // what does not change: host, version, paths, start

	blocked  string                     // why the agent cannot sync now, as it was logged last
	errors   map[string]state.SpecError // of specs, as they were logged, by position and text: they keep the time of their first report
	decision decision                   // the last one, whose waiting and pending changes were logged
	notes    []string                   // of the last plan
	recent   []state.Recent             // changes that were carried out, newest first

	stale      bool        // a new snapshot is needed
	snapshotAt time.Time   // of the last one
	snapshot   state.Agent // the last one: the store gets a report soon when a new one differs
	store      storeTimer
}

// storeTimer is when to write a report to the store.
type storeTimer struct {
	writing bool
	began   time.Time // of the last write
	next    time.Time
}

func newReporter(a *Agent, now time.Time) *reporter {
	about := a.About
	about.StartedAt = now.UTC()
	return &reporter{log: a.Log, metrics: a.Metrics, about: about, errors: map[string]state.SpecError{}, stale: true, store: storeTimer{next: now}}
}

// step counts a step, and logs what it could not do. The runner calls it, one call at
// a time.
func (r *reporter) step(e apply.Event) {
	if e.Kind == apply.Warned {
		r.log.Warn("a step could not do all", "workspace", e.Workspace, "step", e.Step.String(), "warning", e.Err)
	}
	r.metrics.step(e)
}

// block says once why the agent cannot sync now, and once that it can again; ""
// is that it can.
func (r *reporter) block(why string) {
	why, _, _ = strings.Cut(why, "\n")
	switch {
	case why == r.blocked:
		return
	case why != "":
		r.log.Warn("blocked", "reason", why)
	default:
		r.log.Info("no longer blocked")
	}
	r.blocked = why
}

// decided says what a sync decided: each error of a spec once, and once that it
// is fixed; each change once that needs approval or is backing off.
func (r *reporter) decided(d decision, notes []string, errs []spec.Error, now time.Time) {
	r.specErrors(errs, now)
	added := slices.DeleteFunc(slices.Clone(d.pending), func(p state.Pending) bool { return slices.Contains(r.decision.pending, p) })
	for _, same := range state.Grouped(added) {
		r.log.Warn("needs approval", "workspace", strings.Join(same.Workspaces, ","), "action", same.Action, "reason", same.Why)
	}
	for _, w := range d.waiting {
		said := slices.ContainsFunc(r.decision.waiting, func(b state.Waiting) bool {
			return b.Workspace == w.Workspace && b.Image == w.Image && b.Until.Equal(w.Until)
		})
		if !said && w.Workspace != "" { // the error of a pull was logged when it ended
			r.log.Warn("backing off", "workspace", w.Workspace, "reason", w.Why, "attempts", w.Attempts, "retry_at", clock(w.Until))
		}
	}
	r.decision, r.notes = d, notes
}

// specErrors logs the errors of specs that are new, and those that are fixed.
func (r *reporter) specErrors(errs []spec.Error, now time.Time) {
	all := map[string]state.SpecError{}
	for _, err := range errs {
		e := specError(err, now)
		all[e.Position+": "+e.Text] = e
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if before, known := r.errors[key]; known {
			all[key] = before
			continue
		}
		r.log.Warn("not applied", "position", all[key].Position, "error", all[key].Text)
	}
	for _, key := range slices.Sorted(maps.Keys(r.errors)) {
		if _, still := all[key]; !still {
			r.log.Info("fixed", "position", r.errors[key].Position, "error", r.errors[key].Text)
		}
	}
	r.errors = all
}

// specError is an error of a spec as it is reported: in one line, whatever its
// file is called.
func specError(err spec.Error, now time.Time) state.SpecError {
	e := state.SpecError{Text: spec.Error{Msg: err.Msg, Hint: err.Hint}.Error(), Since: now.UTC()}
	if err.Pos != (spec.Pos{}) {
		e.Position = spec.Error{Msg: err.Pos.String()}.Error()
	}
	return e
}

// changeEnded says in one line how a change went. Its retry is of after it.
func (r *reporter) changeEnded(c plan.Change, took time.Duration, err error, next retry, now time.Time) {
	r.metrics.change(c, took, err)
	reason := strings.Join(c.Reasons, "; ")
	took = took.Round(time.Millisecond)
	recent := state.Recent{Time: now.UTC(), Workspace: c.Workspace, Action: string(c.Action), Reason: reason, Duration: took}
	facts := []any{"workspace", c.Workspace, "action", c.Action, "reason", reason, "took", took.String()}
	if err != nil {
		recent.Error = errorText(err)
		r.log.Error("change failed", append(facts, "error", errorText(err), "attempts", next.attempts(), "retry_at", clock(next.at))...)
	} else {
		r.log.Info("change done", facts...)
	}
	r.recent = slices.Insert(r.recent, 0, recent)
	r.recent = r.recent[:min(len(r.recent), maxRecent)]
}

// pullEnded says how the pull of an image went.
func (r *reporter) pullEnded(image string, took time.Duration, err error, next retry) {
	r.metrics.pull(err)
	if err != nil {
		r.log.Error("image not pulled", "image", image, "error", err, "attempts", next.attempts(), "retry_at", clock(next.at))
		return
	}
	r.log.Info("image pulled", "image", image, "took", took.Round(time.Millisecond).String())
}

// syncEnded logs the errors of a sync that are not of a single change. The first file
// that led to it changed at a time; zero when none did.
func (r *reporter) syncEnded(took time.Duration, filesChanged, now time.Time, err error) {
	if err == nil {
		r.metrics.sync(done, took)
		if !filesChanged.IsZero() {
			r.metrics.applied(now.Sub(filesChanged))
		}
		return
	}
	r.metrics.sync(failed, took)
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		var step *apply.StepError
		var interrupted *apply.InterruptedError
		if !errors.As(err, &step) && !errors.As(err, &interrupted) { // those were logged with their changes
			r.log.Error("apply failed", "error", err)
		}
	}
}

// current is what a snapshot takes from the loop.
type current struct {
	set      string
	observed state.State
	syncedAt time.Time
	working  []string
	restarts map[string]int
}

// newSnapshot makes a snapshot. When it says something new, the next report to the store is due soon.
func (r *reporter) newSnapshot(c current, now time.Time) Snapshot {
	r.stale, r.snapshotAt = false, now
	a := r.about
	a.Set, a.Trouble, a.SeenAt, a.SyncedAt = c.set, r.blocked, now.UTC(), c.syncedAt
	a.Pending, a.Waiting, a.Notes = list(r.decision.pending), list(r.decision.waiting), list(r.notes)
	a.Unmade = slices.SortedFunc(slices.Values(r.decision.unmade), func(a, b state.Unmade) int { return cmp.Compare(a.Workspace, b.Workspace) })
	a.Errors = []state.SpecError{}
	for _, key := range slices.Sorted(maps.Keys(r.errors)) {
		a.Errors = append(a.Errors, r.errors[key])
	}
	a.Working, a.Restarts = list(c.working), c.restarts
	if differs(r.snapshot, a) {
		r.store.next = r.store.began.Add(storePause)
	}
	r.snapshot = a
	return Snapshot{Agent: a, Observed: c.observed, Recent: slices.Clone(r.recent)}
}

// snapshotDue is when the next snapshot may be made.
func (r *reporter) snapshotDue() time.Time { return r.snapshotAt.Add(snapshotPause) }

// begin notes that a report is being written.
func (t *storeTimer) begin(now time.Time) {
	t.writing, t.began, t.next = true, now, now.Add(heartbeat)
}

// list is a copy that is a list in JSON even when it is empty.
func list[T any](all []T) []T { return append([]T{}, all...) }

// differs reports whether two reports differ in more than their times.
func differs(a, b state.Agent) bool {
	a.SeenAt, a.SyncedAt, b.SeenAt, b.SyncedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}

// clock is a time as the log has it.
func clock(at time.Time) string { return at.UTC().Format(time.RFC3339) }
