package watch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"carrel/apply"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// observation is what the first part of a sync found, in the background.
type observation struct {
	cause  cause
	began  time.Time
	busy   map[string]bool // workspaces that were being changed when it began
	locked bool            // it has a share of the lock

	loaded   *Loaded // nil when the files were not read
	observed state.State
	set      string          // whose last pending changes were read; "" when none were
	pending  []state.Pending // these
	err      error
}

// observe begins a sync: it reads the files if they may have changed, and
// observes the host. The lock is taken before, so that what is observed is not
// what another run is about to change.
func (l *loop) observe(ctx context.Context, now time.Time) {
	l.observing = true
	o := observation{cause: l.schedule.begin(now), began: now, busy: map[string]bool{}}
	for name := range l.running.actions {
		o.busy[name] = true
	}
	desired, restored := l.inputs.loaded.Desired, l.backlog.approvals.restored
	l.background.start(func() func() {
		if o.cause.reload {
			loaded := l.agent.Load()
			o.loaded, desired = &loaded, loaded.Desired
		}
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if o.err = l.lock.acquire(limited); o.err == nil {
			o.locked = true
			o.observed, o.err = l.agent.Host.Observe(limited, desired)
		}
		if o.err == nil && desired.Name != restored {
			o.set = desired.Name
			o.pending, o.err = l.agent.Host.LastPending(limited, desired.Name)
		}
		return func() { l.observed(ctx, o, time.Now()) }
	})
}

// observed goes on with a sync: it plans, and begins what may be done now.
func (l *loop) observed(ctx context.Context, o observation, now time.Time) {
	l.observing, l.report.stale = false, true
	l.schedule.observationEnded(now.Sub(o.began), now)
	if o.loaded != nil {
		l.inputs.loaded = *o.loaded
	}
	if o.loaded != nil || l.images.due(now) {
		l.askRegistries(ctx)
	}
	if l.inputs.changed.IsZero() {
		l.inputs.changed = o.cause.changed
	}
	if o.err != nil {
		l.observationFailed(ctx, o, now)
		return
	}
	l.report.block("")
	l.schedule.observationSucceeded()
	l.inputs.observed, l.inputs.syncedAt = o.observed, now.UTC()
	l.inputs.observed.Ask(l.images.sources(o.observed))
	if o.set != "" {
		l.backlog.approvals.restore(o.set, o.pending)
	}
	d := l.decide(o.busy, now)
	l.agent.Log.Debug("observed", "causes", strings.Join(o.cause.words, ", "), "changes", len(d.do.Changes), "took", now.Sub(o.began).String())
	l.pull(ctx, d.pull)
	l.carryOut(ctx, d.do, o.began)
}

// observationFailed retries an observation later. A lock that another run has
// is tried again at once, since that waits by itself.
func (l *loop) observationFailed(ctx context.Context, o observation, now time.Time) {
	if o.locked {
		l.unlock()
	}
	if ctx.Err() != nil {
		return
	}
	l.report.block(o.err.Error())
	var locked *apply.LockedError
	if errors.As(o.err, &locked) {
		l.schedule.request(now, "another run had the lock")
		return
	}
	l.report.metrics.sync(failed, now.Sub(o.began))
	l.schedule.observationFailed(o.err, now)
}

// askRegistries asks registries for the images of the specs, in the background.
func (l *loop) askRegistries(ctx context.Context) {
	desired := l.inputs.loaded.Desired
	l.images.askAt = time.Time{}
	l.background.start(func() func() {
		answers := l.agent.Host.Sources(ctx, desired)
		return func() {
			l.images.retry(answers, time.Now())
			l.schedule.requestAt(l.images.askAt)
			if l.images.update(answers) {
				l.schedule.request(time.Now(), "registries answered")
			}
		}
	})
}

// decide plans, and decides what becomes of the changes. No change begins during
// an observation, so the workspaces that were busy when it began are all that
// were busy meanwhile.
func (l *loop) decide(busy map[string]bool, now time.Time) decision {
	d, notes, errs := decision{}, []string(nil), slices.Clone(l.inputs.loaded.Errors)
	if l.inputs.loaded.Known {
		desired, observed, options := l.inputs.loaded.Desired, l.inputs.observed, l.agent.Options
		options.Busy = busy
		p, hostErrors := plan.Around(desired, observed, options)
		s := newSituation(desired, observed, hostErrors, busy, l.schedule.specsChanging(), now)
		d = l.backlog.keepRunning(l.backlog.decide(p, s), observed, desired, options, s)
		l.schedule.retryHostErrors(hostErrors.Err(), now)
		notes, errs = p.Notes, append(errs, hostErrors...)
	}
	d.unmade = append(d.unmade, l.withErrors(errs)...)
	l.report.decided(d, notes, errs, now)
	l.schedule.requestAt(d.nextRetry())
	l.schedule.requestAt(l.images.askAt)
	return d
}

