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

// bed is an agent on a host in memory, in a bubble of time: hours pass at once.
type bed struct {
	*memory.Host
	t     *testing.T
	agent *watch.Agent
	wakes chan watch.Wake
	began time.Time
	end   func()

	mu      sync.Mutex
	loaded  watch.Loaded
	loads   int
	gone    error                    // why looks fail
	holder  string                   // of the lock, instead of the agent
	held    bool                     // by the agent
	lasts   time.Duration            // of a look, after it has seen
	slow    map[string]chan struct{} // workspaces whose tasks end when the channel is closed
	pulled  []string
	told    []state.Agent
	left    []state.Pending // by an agent before this one
	lines   []string
	failing func(s plan.StartTask) error
}

// inBubble runs a test with a bed.
func inBubble(t *testing.T, test func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bed{Host: memory.New("h"), t: t, wakes: make(chan watch.Wake), began: time.Now(), slow: map[string]chan struct{}{}}
		for _, v := range []string{"v1", "v2", "v3"} {
			b.Publish("agent:"+v, memory.Image{Digest: "sha256:" + v, Data: map[string]string{"seed": v}})
		}
		code := uint32(3)
		b.Publish("exits:v1", memory.Image{Digest: "sha256:exits", Exits: &code})
		b.loaded = watch.Loaded{Known: true, Want: spec.Set{Name: "s", Sources: []string{"/specs/"}}}
		b.again()
		defer func() { b.end() }()
		test(b)
	})
}

// again begins an agent.
func (b *bed) again() {
	b.agent = &watch.Agent{
		Host: b, Load: b.load, Wakes: b.wakes, Resync: 5 * time.Minute, Log: slog.New(b),
		About: state.Agent{Host: "h", Version: "test", Paths: []string{"/specs"}},
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	b.end = sync.OnceFunc(func() { cancel(); <-ended })
	go func() { b.agent.Run(ctx); close(ended) }()
}

// settle lets the agent do all that it can do now.
func (b *bed) settle() { synctest.Wait() }

// pass lets time pass.
func (b *bed) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wish changes the files.
func (b *bed) wish(all ...spec.Workspace) {
	b.mu.Lock()
	b.loaded.Want.Workspaces = all
	b.mu.Unlock()
	b.wakes <- watch.Wake{Kind: watch.FilesChanged}
	b.pass(time.Second)
}

// die ends a task, and tells the agent.
func (b *bed) die(workspace string) {
	b.Die(workspace, 137)
	b.wakes <- watch.Wake{Kind: watch.Happened, Text: "task exited", Container: workspace}
	b.settle()
}

// since gives the lines that were logged and forgets them.
func (b *bed) since() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.lines, "\n")
	b.lines = nil
	return text
}

// said checks what was logged since it was last asked.
func (b *bed) said(want string) {
	b.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), b.since()); diff != "" {
		b.t.Errorf("log (-want +got):\n%s", diff)
	}
}

// runs checks that a workspace runs, or not.
func (b *bed) runs(workspace string, want bool) {
	b.t.Helper()
	for _, s := range report.Statuses(b.Observe(spec.Set{})) {
		if s.Workspace == workspace {
			if s.Running != want {
				b.t.Errorf("%s runs: %v, at %s", workspace, s.Running, time.Since(b.began))
			}
			return
		}
	}
	b.t.Errorf("there is no %s", workspace)
}

func (b *bed) load() watch.Loaded {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads++
	return b.loaded
}

// Lock is one that another run may have.
func (b *bed) Lock(context.Context) (func() error, error) {
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
	if b.held {
		b.t.Error("the agent takes the lock twice")
	}
	b.held = true
	return func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.held {
			b.t.Error("the agent gives the lock back twice")
		}
		b.held = false
		return nil
	}, nil
}

// Look sees the host as it is, but not what registries have.
func (b *bed) Look(_ context.Context, want spec.Set) (state.State, error) {
	b.mu.Lock()
	gone, lasts := b.gone, b.lasts
	b.mu.Unlock()
	if gone != nil {
		return state.State{}, gone
	}
	now := b.Observe(want)
	time.Sleep(lasts)
	now.Time = time.Now()
	for name, image := range now.Images {
		if !strings.HasPrefix(name, spec.ArchivePrefix) {
			image.Source = ""
			now.Images[name] = image
		}
	}
	return now, nil
}

// Left is what the last agent left.
func (b *bed) Left(context.Context, string) ([]state.Pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left, nil
}

// Sources are what was published.
func (b *bed) Sources(_ context.Context, want spec.Set) map[string]state.Source {
	all := map[string]state.Source{}
	for name, image := range b.Observe(want).Images {
		if image.Source != "" {
			all[name] = state.Source{Digest: image.Source}
		}
	}
	return all
}

// Pull takes a while.
func (b *bed) Pull(ctx context.Context, image string) error {
	b.mu.Lock()
	b.pulled = append(b.pulled, image)
	b.mu.Unlock()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.PullImage(ctx, plan.PullImage{Image: image}, nil)
}

// Run carries out plans, and makes sure that the lock is held meanwhile.
func (b *bed) Run(ctx context.Context, p plan.Plan, step func(apply.Event), ended func(plan.Change, time.Duration, error)) error {
	b.mu.Lock()
	if !b.held {
		b.t.Error("a plan is carried out without the lock")
	}
	b.mu.Unlock()
	runner := apply.Runner{
		Runtime: slowly{b.Host, b}, Network: b.Host, Volumes: b.Host, Records: b.Host, Parallel: 4, Who: "carrel-watch@h",
		Observe: func(context.Context) (state.State, error) { return b.Observe(spec.Set{}), nil },
		Report:  step, Ended: ended,
	}
	return runner.Run(ctx, p)
}

// Tell remembers what was told.
func (b *bed) Tell(_ context.Context, a state.Agent, _ state.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, a)
	return nil
}

// slowly is a host whose tasks may take long to end, and fail to start.
type slowly struct {
	*memory.Host
	bed *bed
}

func (s slowly) StopTask(ctx context.Context, step plan.StopTask) error {
	s.bed.mu.Lock()
	wait := s.bed.slow[step.Container]
	s.bed.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return s.Host.StopTask(ctx, step)
}

func (s slowly) StartTask(ctx context.Context, step plan.StartTask) error {
	s.bed.mu.Lock()
	failing := s.bed.failing
	s.bed.mu.Unlock()
	if failing != nil {
		if err := failing(step); err != nil {
			return err
		}
	}
	return s.Host.StartTask(ctx, step)
}

// The bed takes the agent's log: lines with the seconds that have passed.

func (b *bed) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (b *bed) WithAttrs([]slog.Attr) slog.Handler               { return b }
func (b *bed) WithGroup(string) slog.Handler                    { return b }

func (b *bed) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%s %s", time.Since(b.began).Round(time.Second), r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "took" && a.Key != "next" {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return nil
}

func workspace(name, image string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Image, w.Source, w.Network.Mode = name, image, "/specs/a.yaml", spec.NetworkNone
	return w
}

var errGone = errors.New("containerd does not answer")
