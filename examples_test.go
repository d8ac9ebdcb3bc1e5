package carrel_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
	"carrel/spec/policy"
)

// TestExamples loads and plans every example, alone and all together, for a
// host that has nothing yet. The archives need not be built for that.
func TestExamples(t *testing.T) {
	paths := []string{"examples"}
	err := filepath.WalkDir("examples", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 5 {
		t.Fatalf("only %d examples were found", len(paths)-1)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { planExample(t, path) })
	}
}

// planExample checks that each workspace of an example is created and started.
func planExample(t *testing.T, path string) {
	t.Helper()
	want, err := spec.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	now := state.State{
		Host: "testhost", Images: map[string]state.Image{},
		Devices: state.Devices{Found: map[string]string{"nvidia.com/gpu=0": "1"}},
	}
	for _, w := range want.Workspaces {
		now.Images[w.Image] = state.Image{Name: "image", Source: "sha256:" + strings.Repeat("0", 64)}
	}
	p, err := plan.New(want, now, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wanted, planned []string
	for _, w := range want.Workspaces {
		wanted = append(wanted, w.Name+": create, and start")
	}
	for _, c := range p.Changes {
		starts := ""
		for _, s := range c.Steps {
			if _, ok := s.(plan.StartTask); ok {
				starts = ", and start"
			}
		}
		planned = append(planned, fmt.Sprintf("%s: %s%s", c.Workspace, c.Action, starts))
	}
	if diff := cmp.Diff(wanted, planned); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// TestReadmeBegins checks that the first spec of the README is that of its first
// example, which needs nothing of a host: no device, no folder, no network.
func TestReadmeBegins(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	first, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the README has no spec")
	}
	path := filepath.Join("examples", "readme.yaml")
	file := spec.Parse(path, path, []byte(first))
	workspaces, more := file.Workspaces(spec.WorkspaceSet{}, nil)
	if errs := append(file.Errors, more...); len(errs) > 0 || len(workspaces) != 1 {
		t.Fatalf("%d workspaces, %v", len(workspaces), errs)
	}
	example, err := spec.Load("examples/bot.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, want := workspaces[0], example.Workspaces[0]
	got.Source, want.Source = "", ""
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
		t.Errorf("the README differs from examples/bot.yaml (-example +README):\n%s", diff)
	}
	if len(got.Devices) > 0 || len(got.Mounts) > 0 || got.Network.Mode == spec.NetworkCNI {
		t.Errorf("it needs something of the host: %+v", got)
	}
}

func TestExamplePolicy(t *testing.T) {
	if _, err := policy.Load("docs/policy.yaml"); err != nil {
		t.Error(err)
	}
}
