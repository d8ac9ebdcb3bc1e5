package containerd_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"carrel/drivers/containerd"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestLimitsOfBothVersionsOfControlGroups(t *testing.T) {
	want := spec.Limits{CPU: 500, Memory: 100_000_000, Pids: 7}
	one := func(memory, quota, period, pids string) map[string]string {
		return map[string]string{
			"memory/n/c/memory.limit_in_bytes": memory, "cpu/n/c/cpu.cfs_quota_us": quota, "cpu/n/c/cpu.cfs_period_us": period, "pids/n/c/pids.max": pids,
		}
	}
	two := func(memory, cpu, pids string) map[string]string {
		return map[string]string{"n/c/memory.max": memory, "n/c/cpu.max": cpu, "n/c/pids.max": pids}
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		two   bool
		want  spec.Limits
	}{
		{"as wanted, and rounded to pages", one("99999744\n", "50000\n", "100000\n", "7\n"), false, want},
		{"none", one("9223372036854771712\n", "-1\n", "100000\n", "max\n"), false, spec.Limits{}},
		{"others", one("4096\n", "20000\n", "10000\n", "8\n"), false, spec.Limits{CPU: 2000, Memory: 4096, Pids: 8}},
		{"as wanted, version 2", two("99999744\n", "50000 100000\n", "7\n"), true, want},
		{"none, version 2", two("max\n", "max 100000\n", "max\n"), true, spec.Limits{}},
		{"others, version 2", two("4096\n", "20000 10000\n", "8\n"), true, spec.Limits{CPU: 2000, Memory: 4096, Pids: 8}},
		{"no such group", nil, false, want},
		{"no such group, version 2", nil, true, want},
		{"a controller that is missing", map[string]string{"pids/n/c/pids.max": "8\n"}, false, spec.Limits{CPU: 500, Memory: 100_000_000, Pids: 8}},
	} {
		root := t.TempDir()
		for file, text := range test.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := containerd.KernelLimits(root, test.two, "n/c", want); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestDifferencesOfOCISpecs(t *testing.T) {
	made := `{"ociVersion":"1.2.0","process":{"args":["a"],"env":["PATH=/","A=1","GONE=x"],"cwd":"/"},
		"mounts":[{"destination":"/data","type":"bind","source":"/v","options":["rbind","rw"]},{"destination":"/m","source":"/s"}],
		"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"}],"resources":{"memory":{"limit":4096}},"seccomp":{}}}`
	now := `{"ociVersion":"1.2.0","process":{"cwd":"/","args":["a","b"],"env":["A=2","PATH=/","NEW=secret","NEW=twice"],"terminal":true},
		"mounts":[{"destination":"/data","type":"bind","source":"/w","options":["rbind","rw"]},{"destination":"/m","source":"/s"}],
		"linux":{"namespaces":[{"type":"pid"}],"resources":{"memory":{"limit":8192}}}}`
	got, err := containerd.Differences([]byte(made), []byte(now))
	if err != nil {
		t.Fatal(err)
	}
	want := []state.Drift{
		{Path: "oci.linux.namespaces.network", Made: `{"path":"/n","type":"network"}`},
		{Path: "oci.linux.resources.memory.limit", Made: "4096", Now: "8192"},
		{Path: "oci.mounts./data", Made: "/v [rbind rw]", Now: "/w [rbind rw]"},
		{Path: "oci.process.args", Made: `["a"]`, Now: `["a","b"]`},
		{Path: "oci.process.env.A", Made: "(a value)", Now: "(another value)"},
		{Path: "oci.process.env.GONE", Made: "(a value)"},
		{Path: "oci.process.env.NEW", Now: "(a value)"},
		{Path: "oci.process.env.NEW (again)", Now: "(a value)"},
		{Path: "oci.process.terminal", Now: "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := containerd.Differences([]byte(made), []byte("{")); err != nil || len(got) != 1 {
		t.Errorf("of a text that is none: %v, %v", got, err)
	}
}

// change changes a container as somebody else would.
func (b *bench) change(name string, how func(c *containers.Container)) {
	b.t.Helper()
	container, err := b.raw.LoadContainer(b.t.Context(), name)
	b.must(err)
	b.must(container.Update(b.t.Context(), func(_ context.Context, _ *client.Client, c *containers.Container) error {
		how(c)
		return nil
	}))
}

// rewrite changes a value in the process of the OCI spec of a container.
func rewrite(c *containers.Container, key string, value any) {
	var tree map[string]any
	if err := json.Unmarshal(c.Spec.GetValue(), &tree); err != nil {
		panic(err)
	}
	tree["process"].(map[string]any)[key] = value
	text, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	c.Spec = &anypb.Any{TypeUrl: c.Spec.GetTypeUrl(), Value: text}
}

func TestWhatWasChangedOnTheHostIsSeen(t *testing.T) {
	b := shared(t)
	b.create("bot", b.load(image(t, v1.Config{})), func(w *spec.Workspace) { w.Labels = map[string]string{"team": "a"} })
	b.start("bot")
	if c := b.see("bot"); len(c.Drift) != 0 || c.Task.Limits != nil || c.Task.Drifted {
		t.Fatalf("of a new container, %+v was changed, %+v", c.Drift, c.Task)
	}
	b.change("bot", func(c *containers.Container) {
		c.Labels = map[string]string{"other": "tool"}
		rewrite(c, "cwd", "/data")
	})
	c, volume := b.see("bot"), filepath.Join(b.dir, "volumes", "bot")
	want := []state.Drift{
		{Path: "labels.carrel/volume", Made: volume, Label: true},
		{Path: "labels.carrel/workspace", Made: "bot", Label: true},
		{Path: "oci.process.cwd", Made: "/", Now: "/data"},
	}
	if diff := cmp.Diff(want, c.Drift); diff != "" || c.Task.Drifted || c.Volume != volume {
		t.Errorf("changed (-want +got):\n%s\nstarted with it: %v, volume %s", diff, c.Task.Drifted, c.Volume)
	}
	b.stop("bot", 0)
	b.start("bot")
	if c := b.see("bot"); !c.Task.Drifted {
		t.Error("it is not seen that the task was started with what was changed")
	}
	b.must(b.RestoreDescription(t.Context(), plan.RestoreDescription{Container: "bot"}))
	b.must(b.RestoreDescription(t.Context(), plan.RestoreDescription{Container: "bot"}))
	b.must(b.UpdateLabels(t.Context(), plan.UpdateLabels{Container: "bot", Set: "s", Host: "h", Spec: *c.Applied}))
	c = b.see("bot")
	if diff := cmp.Diff(map[string]string{"team": "a", "other": "tool"}, c.Labels); diff != "" || len(c.Drift) != 0 || c.Workspace != "bot" || c.Set != "s" {
		t.Errorf("put right, it is %+v; labels (-want +got):\n%s", c, diff)
	}
}

func TestAContainerOfAnEarlierVersionHasNotChanged(t *testing.T) {
	b := shared(t)
	b.create("old", b.load(image(t, v1.Config{})), nil)
	b.change("old", func(c *containers.Container) {
		c.Extensions["carrel/made"] = &anypb.Any{TypeUrl: "carrel/made"} // containerd keeps one that is left out
		rewrite(c, "cwd", "/data")
	})
	if c := b.see("old"); len(c.Drift) != 0 || c.Unreadable != "" {
		t.Errorf("it is %+v", c)
	}
	b.must(b.UpdateResources(t.Context(), plan.UpdateResources{Container: "old", To: spec.Limits{Pids: 9}}))
	if c := b.see("old"); len(c.Drift) != 0 || c.Unreadable != "" {
		t.Errorf("with other limits it is %+v", c)
	}
	if err := b.RestoreDescription(t.Context(), plan.RestoreDescription{Container: "old"}); err == nil {
		t.Error("what it was made with was restored, and nobody knows that")
	}
}
