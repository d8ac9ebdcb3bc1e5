package watch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/apply"
	"carrel/apply/watch"
	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// The tests of this package run an agent on a host in memory. They run in a
// bubble of testing/synctest: its clock is fake, and goes forward only while every
// goroutine waits, so that hours pass at once and results do not depend on speed.
//
// How to read a test:
//
//	b.specs(workspace("bot", "agent:v1"))  the spec files now say this; wakes the agent, 1 s passes
//	b.kill("bot")                          the task of bot dies, with an event of the engine
//	b.Die("bot", 1)                        it dies without an event (see drivers/memory)
//	b.advance(time.Minute)                 a minute passes
//	b.expectRunning("bot", true)           bot runs now
//	b.expectLog("0s watching ...")         exactly these lines were logged since the last time;
//	                                       each begins with the seconds since the test began,
//	                                       and has neither took nor retry_at
//	b.status("bot"), b.agent.Snapshot()    what the agent reports
//
// Images that registries have: agent:v1, v2 and v3, which run until they are
// killed, and exits:v1, which exits with 3 at once. What the host does wrong or slowly is
// set in the fields of bed, under its mutex.

// bed is a test bed: an agent, and the host and the files that it works with.
type bed struct {
	*memory.Host
	t     *testing.T
	agent *watch.Agent
	wakes chan watch.Wake
	began time.Time
	stop  func() // stops the agent, once

	mu          sync.Mutex
	loaded      watch.Loaded // what the spec files say
	loads       int          // how often they were read
	locked      bool         // the agent has the lock
	pulled      []string     // images, in the order of their pulls
	reports     []state.Agent
	lines       []string // of the log
	holder      string   // of the lock, when another run has it
	lastPending []state.Pending

	observeErr  error                        // of all observations
	observeTime time.Duration                // that an observation takes after it has read the host
	slow        map[string]chan struct{}     // workspaces whose tasks stop when the channel is closed
	startErr    func(s plan.StartTask) error // of starts; it may wait
	busyUntil   time.Time                    // registries accept no requests before
	asked       []time.Duration              // when registries were asked, since the test began
}

// withBed runs a test with a bed, in a bubble.
func withBed(t *testing.T, test func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{Host: memory.New("h"), t: t, wakes: make(chan watch.Wake), began: time.Now(), slow: map[string]chan struct{}{}}
		for _, v := range []string{"v1", "v2", "v3"} {
			b.Publish("agent:"+v, memory.Image{Digest: "sha256:" + v, Data: map[string]string{"seed": v}})
		}
		code := uint32(3)
		b.Publish("exits:v1", memory.Image{Digest: "sha256:exits", Exits: &code})
		b.loaded = watch.Loaded{Known: true, Desired: spec.Set{Name: "s", Sources: []string{"/specs/"}}}
		b.startAgent()
		defer func() { b.stop() }()
		test(b)
	})
}

// startAgent starts an agent.
func (b *bed) startAgent() {
	b.agent = &watch.Agent{
		Host: bedHost{b}, Load: b.load, Wakes: b.wakes, Resync: 5 * time.Minute, Log: slog.New(logHandler{b}),
		About: state.Agent{Host: "h", Version: "test", Paths: []string{"/specs"}},
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	b.stop = sync.OnceFunc(func() { cancel(); <-ended })
	go func() { b.agent.Run(ctx); close(ended) }()
}

// advance lets time pass, and the agent do all that it can do by then.
func (b *bed) advance(d time.Duration) {
	time.Sleep(d) // of the fake clock
	synctest.Wait()
}

// set changes fields of the bed while the agent runs.
func (b *bed) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// specs changes the spec files, and lets the agent apply them.
func (b *bed) specs(all ...spec.Workspace) {
	b.set(func() { b.loaded.Desired.Workspaces = all })
	b.wakes <- watch.Wake{Kind: watch.FilesChanged}
	b.advance(time.Second)
}

// kill ends a task, and tells the agent.
func (b *bed) kill(workspace string) {
	b.Die(workspace, 137)
	b.wakes <- watch.Wake{Kind: watch.EngineEvent, Text: "task exited", Container: workspace}
	synctest.Wait()
}

// takeLog gives the lines that were logged, and forgets them.
func (b *bed) takeLog() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.lines, "\n")
	b.lines = nil
	return text
}

// expectLog checks what was logged since the log was last taken.
func (b *bed) expectLog(want string) {
	b.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), b.takeLog()); diff != "" {
		b.t.Errorf("log (-want +got):\n%s", diff)
	}
}

// expectRunning checks whether a workspace runs.
func (b *bed) expectRunning(workspace string, want bool) {
	b.t.Helper()
	for _, s := range report.Statuses(b.Host.Observe(spec.Set{})) {
		if s.Workspace == workspace {
			if s.Running != want {
				b.t.Errorf("%s runs: %v, at %s", workspace, s.Running, time.Since(b.began))
			}
			return
		}
	}
	b.t.Errorf("there is no %s", workspace)
}

// observedStatus is a workspace as it is on the host.
func (b *bed) observedStatus(name string) report.Status {
	return statusOf(name, report.Statuses(b.Host.Observe(spec.Set{})))
}

