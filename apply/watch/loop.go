package watch

import (
	"carrel/plan/decide"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"carrel/plan/state"
)

// loop is one run of an agent: it owns all state. What takes long runs beside
// it, and posts what is to be done then.
type loop struct {
	*Agent
	ctx  context.Context
	log  *slog.Logger
	post chan func()
	gone chan struct{}  // closed when the loop has ended
	work sync.WaitGroup // what runs beside it
	lock shared

	// When to look, and what is remembered between looks.
	schedule schedule
	memory   *memory
	recalled string  // the set of which is known what the last agent left to a person
	blind    attempt // to look
	mending  attempt // of faults that are not in the files
	looking  bool
	rest     time.Time // no look before: one rests as long as it took
	changed  time.Time // when files changed that no plan was made from yet

	// What was found.
	loaded   Loaded
	now      state.State
	lookedAt time.Time
	sources  map[string]state.Source // what registries said
	fetched  map[string]bool         // images that were fetched since
	verdict  verdict
	faults   map[string]state.SpecError // by place and text
	notes    []string
	trouble  string // why nothing can be done now

	// What is being done.
	busy     map[string]decide.Action // by workspace
	stirred  map[string]bool          // busy ones to which something happened
	fetching map[string]bool          // images
	recent   []state.Recent           // newest first

	// What was said.
	started   time.Time
	stale     bool // the report
	published time.Time
	telling   bool
	told      time.Time
	tellAt    time.Time
}

func newLoop(ctx context.Context, a *Agent) *loop {
	now := time.Now()
	l := &loop{
		Agent: a, ctx: ctx, log: a.Log, post: make(chan func()), gone: make(chan struct{}), lock: shared{take: a.Host.Lock},
		schedule: schedule{resync: a.Resync, again: now.Add(a.Resync)}, memory: newMemory(a.About.Paths),
		sources: map[string]state.Source{}, fetched: map[string]bool{}, faults: map[string]state.SpecError{},
		busy: map[string]decide.Action{}, stirred: map[string]bool{}, fetching: map[string]bool{},
		started: now.UTC(), stale: true, tellAt: now,
	}
	l.schedule.read(now, "start")
	return l
}

// turn waits for one thing, and does what follows from it.
func (l *loop) turn() {
	l.turned.Store(time.Now().Unix())
	timer := time.NewTimer(time.Until(l.next(time.Now())))
	defer timer.Stop()
	select {
	case <-l.ctx.Done():
		return
	case w := <-l.Wakes:
		l.wake(w, time.Now())
	case fn := <-l.post:
		fn()
	case <-timer.C:
	}
	now := time.Now()
	if !l.looking && !now.Before(l.nextLook()) {
		l.look(now)
	}
	if l.stale && !now.Before(l.published.Add(pace)) {
		l.publish(now)
	}
	if l.speaks() && !now.Before(l.tellAt) {
		l.tell(now)
	}
}

// speaks reports whether the store can be told something: whose set it is, is
// known.
func (l *loop) speaks() bool { return !l.telling && l.loaded.Want.Name != "" }

// next is when the loop has something to do by itself.
func (l *loop) next(now time.Time) time.Time {
	next := now.Add(heartbeat)
	sooner := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	if !l.looking {
		sooner(l.nextLook())
	}
	if l.stale {
		sooner(l.published.Add(pace))
	}
	if l.speaks() {
		sooner(l.tellAt)
	}
	return next
}

func (l *loop) nextLook() time.Time {
	if at := l.schedule.next(); at.After(l.rest) {
		return at
	}
	return l.rest
}

// beside runs something that takes long beside the loop. What it gives is run
// by the loop.
func (l *loop) beside(do func() (then func())) {
	l.work.Go(func() { l.then(do()) })
}

// then has the loop do something, unless it has ended.
func (l *loop) then(do func()) {
	select {
	case l.post <- do:
	case <-l.gone:
	}
}

func (l *loop) wake(w Wake, now time.Time) {
	switch w.Kind {
	case FilesChanged:
		l.schedule.file(now)
	case Asked:
		l.memory.changes, l.memory.images, l.memory.kept = attempts{}, attempts{}, attempts{}
		l.schedule.read(now, w.Text)
	case Connected:
		l.schedule.read(now, string(w.Kind))
	case Happened:
		name, ours := l.workspace(w.Container)
		switch {
		case l.busy[name] != "":
			l.stirred[name] = true
		case ours:
			l.schedule.look(now, w.Text)
		}
	}
}

// workspace is the one that a container is of. A container that nobody has seen
// may be anybody's.
func (l *loop) workspace(container string) (name string, ours bool) {
	for _, c := range l.now.Instances {
		if c.ID == container {
			return c.Workspace, c.Workspace != ""
		}
	}
	return container, true
}

// end waits for what still runs, and says that the agent is gone.
func (l *loop) end() {
	defer close(l.gone)
	limit := time.After(parting)
	ended := make(chan struct{})
	go func() { l.work.Wait(); close(ended) }()
	for waiting := true; waiting; {
		select {
		case fn := <-l.post:
			fn()
		case <-ended:
			waiting = false
		case <-limit:
			l.log.Warn("ended in the middle of changes: the next run goes on with them", "workspaces", slices.Sorted(maps.Keys(l.busy)))
			waiting = false
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), lastWord)
	defer cancel()
	l.trouble = state.Stopped
	l.publish(time.Now())
	if err := l.Host.Tell(ctx, l.Snapshot().Agent, l.now); err != nil {
		l.log.Debug("the store was not told", "error", err)
	}
	l.log.Info("stopped: the workspaces run on")
}
