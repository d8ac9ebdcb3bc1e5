package watch

import (
	"context"
	"maps"
	"slices"
	"time"

	"carrel/plan/decide"
	"carrel/plan/state"
)

// loop is one run of an agent. One goroutine owns all of its state; what takes
// long runs in the background.
type loop struct {
	agent      *Agent
	background *background
	lock       sharedLock
	schedule   schedule
	backlog    *backlog
	report     *reporter
	images     images
	running    running
	inputs     inputs
	observing  bool // one observation at a time
}

// inputs are what a decision is made from.
type inputs struct {
	loaded   Loaded
	observed state.State
	syncedAt time.Time // when it was observed
	changed  time.Time // when the first file changed whose changes were not begun yet; zero when all were
}

// running is the changes that are being carried out.
type running struct {
	actions map[string]decide.Action // by workspace
	events  map[string]bool          // workspaces of them to which something happened since: they are observed again
}

func newLoop(a *Agent) *loop {
	now := time.Now()
	return &loop{
		agent: a, background: newBackground(), lock: sharedLock{take: a.Host.Lock},
		schedule: newSchedule(a.Resync, now), backlog: newBacklog(a.About.Paths), report: newReporter(a, now),
		images:  newImages(),
		running: running{actions: map[string]decide.Action{}, events: map[string]bool{}},
	}
}

// step waits until there is something to do, and does it.
func (l *loop) step(ctx context.Context) {
	l.agent.lastStep.Store(time.Now().Unix())
	timer := time.NewTimer(time.Until(l.next(time.Now())))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case w := <-l.agent.Wakes:
		l.wake(w, time.Now())
	case result := <-l.background.results:
		result()
	case <-timer.C:
	}
	now := time.Now()
	if !l.observing && !now.Before(l.schedule.next()) {
		l.observe(ctx, now)
	}
	if l.report.stale && !now.Before(l.report.snapshotDue()) {
		l.publish(now)
	}
	if l.mayStore() && !now.Before(l.report.store.next) {
		l.store(ctx, now)
	}
}

// next is when the loop has something to do without being woken.
func (l *loop) next(now time.Time) time.Time {
	next := now.Add(heartbeat)
	earliest := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	if !l.observing {
		earliest(l.schedule.next())
	}
	if l.report.stale {
		earliest(l.report.snapshotDue())
	}
	if l.mayStore() {
		earliest(l.report.store.next)
	}
	return next
}

// mayStore reports whether a report can be written to the store: one at a time,
// and not before the name of the set is known.
func (l *loop) mayStore() bool {
	return !l.report.store.writing && l.inputs.loaded.Desired.Name != ""
}

func (l *loop) wake(w Wake, now time.Time) {
	switch w.Kind {
	case FilesChanged:
		l.schedule.filesChanged(now)
	case Reload:
		l.backlog.forgetAttempts()
		l.schedule.requestReload(now, w.Text)
	case Connected:
		l.schedule.requestReload(now, string(w.Kind))
	case EngineEvent:
		name, managed := workspaceOf(l.inputs.observed, w.Container)
		switch {
		case l.running.actions[name] != "":
			l.running.events[name] = true
		case managed:
			l.schedule.request(now, w.Text)
		}
	}
}

// workspaceOf is the workspace of a container. A container that was not observed
// yet may be of any: its id is taken for the name.
func workspaceOf(observed state.State, container string) (name string, managed bool) {
	for _, c := range observed.Instances {
		if c.ID == container {
			return c.Workspace, c.Workspace != ""
		}
	}
	return container, true
}

// publish makes a snapshot and hands it to its readers.
func (l *loop) publish(now time.Time) {
	working := slices.Sorted(maps.Keys(l.running.actions))
	for _, name := range slices.Sorted(maps.Keys(l.images.pulling)) {
		working = append(working, "image "+name)
	}
	s := l.report.newSnapshot(current{
		set: l.inputs.loaded.Desired.Name, observed: l.inputs.observed, syncedAt: l.inputs.syncedAt,
		working: working, restarts: l.backlog.restarts(now),
	}, now)
	l.agent.latest.Store(&s)
	if l.agent.Changed != nil {
		l.agent.Changed(s)
	}
}

// store writes a report to the store, in the background.
func (l *loop) store(ctx context.Context, now time.Time) {
	if l.report.stale {
		l.publish(now)
	}
	l.report.store.begin(now)
	agent, observed := l.agent.Snapshot().Agent, l.inputs.observed
	agent.SeenAt = now.UTC()
	l.background.start(func() func() {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := l.agent.Host.Report(limited, agent, observed)
		return func() {
			l.report.store.writing = false
			if err != nil && ctx.Err() == nil {
				l.agent.Log.Debug("no report was written to the store", "error", err)
				l.schedule.request(time.Now(), "no report was written to the store") // a sync reports it, if the store cannot be read either
			}
		}
	})
}

// stop waits for what still runs, and reports that the agent has stopped.
func (l *loop) stop(ctx context.Context) {
	if !l.background.drain(stopTimeout) {
		l.agent.Log.Warn("stopped before these changes have ended; the next run completes them", "workspaces", slices.Sorted(maps.Keys(l.running.actions)))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellLimit)
	defer cancel()
	l.report.blocked = state.Stopped
	l.publish(time.Now())
	if err := l.agent.Host.Report(ctx, l.agent.Snapshot().Agent, l.inputs.observed); err != nil {
		l.agent.Log.Debug("no report was written to the store", "error", err)
	}
	l.agent.Log.Info("stopped; workspaces keep running")
}
