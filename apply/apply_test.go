package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/apply"
	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// world is a host in memory and what its specs say.
type world struct {
	t *testing.T
	*memory.Host
	want  spec.Set
	fault *fault
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, Host: memory.New("h"), want: spec.Set{Name: "s", Sources: []string{"/specs/"}}}
	w.Publish("oci-archive:/bot.tar", memory.Image{Digest: "sha256:a"})
	for _, version := range []string{"v1", "v2"} {
		w.Publish("agent:"+version, memory.Image{Digest: "sha256:" + version, Data: map[string]string{"seed": version}})
	}
	code := uint32(3)
	w.Publish("exits:v1", memory.Image{Digest: "sha256:e", Exits: &code})
	w.Publish("broken:v1", memory.Image{Digest: "sha256:b", Broken: true})
	return w
}

func workspace(name, image string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Image, w.Source, w.Network.Mode = name, image, "/specs/a.yaml", spec.NetworkNone
	return w
}

func (w *world) wish(all ...spec.Workspace) { w.want.Workspaces = all }

func (w *world) plan() plan.Plan {
	w.t.Helper()
	p, err := plan.New(w.want, w.Observe(w.want), plan.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) runner() *apply.Runner {
	f := faulty{w.Host, w.fault}
	return &apply.Runner{
		Runtime: f, Network: f, Volumes: f, Records: f, Parallel: 4, Who: "ann@h",
		Observe: func(context.Context) (state.State, error) { return w.Observe(spec.Set{}), nil },
	}
}

func (w *world) apply() error {
	w.t.Helper()
	return w.runner().Run(w.t.Context(), w.plan())
}

func (w *world) mustApply() {
	w.t.Helper()
	if err := w.apply(); err != nil {
		w.t.Fatal(err)
	}
}

// settled checks that nothing is left to do and that the host is as text.
func (w *world) settled(want string) {
	w.t.Helper()
	if p := w.plan(); !p.Empty() {
		w.t.Errorf("there is still something to do:\n%s", report.OfPlan(p).Text())
	}
	if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(w.String())); diff != "" {
		w.t.Errorf("the host (-want +got):\n%s", diff)
	}
}

func TestAWorkspaceThroughItsLife(t *testing.T) {
	w := newWorld(t)
	w.wish(workspace("bot", "agent:v1"))
	w.mustApply()
	w.Write("bot", "work", "done")
	w.settled(`
container bot: workspace bot, set s, image agent:v1@sha256:v1, task "running"
record bot: set s, container "bot", image "agent:v1", stopped by user false, error ""
volume bot: map[seed:v1 work:done]`)

	w.wish(workspace("bot", "agent:v2"))
	w.mustApply()
	upgraded := `
container bot: workspace bot, set s, image agent:v2@sha256:v2, task "running"
record bot: set s, container "bot", image "agent:v2", stopped by user false, error ""
volume bot: map[seed:v1 work:done]`
	w.settled(upgraded)

	w.wish()
	w.mustApply()
	w.settled(`preserved bot: map[seed:v1 work:done]`)

	w.wish(workspace("bot", "agent:v2"))
	w.mustApply()
	w.settled(upgraded)

	w.Die("bot", 137)
	w.mustApply()
	w.settled(upgraded)
	w.Lose("bot")
	w.mustApply()
	w.settled(upgraded)
	w.Forget("bot")
	w.mustApply()
	w.settled(upgraded)
}

func TestFailedReplaceIsRolledBack(t *testing.T) {
	for _, image := range []string{"exits:v1", "broken:v1"} {
		w := newWorld(t)
		w.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		w.mustApply()
		w.Write("bot", "work", "done")
		w.wish(workspace("bot", image), workspace("other", "agent:v2"))
		err := w.apply()
		if err == nil || !strings.Contains(err.Error(), "the previous spec was brought back") {
			t.Errorf("%s: %v", image, err)
		}
		text := w.String()
		for _, want := range []string{
			`container bot: workspace bot, set s, image agent:v1@sha256:v1, task "running"`,
			`container other: workspace other, set s, image agent:v2@sha256:v2, task "running"`,
			`record bot: set s, container "bot", image "agent:v1", stopped by user false, error "start bot:`,
			"volume bot: map[seed:v1 work:done]",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the host has no %q:\n%s", image, want, text)
			}
		}
		w.wish(workspace("bot", "agent:v2"), workspace("other", "agent:v2"))
		w.mustApply()
		if p := w.plan(); !p.Empty() {
			t.Errorf("%s: after the repair:\n%s", image, report.OfPlan(p).Text())
		}
	}
}

func TestAnImageThatCannotRunStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.Publish("unfit:v1", memory.Image{Digest: "sha256:u", Unfit: "it has no command"})
	w.wish(workspace("bot", "agent:v1"))
	w.mustApply()
	w.wish(workspace("bot", "unfit:v1"), workspace("new", "unfit:v1"))
	w.fault = &fault{at: -1}
	if err := w.apply(); err == nil || strings.Contains(err.Error(), "brought back") {
		t.Errorf("error: %v", err)
	}
	for _, call := range w.fault.calls {
		if call == "StopTask" || call == "CreateVolume" {
			t.Errorf("calls: %v", w.fault.calls)
		}
	}
	if !strings.Contains(w.String(), `container bot: workspace bot, set s, image agent:v1@sha256:v1, task "running"`) || strings.Contains(w.String(), "new: map") {
		t.Errorf("the host:\n%s", w)
	}
}

func TestWhatNeverRanDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	code := uint32(4)
	w.Publish("prints:v1", memory.Image{Digest: "sha256:p", Exits: &code, Prints: []string{"no config", "\x1b[2Jgood bye"}})
	for _, image := range []string{"broken:v1", "prints:v1"} {
		w.wish(workspace("bot", image))
		err := w.apply()
		if err == nil || strings.Contains(err.Error(), "brought back") {
			t.Errorf("%s: %v", image, err)
		}
		if image == "prints:v1" && !strings.Contains(err.Error(), `the task exited 4 at once, and printed last: "no config", "\x1b[2Jgood bye" (`) {
			t.Errorf("error: %v", err)
		}
	}
	w.wish(workspace("bot", "agent:v1"))
	w.mustApply()
	w.run(plan.Stop(w.Observe(w.want), "bot"))
	w.wish(workspace("bot", "broken:v1"))
	if err := w.apply(); err == nil || !strings.Contains(err.Error(), "the previous spec was brought back") {
		t.Errorf("what ran did not come back: %v", err)
	}
}

func TestOneFailureStopsNoOther(t *testing.T) {
	w := newWorld(t)
	w.wish(workspace("a", "none:v1"), workspace("b", "agent:v1"), workspace("c", "exits:v1"))
	err := w.apply()
	var step *apply.StepError
	var exited *apply.ExitedError
	if !errors.As(err, &step) || !errors.As(err, &exited) || exited.Code != 3 || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("error: %v", err)
	}
	if !strings.Contains(w.String(), `container b: workspace b, set s, image agent:v1@sha256:v1, task "running"`) {
		t.Errorf("b was not applied:\n%s", w)
	}
	w.Publish("none:v1", memory.Image{Digest: "sha256:n"})
	w.wish(workspace("a", "none:v1"), workspace("b", "agent:v1"))
	w.mustApply()
	if p := w.plan(); !p.Empty() {
		t.Errorf("after the repair:\n%s", report.OfPlan(p).Text())
	}
}

func TestAnImageIsFetchedOnce(t *testing.T) {
	w := newWorld(t)
	var all []spec.Workspace
	for i := range 20 {
		all = append(all, workspace(fmt.Sprintf("w%d", i), "agent:v1"))
	}
	w.wish(all...)
	w.fault = &fault{at: -1}
	w.mustApply()
	pulls := 0
	for _, call := range w.fault.calls {
		if call == "PullImage" {
			pulls++
		}
	}
	if pulls != 1 {
		t.Errorf("%d pulls: %v", pulls, w.fault.calls)
	}
}

