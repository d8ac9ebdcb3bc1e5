package carrel_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

func TestExamplePolicy(t *testing.T) {
	if _, err := policy.Load("docs/policy.yaml"); err != nil {
		t.Error(err)
	}
}
