package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carrel/apply"
	"carrel/apply/watch"
	"carrel/apply/watch/agenthost"
	"carrel/drivers"
	"carrel/drivers/containerd"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
	"carrel/spec/lastvalid"
)

// agentHost is the host of an agent: the drivers, joined with the rules of
// package agenthost.
type agentHost struct {
	config   drivers.Config
	parallel int
	minReady time.Duration
	drivers  *agenthost.Connection[*drivers.Host]
	reporter agenthost.Reporter
}

func newAgentHost(c drivers.Config, o *watchOptions, log *slog.Logger) *agentHost {
	return &agentHost{
		config: c, parallel: o.parallel, minReady: o.minReady,
		drivers: &agenthost.Connection[*drivers.Host]{
			Open:     func(ctx context.Context) (*drivers.Host, error) { return drivers.Open(ctx, c) },
			Close:    (*drivers.Host).Close,
			Replaced: func(h *drivers.Host) bool { return h.Records.Replaced() },
			Log:      log,
		},
		reporter: agenthost.Reporter{Identity: agenthost.Identity{Host: c.Host, Boot: bootID(), Gone: report.Gone}},
	}
}

// bootID is the id that the kernel gave this boot; "" when it cannot be read.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// agentLockTimeout is how long an agent waits for the lock before it reports who
// has it.
const agentLockTimeout = 2 * time.Second

func (h *agentHost) Lock(ctx context.Context) (func() error, error) {
	return apply.Lock(ctx, h.config.StateDir, who()+" with carrel watch", agentLockTimeout)
}

func (h *agentHost) Observe(ctx context.Context, desired spec.Set) (state.State, error) {
	host, err := h.drivers.Renew(ctx)
	if err != nil {
		return state.State{}, err
	}
	if err := h.reporter.Identity.Check(ctx, host.Records); err != nil {
		return state.State{}, err
	}
	return host.ObserveLocal(ctx, desired)
}

func (h *agentHost) LastPending(ctx context.Context, set string) ([]state.Pending, error) {
	host, err := h.drivers.Get(ctx)
	if err != nil {
		return nil, err
	}
	return agenthost.LastPending(ctx, host.Records, host.Name, set)
}

func (h *agentHost) Sources(ctx context.Context, desired spec.Set) map[string]state.Source {
	host, err := h.drivers.Get(ctx)
	if err != nil {
		return nil // the next observation reports the error
	}
	return host.Runtime.Sources(ctx, desired.Here(host.Name))
}

func (h *agentHost) Pull(ctx context.Context, image string) error {
	host, err := h.drivers.Get(ctx)
	if err != nil {
		return err
	}
	return host.Runtime.PullImage(ctx, plan.PullImage{Image: image}, nil)
}

func (h *agentHost) Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error {
	host, err := h.drivers.Get(ctx)
	if err != nil {
		return err
	}
	if err := host.ClaimStateDir(); err != nil {
		return err
	}
	runner := newRunner(host, applyOptions{parallel: h.parallel, minReady: h.minReady})
	runner.Who, runner.Report, runner.Ended = "carrel-watch@"+hostname(), step, ended
	return runner.Run(ctx, p)
}

func (h *agentHost) Report(ctx context.Context, a state.Agent, observed state.State) error {
	host, err := h.drivers.Get(ctx)
	if err != nil {
		return err
	}
	return h.reporter.Report(ctx, host.Records, a, observed)
}

// events has the agent be woken when something happens in containerd, until ctx
// ends.
func (h *agentHost) events(ctx context.Context, log *slog.Logger, wakes chan<- watch.Wake) {
	subscription := func(ctx context.Context, event func(watch.Wake)) error {
		host, err := h.drivers.Get(ctx)
		if err != nil {
			return err
		}
		return host.Runtime.Events(ctx, func(e containerd.Event) { event(wakeOf(e)) })
	}
	agenthost.Subscribe(ctx, log, subscription, func(w watch.Wake) { wake(ctx, wakes, w) })
}

func wakeOf(e containerd.Event) watch.Wake {
	if e.Kind == containerd.Connected {
		return watch.Wake{Kind: watch.Connected}
	}
	return watch.Wake{Kind: watch.EngineEvent, Text: fmt.Sprintf("%s: %s", e.Kind, e.Container+e.Image), Container: e.Container}
}

// loader reads the specs of an agent.
type loader struct {
	store  *lastvalid.Store
	policy *policyFile
	host   string
	follow func(folders []string) // is told the folders to watch
	log    *slog.Logger
}

// newLoader opens the store of what the files last said. One agent at a time
// watches the same paths with the same state dir.
func newLoader(c drivers.Config, policy *policyFile, paths []string, follow func([]string), log *slog.Logger) (*loader, error) {
	store, err := lastvalid.Open(filepath.Join(c.StateDir, "specs"), paths)
	if err != nil {
		return nil, err
	}
	if err := store.Recall(); err != nil {
		log.Warn("the last valid versions of the files cannot be read; the agent starts without them", "error", err)
	}
	return &loader{store: store, policy: policy, host: c.Host, follow: follow, log: log}, nil
}

// load reads the files.
func (l *loader) load() watch.Loaded {
	loaded, err := l.store.Load(func() (spec.Check, error) {
		allowed, err := l.policy.read()
		return allowed.For(l.host), err
	})
	if err != nil {
		l.log.Warn("what the files said is not kept over a restart", "error", err)
	}
	l.follow(loaded.Set.Folders)
	return watch.Loaded{Desired: loaded.Set, Errors: loaded.Errors, Known: loaded.Known}
}
