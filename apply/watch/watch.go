// Package watch keeps a host as its specs say, for months: it decides when to
// sync, and which changes of a plan may be made without a user. What to do is
// decided by package plan; package apply does it.
//
// A sync observes the host, plans, and carries out the changes that may be made
// now. Files that change, events of the container engine, retries that are due,
// and a timer start one. Observations follow one another, but the changes of
// several syncs may run at the same time: a workspace that takes long to stop
// does not delay the others. There is at most one change of a workspace at a
// time. The lock of the host is taken before an observation, and released when
// the last change that follows from it has ended.
//
// The state of an agent has four owners:
//
//   - schedule (schedule.go): when to sync next, and why;
//   - backlog (backlog.go, wait.go): what is wanted and not done yet. wait.go
//     answers why a workspace waits;
//   - reporter (report.go): what the log, the snapshot and the store say;
//   - loop (loop.go, sync.go): one goroutine that joins them.
//
// Package watch reads no specs and opens no store: it is given a Host and Load.
package watch

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"carrel/apply"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// Host is what an agent needs of its host.
type Host interface {
	// Lock makes sure that no other run changes the host. It waits for a short
	// time only: while another run has the lock, it returns an *apply.LockedError.
	Lock(ctx context.Context) (unlock func() error, err error)

	// Observe reads what exists. It asks no registry.
	Observe(ctx context.Context, desired spec.Set) (state.State, error)

	// LastPending is which changes needed approval when the last agent of a set
	// reported to the store.
	LastPending(ctx context.Context, set string) ([]state.Pending, error)

	// Sources asks registries which digests the images of the policy Always have
	// now; nil when none can be asked.
	Sources(ctx context.Context, desired spec.Set) map[string]state.Source

	// Pull pulls an image. It changes no workspace, and needs no lock.
	Pull(ctx context.Context, image string) error

	// Run carries out a plan. It calls step after each event of a step, and ended
	// after each change.
	Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error

	// Report writes the agent's report, and what it observed, to the store.
	Report(ctx context.Context, a state.Agent, observed state.State) error
}

// Kind is the kind of a wake.
type Kind string

// The kinds of wakes.
const (
	FilesChanged Kind = "files changed"
	Connected    Kind = "connected" // to the container engine, whose events arrive from now on
	EngineEvent  Kind = "event"     // of the container engine: a container or an image changed
	Reload       Kind = "reload"    // a user asked to read everything again, and to retry without backoff
)

// Wake is a reason to sync.
type Wake struct {
	Kind      Kind
	Text      string // what happened, for the log
	Container string // the container that it happened to; "" when to none
}

// Loaded is what the spec files say.
type Loaded struct {
	Desired spec.Set
	Errors  []spec.Error // in the files; for what they concern, Desired has the last valid version
	Known   bool         // whether Desired can be planned from
}

// Agent keeps a host as its specs say. Its fields are set before Run.
type Agent struct {
	Host    Host
	Load    func() Loaded // reads the spec files
	Wakes   <-chan Wake
	Options plan.Options
	Resync  time.Duration // the longest time between two syncs
	Log     *slog.Logger
	Metrics *Metrics

	// Changed is called with each new snapshot, from the agent's loop. It may be nil.
	Changed func(Snapshot)

	// About is what the agent reports of itself: host, program version, paths.
	About state.Agent

	latest   atomic.Pointer[Snapshot] // for readers in other goroutines
	lastStep atomic.Int64             // when the loop last went on, in seconds since 1970: a loop that hangs is not alive
}

// Snapshot is what the agent knows at one moment. Nothing in it changes later.
type Snapshot struct {
	Agent    state.Agent
	Observed state.State    // the last observation
	Recent   []state.Recent // changes that were carried out, newest first
}

// Snapshot is what the agent knows now. Any goroutine may call it at any time.
func (a *Agent) Snapshot() Snapshot {
	if s := a.latest.Load(); s != nil {
		return *s
	}
	return Snapshot{Agent: a.About}
}

// Alive reports whether the loop of the agent goes on.
func (a *Agent) Alive() bool {
	return time.Since(time.Unix(a.lastStep.Load(), 0)) < aliveTimeout
}

// The limits of an agent.
const (
	heartbeat     = 30 * time.Second // the longest time between two steps of the loop, and between two reports to the store
	aliveTimeout  = 2 * heartbeat    // without a step of the loop: it hangs
	callTimeout   = time.Minute      // of an observation, and of a report to the store
	stopTimeout   = 6 * time.Second  // for changes that run when the agent is stopped
	farewellLimit = time.Second      // of the last report to the store
)

// Run keeps the host as its specs say until ctx ends. Then it waits a few
// seconds for the changes that run. Workspaces keep running; what is cut short is
// found and completed by the next agent.
func (a *Agent) Run(ctx context.Context) {
	l := newLoop(a)
	a.Log.Info("watching", "paths", a.About.Paths, "host", a.About.Host, "resync", a.Resync.String())
	for ctx.Err() == nil {
		l.step(ctx)
	}
	l.stop(ctx)
}
