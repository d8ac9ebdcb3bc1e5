package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"carrel/apply"
	"carrel/apply/watch"
	"carrel/drivers"
	"carrel/drivers/containerd"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// agentHost is the host of an agent. Its drivers are opened when they first
// answer, and stay open: they connect again by themselves.
type agentHost struct {
	config   drivers.Config
	boot     string // of this machine; "" when unknown
	parallel int

	mu     sync.Mutex
	opened *drivers.Host

	// One word at a time is told.
	set      string    // of the last
	observed time.Time // the last observation that was told
	observe  time.Time // when the next may be
	trim     time.Time // when the store is cleaned next
}

// lockPatience is how long an agent waits for the lock before it says so.
const lockPatience = 2 * time.Second

func (h *agentHost) open(ctx context.Context) (*drivers.Host, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opened != nil {
		return h.opened, nil
	}
	opened, err := drivers.Open(ctx, h.config)
	if err != nil {
		return nil, err
	}
	h.opened = opened
	return opened, nil
}

func (h *agentHost) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opened == nil {
		return nil
	}
	return h.opened.Close()
}

// Lock takes the lock of the state dir.
func (h *agentHost) Lock(ctx context.Context) (func() error, error) {
	return apply.Lock(ctx, h.config.StateDir, who()+" with carrel watch", lockPatience)
}

// Look reads what exists.
func (h *agentHost) Look(ctx context.Context, want spec.Set) (state.State, error) {
	host, err := h.open(ctx)
	if err != nil {
		return state.State{}, err
	}
	if host.Records.Replaced() {
		h.leave()
		if host, err = h.open(ctx); err != nil {
			return state.State{}, err
		}
	}
	if err := h.alone(ctx, host); err != nil {
		return state.State{}, err
	}
	return host.Look(ctx, want)
}

// alone makes sure that no agent of another machine, which has the same name,
// tells of this host: each would undo what the other does. The one that came
// first goes on; this one waits until it is gone.
func (h *agentHost) alone(ctx context.Context, host *drivers.Host) error {
	if !host.Records.Shared() || h.boot == "" {
		return nil
	}
	agents, err := host.Records.AgentsOf(ctx, host.Name)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, a := range agents {
		if a.Boot != "" && a.Boot != h.boot && !report.Gone(a, now) {
			return fmt.Errorf("another machine is host %s in this store, too: an agent of set %s runs there (give each a name of its own with --host)", host.Name, a.Set)
		}
	}
	return nil
}

// bootID is the id that the kernel has of this boot; "" when it does not say.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Left is what the agent of this host and a set last left to a person.
func (h *agentHost) Left(ctx context.Context, set string) ([]state.Pending, error) {
	host, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	agents, err := host.Records.AgentsOf(ctx, host.Name)
	for _, a := range agents {
		if a.Set == set {
			return a.Pending, err
		}
	}
	return nil, err
}

// leaving is how long what runs may still use a host that was left.
const leaving = 2 * time.Minute

// leave has the host opened anew.
func (h *agentHost) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.opened
	h.opened = nil
	time.AfterFunc(leaving, func() { _ = left.Close() }) // its store is lost: nothing can be lost any more
}

// Sources asks registries.
func (h *agentHost) Sources(ctx context.Context, want spec.Set) map[string]state.Source {
	host, err := h.open(ctx)
	if err != nil {
		return nil // looks say why
	}
	return host.Runtime.Sources(ctx, want.Here(host.Name))
}

// Pull fetches an image.
func (h *agentHost) Pull(ctx context.Context, image string) error {
	host, err := h.open(ctx)
	if err != nil {
		return err
	}
	return host.Runtime.PullImage(ctx, plan.PullImage{Image: image}, nil)
}

// Run carries out a plan.
func (h *agentHost) Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error {
	host, err := h.open(ctx)
	if err != nil {
		return err
	}
	if err := host.ClaimStateDir(); err != nil {
		return err
	}
	runner := newRunner(host, applyOptions{parallel: h.parallel})
	runner.Who, runner.Report, runner.Ended = "carrel-watch@"+hostname(), step, ended
	return runner.Run(ctx, p)
}

