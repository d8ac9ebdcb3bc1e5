// Package watch decides when to look at a host again, and what of a plan is
// carried out while nobody looks on. It keeps a host as its specs say, for
// months: it goes again when files change, when something happens in
// containerd, when what failed is due, and every few minutes.
//
// What to do is package plan's, doing it is package apply's. Deciding when, and
// what is held back, takes values and gives values (schedule.go, attempt.go,
// judge.go); the rest is one loop that owns all state.
//
// Terms: a look reads what exists and plans; a round is a look and the changes
// that follow from it. There is one look at a time, and at most one change of a
// workspace at a time. While changes run, the others are looked after: a
// workspace that takes long to stop keeps nobody waiting. The lock of the host is
// held from before a look until the last change that follows from it has ended.
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

// Host is what an agent does with its host.
type Host interface {
	// Lock makes sure that no other run changes the host. It waits a moment at
	// most: a lock that another run keeps is an *apply.LockedError.
	Lock(ctx context.Context) (unlock func() error, err error)

	// Look reads what exists. It asks no registry.
	Look(ctx context.Context, want spec.Set) (state.State, error)

	// Left is what the last run of the agent of a set left to a person.
	Left(ctx context.Context, set string) ([]state.Pending, error)

	// Sources asks the registries of images that are to be pulled always what
	// their names point to now; nil when none can be asked.
	Sources(ctx context.Context, want spec.Set) map[string]state.Source

	// Pull fetches an image. It disturbs nothing, and needs no lock.
	Pull(ctx context.Context, image string) error

	// Run carries out a plan. It reports each step, and each change that ended.
	Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error

	// Tell says to the store what the agent knows, and what it saw.
	Tell(ctx context.Context, a state.Agent, now state.State) error
}

// Kind is what woke the agent.
type Kind string

// The kinds of wakes.
const (
	FilesChanged Kind = "files changed"
	Connected    Kind = "containerd answers" // events are told from now on
	Happened     Kind = "something happened" // to a container or an image
	Asked        Kind = "asked for"          // by a person: begin anew
)

// Wake is a reason to look.
type Wake struct {
	Kind      Kind
	Text      string // of what happened, for logs
	Container string // that it happened to; "" when to none
}

// Loaded is what the files say.
type Loaded struct {
	Want   spec.Set
	Faults []spec.Error
	Known  bool // whether there is anything to plan from
}

// Agent keeps a host as its specs say. Its fields are set before Run.
type Agent struct {
	Host    Host
	Load    func() Loaded // reads the files; what it cannot read stands as it was
	Wakes   <-chan Wake
	Options plan.Options
	Resync  time.Duration
	Log     *slog.Logger
	Metrics *Metrics

	// Changed is called with each new snapshot, from the agent's loop. It may be nil.
	Changed func(Snapshot)

	// About is what the agent says of itself: host, program version and paths.
	About state.Agent

	latest atomic.Pointer[Snapshot]
	turned atomic.Int64 // when the loop turned last, in seconds since 1970
}

// Snapshot is what the agent knows at one moment. Nothing in it changes later.
type Snapshot struct {
	Agent    state.Agent
	Observed state.State    // the last observation
	Recent   []state.Recent // changes that were carried out, newest first
}

// Snapshot is what the agent knows now. It is safe to be called at any time.
func (a *Agent) Snapshot() Snapshot {
	if s := a.latest.Load(); s != nil {
		return *s
	}
	return Snapshot{Agent: a.About}
}

// Alive reports whether the loop turns.
func (a *Agent) Alive() bool {
	return time.Since(time.Unix(a.turned.Load(), 0)) < dead
}

// The times of an agent's life.
const (
	pace      = 100 * time.Millisecond // between two reports
	pause     = time.Second            // between two words to the store
	heartbeat = 30 * time.Second       // between two words to the store when nothing happens
	dead      = 2 * heartbeat          // since the loop turned last
	patience  = time.Minute            // with a look, and with the store
	mostBlind = 30 * time.Second       // between two looks that fail
	parting   = 6 * time.Second        // with what still runs when the agent ends
	lastWord  = time.Second            // with the store, at the end
)

// Run keeps the host as its specs say until ctx ends. Then changes that were
// begun are brought to their ends, as far as that is soon done; workspaces run
// on. What is cut short is found by the next agent.
func (a *Agent) Run(ctx context.Context) {
	l := newLoop(ctx, a)
	l.log.Info("watching", "paths", a.About.Paths, "host", a.About.Host, "resync", a.Resync.String())
	for ctx.Err() == nil {
		l.turn()
	}
	l.end()
}