func TestNothingNewIsBegunAfterAnInterrupt(t *testing.T) {
	w := newWorld(t)
	w.wish(workspace("a", "agent:v1"), workspace("b", "agent:v1"), workspace("c", "agent:v1"))
	ctx, interrupt := context.WithCancel(t.Context())
	runner := w.runner()
	runner.Parallel = 1
	runner.Report = func(e apply.Event) {
		if _, creating := e.Step.(plan.CreateContainer); creating && e.Kind == apply.Began {
			interrupt()
		}
	}
	err := runner.Run(ctx, w.plan())
	var interrupted *apply.InterruptedError
	if !errors.As(err, &interrupted) || interrupted.Left == 0 {
		t.Fatalf("error: %v", err)
	}
	begun := 3 - interrupted.Left
	if got := strings.Count(w.String(), `task "running"`); got != begun {
		t.Errorf("%d were begun, %d run:\n%s", begun, got, w)
	}
	if strings.Contains(w.String(), "canceled") {
		t.Errorf("an interrupt was noted as a failure:\n%s", w)
	}
	w.mustApply()
	if p := w.plan(); !p.Empty() {
		t.Errorf("after the second run:\n%s", report.OfPlan(p).Text())
	}
}

func TestAWorkspaceThatAnotherHostClaimsIsNotMade(t *testing.T) {
	w := newWorld(t)
	w.Shared = true
	w.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
	p := w.plan()
	claim := plan.ClaimRecord{Workspace: "bot", Set: "s", Host: "another", Source: "/specs/a.yaml"}
	if err := w.ClaimRecord(t.Context(), claim, nil); err != nil {
		t.Fatal(err)
	}
	err := w.runner().Run(t.Context(), p)
	var claimed *plan.ClaimedError
	if !errors.As(err, &claimed) || claimed.Host != "another" {
		t.Errorf("error: %v", err)
	}
	if p := w.plan(); !p.Empty() || p.Elsewhere != 1 {
		t.Errorf("after the claim was lost:\n%s", report.OfPlan(p).Text())
	}
	if text := w.String(); strings.Contains(text, "container bot") || strings.Contains(text, "volume bot") || !strings.Contains(text, "container other") {
		t.Errorf("the host:\n%s", text)
	}
}