// withErrors are the workspaces of this host that have an error, each once.
func (l *loop) withErrors(errs []spec.Error) (all []state.Unmade) {
	for _, err := range errs {
		if err.Host != "" && err.Host != l.agent.About.Host {
			continue
		}
		for _, name := range err.Workspaces {
			if !slices.ContainsFunc(all, func(u state.Unmade) bool { return u.Workspace == name }) {
				all = append(all, state.Unmade{Workspace: name, Blocked: true, Why: err.Error()})
			}
		}
	}
	return all
}

// pull pulls the images that changes need, in the background.
func (l *loop) pull(ctx context.Context, images []string) {
	for _, image := range images {
		if l.images.pulling[image] {
			continue
		}
		l.images.pulling[image] = true
		began := time.Now()
		l.background.start(func() func() {
			err := l.agent.Host.Pull(ctx, image)
			return func() { l.pullEnded(ctx, image, time.Since(began), err) }
		})
	}
}

func (l *loop) pullEnded(ctx context.Context, image string, took time.Duration, err error) {
	delete(l.images.pulling, image)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	l.report.pullEnded(image, took, err, l.backlog.pullEnded(image, err, now))
	if err == nil {
		l.images.pulled[image] = true
	}
	l.schedule.request(now, "a pull ended")
}

// carryOut carries out the changes of a sync that began at a time, in the
// background. The share of the lock is released when the last of them has ended.
func (l *loop) carryOut(ctx context.Context, p plan.Plan, began time.Time) {
	filesChanged := l.inputs.changed
	if !p.Empty() || len(l.images.pulling) == 0 {
		l.inputs.changed = time.Time{}
	}
	if p.Empty() || ctx.Err() != nil {
		l.unlock()
		l.report.metrics.sync(unchanged, time.Since(began))
		return
	}
	open := map[string]bool{} // of this sync: a later one may have begun another change of the same workspace when this one ends
	for _, c := range p.Changes {
		for _, name := range namesOf(c) {
			l.running.actions[name], open[name] = c.Action, true
		}
	}
	l.background.start(func() func() {
		err := l.agent.Host.Run(ctx, p, l.report.step, func(c plan.Change, took time.Duration, err error) {
			l.background.send(func() {
				for _, name := range namesOf(c) {
					delete(open, name)
				}
				l.changeEnded(ctx, c, took, err, time.Now())
			})
		})
		return func() {
			now := time.Now()
			l.unlock()
			l.report.syncEnded(now.Sub(began), filesChanged, now, err)
			for name := range open {
				delete(l.running.actions, name) // it was not begun
			}
			l.schedule.request(now, "changes ended")
		}
	})
}

// changeEnded notes and reports how a change went.
func (l *loop) changeEnded(ctx context.Context, c plan.Change, took time.Duration, err error, now time.Time) {
	l.report.stale = true
	happened := false
	for _, name := range namesOf(c) {
		happened = happened || l.running.events[name]
		delete(l.running.actions, name)
		delete(l.running.events, name)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return // the agent is being stopped: the next one makes the change
	}
	var claimed *plan.ClaimedError
	if errors.As(err, &claimed) {
		l.agent.Log.Info("claimed by another host", "workspace", c.Workspace, "host", claimed.Host)
		l.schedule.request(now, "another host claimed a workspace")
		return
	}
	l.report.changeEnded(c, took, err, l.backlog.changeEnded(c, err, now), now)
	if err != nil || happened {
		l.schedule.request(now, "a change ended")
	}
}

// namesOf are the workspaces that a change is about: one that is renamed is two.
func namesOf(c plan.Change) []string {
	if c.RenamedFrom == "" {
		return []string{c.Workspace}
	}
	return []string{c.Workspace, c.RenamedFrom}
}

func (l *loop) unlock() {
	if err := l.lock.release(); err != nil {
		l.agent.Log.Error("the lock was not released", "error", err)
	}
}
