package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/schema"
	"carrel/spec"
)

// fleet is two hosts, which were observed an hour and a minute ago. The first one
// has the workspace bot, which needs no change.
func fleet() (report.Fleet, spec.Set) {
	s := inOrder()
	s.now.Host, s.now.Time = "a", noon.Add(-time.Hour)
	s.now.Records[0].Host, s.now.Instances[0].Host = "a", "a"
	f := report.Fleet{
		Time: noon, Records: s.now.Records,
		Observed: []state.State{s.now, {Host: "b", Time: noon.Add(-time.Minute), Records: s.now.Records, VolumesDir: "/volumes"}},
		Agents:   []state.Agent{{Host: "a", Set: "s", Paths: []string{"/specs"}, SeenAt: noon.Add(-time.Second), SyncedAt: noon.Add(-time.Minute), StartedAt: noon.Add(-time.Hour)}},
	}
	return f, s.want
}

func TestFleetPlansEachHostFromItsObservation(t *testing.T) {
	f, want := fleet()
	gpu, far, free := wanted("gpu"), wanted("far"), wanted("free")
	gpu.Host, gpu.Devices, far.Host = "b", []string{"vendor.com/gpu=0"}, "c"
	want.Workspaces = append(want.Workspaces, far, free, gpu)
	v := f.Plan(want.Moved("/specs", "/checkout/specs"), []string{"/checkout/specs"}, plan.Options{})
	text := v.Text()
	for _, want := range []string{
		"host a, as observed at 2026-01-01T11:00:00Z (1 hour ago)\nNothing to do for set s on host a: 1 unchanged",
		"host b, as observed at 2026-01-01T11:59:00Z (1 minute ago)\nNothing to do for set s on host b: 0 unchanged",
		"note: free names no host: it will belong to the first host that records it\n",
		"note: host c was never observed: no agent (carrel watch) runs there with this store\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	errs := v.Errors()
	if len(errs) != 1 || !strings.HasSuffix(errs[0], ": on host b") || !strings.Contains(errs[0], `this host has no device "vendor.com/gpu=0"`) {
		t.Errorf("errs: %v", errs)
	}
	if !v.Empty() {
		t.Error("the plan is not empty")
	}
	valid(t, "fleet", v)
}

func TestFleetOfOneHostGetsWorkspacesWithoutAHost(t *testing.T) {
	f, want := fleet()
	f.Observed = f.Observed[:1]
	want.Workspaces = append(want.Workspaces, wanted("free"))
	v := f.Plan(want, []string{"/specs"}, plan.Options{})
	if text := v.Text(); !strings.Contains(text, "+ free: create") || v.Empty() {
		t.Errorf("plan:\n%s", text)
	}
	valid(t, "fleet", v)
}

// valid checks a value against one of the schemas of plans, "plan" or "fleet".
func valid(t *testing.T, name string, v any) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(map[string][]byte{"plan": schema.Plan, "fleet": schema.Fleet}[name]))
	if err == nil {
		err = compiler.AddResource("schema.json", document)
	}
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestFleetStatus(t *testing.T) {
	f, _ := fleet()
	f.Agents[0].Waiting = []state.Waiting{{Workspace: "bot", Why: "exited 1", Attempts: 4, Until: noon.Add(time.Minute)}}
	f.Records = append(f.Records, state.Record{Workspace: "lonely", Set: "s", Host: "z", Container: "lonely"})
	var lines []string
	for _, s := range f.Status().Workspaces {
		line := s.Host + " " + s.Workspace + " " + string(s.State)
		if s.ObservedAt == nil {
			line += ", never observed"
		}
		if s.NextRetry != nil {
			line += ", next " + report.When(*s.NextRetry, noon)
		}
		lines = append(lines, line)
	}
	if diff := cmp.Diff([]string{"a bot running, next in 1 minute", "z lonely not observed, never observed"}, lines); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestAgentLines(t *testing.T) {
	a := state.Agent{
		Host: "a", Set: "s", Version: "v1", StartedAt: noon.Add(-3 * time.Hour), SeenAt: noon.Add(-time.Second), SyncedAt: noon.Add(-4 * time.Second),
		Pending: []state.Pending{{Workspace: "bot", Action: string(decide.ActionDelete), Why: "it deletes data"}},
		Waiting: []state.Waiting{{Image: "x:1", Why: "it was not found", Attempts: 2, Until: noon.Add(16 * time.Second)}},
		Errors:  []state.SpecError{{Position: "a.yaml:3:5", Text: "it is wrong", Since: noon.Add(-time.Hour)}},
	}
	want := []string{
		"agent of set s: carrel v1, up 3 hours, last sync 4 seconds ago",
		"  pending: delete bot: it deletes data",
		"  waiting: image x:1: it was not found (attempt 2, retry in 16 seconds)",
		"  error: a.yaml:3:5: it is wrong (for 1 hour)",
	}
	if diff := cmp.Diff(want, report.Lines(a, noon)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	same := a
	same.Pending = []state.Pending{{Workspace: "b", Action: "delete", Why: "why"}, {Workspace: "c", Action: "replace", Why: "why"}, {Workspace: "d", Action: "delete", Why: "why"}}
	if diff := cmp.Diff([]string{"  pending: delete 2 workspaces: b, d: why", "  pending: replace c: why"}, report.Lines(same, noon)[1:3]); diff != "" {
		t.Errorf("lines of changes with one reason (-want +got):\n%s", diff)
	}
	gone := a
	gone.Trouble = state.Stopped
	if diff := cmp.Diff([]string{"agent of set s: it does not run, it was stopped 1 second ago; it had reported 1 pending change, 1 retry, 1 error"}, report.Lines(gone, noon)); diff != "" {
		t.Errorf("lines of an agent that was stopped (-want +got):\n%s", diff)
	}
	for want, change := range map[string]func(*state.Agent){
		"no heartbeat for 5 minutes":  func(a *state.Agent) { a.SeenAt = noon.Add(-5 * time.Minute) },
		"containerd does not answer":  func(a *state.Agent) { a.Trouble = "containerd does not answer" },
		"not synced yet":              func(a *state.Agent) { a.SyncedAt = time.Time{} },
		"it was stopped 1 second ago": func(a *state.Agent) { a.Trouble = state.Stopped },
		"last sync 4 seconds ago":     func(*state.Agent) {},
	} {
		changed := a
		change(&changed)
		if got := report.Health(changed, noon); got != want {
			t.Errorf("health %q, want %q", got, want)
		}
	}
}