// status is a workspace as the agent reports it.
func (b *bed) status(name string) report.Status {
	s := b.agent.Snapshot()
	return statusOf(name, report.OfAgent(s.Agent, s.Observed, s.Recent, nil).Workspaces)
}

func statusOf(name string, all []report.Status) report.Status {
	for _, s := range all {
		if s.Workspace == name {
			return s
		}
	}
	return report.Status{}
}

// loadCount is how often the spec files were read.
func (b *bed) loadCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads
}

func (b *bed) load() watch.Loaded {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads++
	return b.loaded
}

// bedHost is the host as the agent has it.
type bedHost struct{ *bed }

// Lock is one that another run may have.
func (b bedHost) Lock(context.Context) (func() error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holder != "" {
		b.mu.Unlock()
		time.Sleep(2 * time.Second)
		b.mu.Lock()
	}
	if b.holder != "" {
		return nil, &apply.LockedError{Holder: b.holder}
	}
	if b.locked {
		b.t.Error("the agent takes the lock twice")
	}
	b.locked = true
	return func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.locked {
			b.t.Error("the agent releases the lock twice")
		}
		b.locked = false
		return nil
	}, nil
}

// Observe reads the host, but asks no registry.
func (b bedHost) Observe(_ context.Context, desired spec.Set) (state.State, error) {
	b.mu.Lock()
	err, takes := b.observeErr, b.observeTime
	b.mu.Unlock()
	if err != nil {
		return state.State{}, err
	}
	now := b.Host.Observe(desired)
	time.Sleep(takes)
	now.Time = time.Now()
	for name, image := range now.Images {
		if !strings.HasPrefix(name, spec.ArchivePrefix) {
			image.Source = ""
			now.Images[name] = image
		}
	}
	return now, nil
}

func (b bedHost) LastPending(context.Context, string) ([]state.Pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastPending, nil
}

// Sources are the images that were published.
func (b bedHost) Sources(_ context.Context, desired spec.Set) map[string]state.Source {
	b.mu.Lock()
	busy := b.busyUntil
	b.asked = append(b.asked, time.Since(b.began))
	b.mu.Unlock()
	all := map[string]state.Source{}
	for name, image := range b.Host.Observe(desired).Images {
		switch {
		case image.Source == "":
		case time.Now().Before(busy):
			all[name] = state.Source{Err: "busy", Busy: busy}
		default:
			all[name] = state.Source{Digest: image.Source}
		}
	}
	return all
}

// Pull takes 10 ms.
func (b bedHost) Pull(ctx context.Context, image string) error {
	b.set(func() { b.pulled = append(b.pulled, image) })
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	busy := b.busyUntil
	b.mu.Unlock()
	if time.Now().Before(busy) {
		return fmt.Errorf("image %s: %w", image, &plan.BusyError{Registry: "registry", Answer: "429 Too Many Requests", At: busy})
	}
	return b.PullImage(ctx, plan.PullImage{Image: image}, nil)
}

// Run carries out plans, and checks that the agent has the lock.
func (b bedHost) Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error {
	b.mu.Lock()
	if !b.locked {
		b.t.Error("a plan is carried out without the lock")
	}
	b.mu.Unlock()
	runner := apply.Runner{
		Runtime: runtime{b.Host, b.bed}, Network: b.Host, Volumes: b.Host, Records: b.Host, Parallel: 4, Who: "carrel-watch@h",
		Observe: func(context.Context) (state.State, error) { return b.Host.Observe(spec.Set{}), nil },
		Report:  step, Ended: ended,
	}
	return runner.Run(ctx, p)
}

func (b bedHost) Report(_ context.Context, a state.Agent, _ state.State) error {
	b.set(func() { b.reports = append(b.reports, a) })
	return nil
}

// runtime is one whose tasks may take long to stop, and fail to start.
type runtime struct {
	*memory.Host
	bed *bed
}

func (s runtime) StopTask(ctx context.Context, step plan.StopTask) error {
	s.bed.mu.Lock()
	wait := s.bed.slow[step.Container]
	s.bed.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return s.Host.StopTask(ctx, step)
}

func (s runtime) StartTask(ctx context.Context, step plan.StartTask) error {
	s.bed.mu.Lock()
	startErr := s.bed.startErr
	s.bed.mu.Unlock()
	if startErr != nil {
		if err := startErr(step); err != nil {
			return err
		}
	}
	return s.Host.StartTask(ctx, step)
}

// logHandler keeps the agent's log in the bed.
type logHandler struct{ *bed }

func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler             { return h }
func (h logHandler) WithGroup(string) slog.Handler                  { return h }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%s %s", time.Since(h.began).Round(time.Second), r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "took" && a.Key != "retry_at" {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.set(func() { h.lines = append(h.lines, line) })
	return nil
}

// workspace is one with an image, and no network.
func workspace(name, image string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Image, w.Source, w.Network.Mode = name, image, "/specs/a.yaml", spec.NetworkNone
	return w
}

// errGone is the error of observations while containerd is away.
var errGone = errors.New("containerd does not answer")