func TestHistoryTellsWhatWasDone(t *testing.T) {
	w := newWorld(t)
	w.wish(workspace("bot", "broken:v1"))
	if err := w.apply(); err == nil {
		t.Fatal("a broken image was started")
	}
	var steps []string
	for _, e := range w.History() {
		steps = append(steps, e.Step+": "+e.Error)
		if e.Who != "ann@h" || !plan.IsID(e.Plan) || e.Workspace != "bot" {
			t.Errorf("entry %+v", e)
		}
	}
	want := []string{
		"pull image broken:v1: ", "check image broken:v1 for bot: ", "create volume of bot from /data in broken:v1: ", "create container bot from broken:v1: ",
		"start bot: its command is not in the image",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// story is a way from one wish to the next; the last is tried with every driver
// call failing.
type story struct {
	before func(*world)
	wishes [][]spec.Workspace

	// Data that a run moved before it failed is preserved when the next one
	// moves it anew: nothing tells whether it has changed in between.
	preservesMore bool
}

// with is a workspace that differs from the usual one.
func with(image string, change func(*spec.Workspace)) spec.Workspace {
	w := workspace("bot", image)
	change(&w)
	return w
}

// renamed is bot under the name robot.
func renamed(image string, change func(*spec.Workspace)) spec.Workspace {
	w := with(image, change)
	w.Name, w.RenamedFrom = "robot", "bot"
	return w
}

func onCNI(w *spec.Workspace)   { w.Network.Mode = spec.NetworkCNI }
func forgets(w *spec.Workspace) { w.PreserveData = spec.PreserveNever }

func publishing(port int) func(*spec.Workspace) {
	return func(w *spec.Workspace) {
		w.Network = spec.Network{Mode: spec.NetworkCNI, Ports: []spec.Port{{Host: port, Container: 80, Protocol: "tcp"}}}
	}
}

var other = workspace("other", "agent:v1")

var stories = map[string]story{
	"create": {wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}}},
	"create in a store that hosts share": {
		before: func(w *world) { w.Shared = true },
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}},
	},
	"adopt in a store that hosts share": {
		before: func(w *world) {
			w.Shared = true
			w.Strange(workspace("bot", "agent:v1"), "/srv/bot", map[string]string{"old": "work"})
		},
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}},
	},
	"replace": {wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}, {workspace("bot", "agent:v2")}}},
	"delete":  {wishes: [][]spec.Workspace{{workspace("bot", "agent:v1"), other}, {other}}},
	"return":  {wishes: [][]spec.Workspace{{workspace("bot", "agent:v1"), other}, {other}, {workspace("bot", "agent:v1"), other}}},
	"import":  {wishes: [][]spec.Workspace{{workspace("bot", "oci-archive:/bot.tar")}}},
	"adopt": {
		before: func(w *world) { w.Strange(workspace("bot", "agent:v1"), "/srv/bot", map[string]string{"old": "work"}) },
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}},
	},
	"adopt and replace, data in the root filesystem": {
		before:        func(w *world) { w.Strange(workspace("bot", "agent:v1"), "", map[string]string{"old": "work"}) },
		wishes:        [][]spec.Workspace{{workspace("bot", "agent:v2")}},
		preservesMore: true,
	},
	"adopt and replace, data in a folder": {
		before:        func(w *world) { w.Strange(workspace("bot", "agent:v1"), "/srv/bot", map[string]string{"old": "work"}) },
		wishes:        [][]spec.Workspace{{workspace("bot", "agent:v2")}},
		preservesMore: true,
	},
	"adopt and delete": {
		before:        func(w *world) { w.Strange(workspace("bot", "agent:v1"), "", map[string]string{"old": "work"}) },
		wishes:        [][]spec.Workspace{{workspace("bot", "agent:v1"), other}, {other}},
		preservesMore: true,
	},
	"a root filesystem is left": {
		before: func(w *world) {
			w.Strange(workspace("bot", "agent:v1"), "", map[string]string{"old": "work"})
			w.Lose("bot")
		},
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}},
	},
	"update": {wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}, {with("agent:v1", func(w *spec.Workspace) {
		w.Labels, w.Resources.Limits.Memory = map[string]string{"team": "x"}, 1<<30
	})}}},
	"changed on the host": {
		before: func(w *world) {
			w.wish(workspace("bot", "agent:v1"))
			w.mustApply()
			w.Tamper("bot", state.Drift{Path: "oci.process.cwd", Made: "/", Now: "/tmp"})
		},
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}},
	},
	"create with a network":  {wishes: [][]spec.Workspace{{with("agent:v1", publishing(80))}}},
	"replace with a network": {wishes: [][]spec.Workspace{{with("agent:v1", onCNI)}, {with("agent:v2", onCNI)}}},
	"other ports":            {wishes: [][]spec.Workspace{{with("agent:v1", publishing(80))}, {with("agent:v1", publishing(81))}}},
	"a network goes":         {wishes: [][]spec.Workspace{{with("agent:v1", publishing(80))}, {workspace("bot", "agent:v1")}}},
	"delete with a network":  {wishes: [][]spec.Workspace{{with("agent:v1", onCNI), other}, {other}}},
	"rename":                 {wishes: [][]spec.Workspace{{with("agent:v1", publishing(80)), other}, {renamed("agent:v1", publishing(80)), other}}},
	"rename and replace":     {wishes: [][]spec.Workspace{{with("agent:v1", onCNI), other}, {renamed("agent:v2", onCNI), other}}},
	"rename in a store that hosts share": {
		before: func(w *world) { w.Shared = true },
		wishes: [][]spec.Workspace{{workspace("bot", "agent:v1")}, {renamed("agent:v1", onCNI)}},
	},
	"rename what was adopted": {
		before:        func(w *world) { w.Strange(workspace("bot", "agent:v1"), "", map[string]string{"old": "work"}) },
		wishes:        [][]spec.Workspace{{workspace("bot", "agent:v1")}, {renamed("agent:v1", onCNI)}},
		preservesMore: true,
	},
	"a network left something": {
		before: func(w *world) { w.Leave("bot", "s") },
		wishes: [][]spec.Workspace{{with("agent:v1", onCNI)}},
	},
	"replace without data": {wishes: [][]spec.Workspace{{with("agent:v1", forgets)}, {with("agent:v2", forgets)}}},
	"delete without data":  {wishes: [][]spec.Workspace{{with("agent:v1", forgets), other}, {other}}},
}