// How long history, and agents that are gone, are kept in the store, and how
// often it is cleaned.
const (
	keepHistory = 365 * 24 * time.Hour
	keepAgents  = 30 * 24 * time.Hour
	trimEvery   = 24 * time.Hour
)

// Tell says to the store what the agent knows, and what it saw. A host that is
// as it was is told of too; one that is large, less often.
func (h *agentHost) Tell(ctx context.Context, a state.Agent, now state.State) error {
	host, err := h.open(ctx)
	if err != nil {
		return err
	}
	if err := h.alone(ctx, host); err != nil {
		return err
	}
	began := time.Now()
	err = host.Records.SaveAgent(ctx, a)
	if err == nil && h.set != "" && h.set != a.Set {
		err = host.Records.DeleteAgent(ctx, a.Host, h.set) // it was another one
	}
	h.set = a.Set
	if err == nil && !now.Time.IsZero() && began.After(h.observe) && now.Time.After(h.observed) {
		err = host.Records.SaveObservation(ctx, now)
		h.observed, h.observe = now.Time, time.Now().Add(observeRest*time.Since(began))
	}
	if err == nil && began.After(h.trim) {
		h.trim = began.Add(trimEvery)
		err = host.Records.Trim(ctx, began.Add(-keepHistory), began.Add(-keepAgents))
	}
	return err
}

// observeRest is how many times as long as the writing of an observation took
// there is no other.
const observeRest = 20

// The waits between two tries to hear containerd's events.
const (
	firstDeaf = 100 * time.Millisecond
	mostDeaf  = 5 * time.Second
)

// events wakes the agent when something happens in containerd. When containerd
// goes away they are listened to again: what happened meanwhile is looked for.
func (h *agentHost) events(ctx context.Context, log *slog.Logger, wakes chan<- watch.Wake) {
	wait := firstDeaf
	for ctx.Err() == nil {
		heard := false
		host, err := h.open(ctx)
		if err == nil {
			err = host.Runtime.Events(ctx, func(e containerd.Event) {
				wait, heard = firstDeaf, true
				wake(ctx, wakes, wakeOf(e))
			})
		}
		if ctx.Err() != nil {
			return
		}
		if heard {
			wake(ctx, wakes, watch.Wake{Kind: watch.Happened, Text: "containerd went away"})
		}
		log.Debug("containerd's events", "error", err, "again", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, mostDeaf)
	}
}

func wakeOf(e containerd.Event) watch.Wake {
	if e.Kind == containerd.Connected {
		return watch.Wake{Kind: watch.Connected}
	}
	return watch.Wake{Kind: watch.Happened, Text: fmt.Sprintf("%s: %s", e.Kind, e.Container+e.Image), Container: e.Container}
}

// loader reads the specs of an agent.
type loader struct {
	policy *policyFile
	host   string
	paths  []string
	follow func(folders []string)
	log    *slog.Logger

	memory spec.Memory
	file   string // that keeps the memory
	kept   []byte // of the memory, in the file
	last   watch.Loaded
}

func newLoader(c drivers.Config, policy *policyFile, paths []string, follow func([]string), log *slog.Logger) *loader {
	return &loader{policy: policy, host: c.Host, paths: paths, follow: follow, log: log, file: memoryFile(c.StateDir, paths)}
}

// load reads the files. A policy that cannot be read lets nothing new in.
func (l *loader) load() watch.Loaded {
	allowed, err := l.policy.read()
	if err != nil {
		loaded := l.last
		loaded.Faults = faultsOf(err)
		return loaded
	}
	want, faults, known := l.memory.Load(allowed, l.host, l.paths...)
	l.follow(want.Folders)
	l.last = watch.Loaded{Want: want, Faults: faults, Known: known}
	if err := l.keep(); err != nil {
		l.log.Warn("what the files said is not kept over a restart", "error", err)
	}
	return l.last
}

// faultsOf are the faults of an error, which may be just one.
func faultsOf(err error) []spec.Error {
	var faults spec.Errors
	if errors.As(err, &faults) {
		return faults
	}
	return []spec.Error{{Msg: err.Error()}}
}
