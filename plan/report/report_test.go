package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// scene is a set of specs and the state of a host. Each test starts with a scene
// that needs no change, and modifies it.
type scene struct {
	want    spec.Set
	now     state.State
	options plan.Options
}

func wanted(name string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Image, w.Source, w.Network.Mode = name, "docker.io/library/bot:v1", "/specs/"+name+".yaml", spec.NetworkNone
	return w
}

func inOrder() *scene {
	w := wanted("bot")
	kept := w
	return &scene{
		want: spec.Set{Name: "s", Sources: []string{"/specs/"}, Workspaces: []spec.Workspace{w}},
		now: state.State{
			Host: "h", Time: noon,
			Records: []state.Record{{Workspace: "bot", Set: "s", Host: "h", Source: w.Source, Container: "bot", Applied: &kept, Version: 3}},
			Instances: []state.Instance{{
				ID: "bot", Workspace: "bot", Set: "s", Host: "h", Applied: &kept, Volume: "/volumes/bot",
				Image: "docker.io/library/bot@sha256:1", Digest: "sha256:1", Task: state.Task{Status: state.TaskRunning, PID: 7},
			}},
			Images:  map[string]state.Image{w.Image: {Name: w.Image, Digest: "sha256:1"}},
			Volumes: []state.Volume{{Workspace: "bot", Path: "/volumes/bot"}}, VolumesDir: "/volumes",
		},
	}
}

// none removes a part of the scene: D the specs, R the records, C the containers,
// V the volumes, I the images.
func (s *scene) none(which string) {
	for word := range strings.FieldsSeq(which) {
		switch word {
		case "D":
			s.want.Workspaces = nil
			s.now.Records = append([]state.Record{}, s.now.Records...)
			for i := range s.now.Records {
				s.now.Records[i].Gone = true
			}
		case "R":
			s.now.Records = nil
		case "C":
			s.now.Instances = nil
		case "V":
			s.now.Volumes = nil
		case "I":
			s.now.Images = nil
		}
	}
}

func TestJSONFitsItsSchema(t *testing.T) {
	for _, change := range []func(*scene){
		func(*scene) {},
		func(s *scene) { s.none("R C V I") },
		func(s *scene) { s.want.Workspaces[0].User = "7" },
		func(s *scene) { s.none("D") },
	} {
		s := inOrder()
		change(s)
		p, err := plan.New(s.want, s.now, s.options)
		if err != nil {
			t.Fatal(err)
		}
		valid(t, "plan", report.OfPlan(p))
	}
}

// TestUnmade checks the states of workspaces that are described and not made.
func TestUnmade(t *testing.T) {
	s := inOrder()
	s.now.Preserved = []state.Preserved{{Workspace: "back", At: noon}}
	s.now.Records = append(s.now.Records, state.Record{Workspace: "broken", Set: "s", Host: "h", LastError: "no space"}, state.Record{Workspace: "claimed", Set: "s", Host: "h"})
	later := noon.Add(time.Minute)
	agent := state.Agent{Host: "h", Set: "s", Unmade: []state.Unmade{
		{Workspace: "new", Image: "x:1", Why: "x:1 was not found", Until: &later},
		{Workspace: "bot", Blocked: true, Why: "its spec is wrong"},
		{Workspace: "back", Why: "its image is being pulled"},
		{Workspace: "claimed", Blocked: true, Why: "no device"},
		{Workspace: "broken", Why: "no space"},
		{Workspace: "new", Blocked: true, Why: "another reason"},
	}}
	var lines []string
	for _, s := range report.WithUnmade(report.Statuses(s.now), "h", agent, state.Agent{Host: "other", Unmade: []state.Unmade{{Workspace: "far"}}}) {
		lines = append(lines, strings.TrimSpace(s.Workspace+" "+s.Set+" "+string(s.State)+" "+s.Image+" "+s.Reason))
	}
	want := []string{
		"back s waiting  its image is being pulled", "bot s running docker.io/library/bot:v1", "broken s failed",
		"claimed s blocked  no device", "new s waiting x:1 x:1 was not found",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

// TestAnnotation checks how errors are escaped for GitHub.
func TestAnnotation(t *testing.T) {
	e := report.OfSpecError(spec.Error{Pos: spec.Pos{File: "x", Line: 3, Col: 7}, Msg: "100% of\na\r:,", Hint: "do %0A"})
	want := "::error file=a%2Cb%3A%25.yaml,line=3,col=7,title=carrel::100%25 of%0Aa%0D:, (do %250A)\n"
	if got := e.Annotation("a,b:%.yaml"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (report.Error{Message: "no"}).Annotation(""), "::error title=carrel::no\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStatuses(t *testing.T) {
	s := inOrder()
	s.now.Preserved = []state.Preserved{{Workspace: "gone", At: noon}}
	var lines []string
	for _, status := range report.Statuses(s.now) {
		lines = append(lines, status.Workspace+" "+string(status.State))
	}
	if diff := cmp.Diff([]string{"bot running", "gone deleted"}, lines); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	for want, change := range map[report.State]func(*scene){
		"missing":                 func(s *scene) { s.none("C") },
		"orphan":                  func(s *scene) { s.none("R") },
		"new":                     func(s *scene) { s.none("C"); s.now.Records[0].Container = "" },
		"failed":                  func(s *scene) { s.none("C"); s.now.Records[0].Container, s.now.Records[0].LastError = "", "no image" },
		"stopped":                 func(s *scene) { s.now.Instances[0].Task = state.Task{} },
		report.StateStoppedByUser: func(s *scene) { s.now.Instances[0].Task = state.Task{}; s.now.Records[0].StoppedByUser = true },
	} {
		s := inOrder()
		change(s)
		if got := report.Statuses(s.now)[0].State; got != want {
			t.Errorf("state %q, want %q", got, want)
		}
	}
}