// calls are the methods of the drivers that plans from specs need. Those that only
// commands need fail in TestDataVerbsLoseNothing.
var calls = []string{
	"PullImage", "ImportImage", "ViewImage", "CreateVolume", "RestoreData", "PreserveData", "CheckImage", "CreateContainer", "AdoptContainer",
	"UpdateLabels", "UpdateResources", "RestoreDescription", "StartTask", "Exited", "StopTask", "DeleteContainer", "ClaimRecord", "SaveRecord", "DeleteRecord",
	"ViewSnapshot", "MigrateData", "RenameData", "DiscardData", "EmptyTrash", "AttachNetwork", "DetachNetwork", "CleanNetwork",
}

func TestEveryCallFailing(t *testing.T) {
	called := map[string]bool{}
	for name, story := range stories {
		for _, kind := range []string{"did nothing", "did it but reported failure", "crashed before", "crashed after"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				good, none := newWorld(t), &fault{at: -1}
				good.tell(story, none)
				if len(none.calls) < 2 {
					t.Fatalf("the story makes calls %v", none.calls)
				}
				for _, call := range none.calls {
					called[call] = true
				}
				for at, call := range none.calls {
					w := newWorld(t)
					w.tell(story, &fault{at: at, kind: kind})
					if diff := cmp.Diff(good.end(story), w.end(story)); diff != "" {
						t.Errorf("call %d, %s: the end differs (-good +got):\n%s", at, call, diff)
					}
				}
			})
		}
	}
	for _, call := range calls {
		if !called[call] {
			t.Errorf("no story calls %s", call)
		}
	}
}

// end is how the host is at the end of a story.
func (w *world) end(s story) string {
	if !s.preservesMore {
		return w.String()
	}
	lines := strings.Split(w.String(), "\n")
	return strings.Join(slices.Compact(slices.DeleteFunc(lines, func(line string) bool {
		name, _, preserved := strings.Cut(strings.TrimPrefix(line, "preserved "), ":")
		return preserved && strings.HasPrefix(line, "preserved ") && strings.Contains(w.String(), "volume "+name+":")
	})), "\n")
}

// tell goes through a story. The fault strikes in its last chapter, which is
// then applied again until nothing is left to do.
func (w *world) tell(s story, f *fault) {
	w.t.Helper()
	if s.before != nil {
		s.before(w)
	}
	for i, wish := range s.wishes {
		w.wish(wish...)
		if i < len(s.wishes)-1 {
			w.mustApply()
			if i == 0 && s.before == nil {
				w.Write("bot", "work", "done")
			}
			continue
		}
		w.fault = f
		err := w.apply()
		if struck := f.at >= 0; struck && err == nil && f.struck {
			w.t.Errorf("call %d failed, and the apply went well", f.at)
		}
		w.fault = nil
		w.mustApply()
		if p := w.plan(); !p.Empty() {
			w.t.Errorf("after a failure and another apply:\n%s", report.OfPlan(p).Text())
		}
	}
}

// fault makes one driver call fail.
type fault struct {
	at   int // which call; -1 is none
	kind string

	mu      sync.Mutex
	calls   []string
	struck  bool
	crashed bool // from then on every call fails and does nothing
}

var errFault = errors.New("made to fail")

// call runs a driver call, or fails as the fault says.
func (f *fault) call(name string, do func() error) error {
	if f == nil {
		return do()
	}
	f.mu.Lock()
	n := len(f.calls)
	f.calls = append(f.calls, name)
	crashed := f.crashed
	if n == f.at {
		f.struck = true
		f.crashed = strings.HasPrefix(f.kind, "crashed")
	}
	f.mu.Unlock()
	switch {
	case crashed:
		return errFault
	case n != f.at:
		return do()
	case f.kind == "did nothing", f.kind == "crashed before":
		return errFault
	}
	if err := do(); err != nil {
		return err
	}
	return errFault
}
