package containerd_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"carrel/drivers/containerd"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

const mebi = 1 << 20

// group is a file of the control group of a container, of the version that the
// host has: its first number, -1 for no limit.
func (b *bench) group(container, v1, v2 string) int64 {
	b.t.Helper()
	group := filepath.Join(b.namespace, container)
	controller, _, _ := strings.Cut(v1, ".")
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, group, v1))
	if err != nil {
		text, err = os.ReadFile(filepath.Join("/sys/fs/cgroup", group, v2))
	}
	b.must(err)
	word := strings.Fields(string(text))[0]
	n, err := strconv.ParseInt(word, 10, 64)
	if word == "max" || n > math.MaxInt64/2 {
		return -1
	}
	b.must(err)
	return n
}

// versionOne reports whether the memory of containers is in control groups of
// version 1.
func versionOne() bool {
	_, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes")
	return err == nil
}

// wantLimits checks the limits that the kernel has for a container, and those
// that the container keeps for its next task.
func (b *bench) wantLimits(name string, want spec.Limits) {
	b.t.Helper()
	or := func(n int64) int64 {
		if n == 0 {
			return -1
		}
		return n
	}
	swap := b.group(name, "memory.memsw.limit_in_bytes", "memory.swap.max")
	if !versionOne() && want.Memory > 0 {
		swap += int64(want.Memory) // there it is counted apart
	}
	got := []int64{
		b.group(name, "memory.limit_in_bytes", "memory.max"), swap,
		b.group(name, "cpu.cfs_quota_us", "cpu.max"), b.group(name, "pids.max", "pids.max"),
	}
	expected := []int64{or(int64(want.Memory)), or(int64(want.Memory)), or(int64(want.CPU) * 100), or(want.Pids)}
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		b.t.Errorf("memory, memory and swap, cpu quota and pids are %v, want %v", got, expected)
	}
	container, err := b.raw.LoadContainer(b.t.Context(), name)
	b.must(err)
	oci, err := container.Spec(b.t.Context())
	b.must(err)
	kept, err := json.Marshal(oci.Linux.Resources)
	b.must(err)
	r := oci.Linux.Resources
	if fmt.Sprint(*r.Memory.Limit, *r.Memory.Swap, *r.CPU.Quota, *r.Pids.Limit) != strings.Trim(fmt.Sprint(expected), "[]") {
		b.t.Errorf("it keeps %s, want %v", kept, expected)
	}
}

func (b *bench) limit(name string, to spec.Limits) {
	b.t.Helper()
	b.must(b.UpdateResources(b.t.Context(), plan.UpdateResources{Container: name, To: to}))
	b.wantLimits(name, to)
}

func TestLimitsChangeWhileTheTaskRuns(t *testing.T) {
	b := shared(t)
	first := spec.Limits{Memory: 64 * mebi, CPU: 500, Pids: 24}
	b.create("limited", b.load(image(t, v1.Config{})), func(w *spec.Workspace) { w.Resources.Limits = first })
	b.start("limited")
	b.output("limited", "serving")
	pid := b.see("limited").Task.PID
	b.wantLimits("limited", first)
	narrow := func() {
		t.Helper()
		b.wantRefused("limited", "exited with 137", "/guest", "eat", "80")
		b.wantRefused("limited", "failed to create new OS thread", "/guest", "threads", "40")
	}
	narrow()

	b.limit("limited", spec.Limits{Memory: 128 * mebi, CPU: 1500, Pids: 100}) // all higher
	b.must(b.exec("limited", "/guest", "eat", "80"))
	b.must(b.exec("limited", "/guest", "threads", "40"))
	b.limit("limited", first) // all lower
	narrow()
	b.limit("limited", spec.Limits{Pids: 24}) // lifted
	b.must(b.exec("limited", "/guest", "eat", "160"))
	b.limit("limited", first) // and set anew
	narrow()
	b.limit("limited", first) // again

	if task := b.see("limited").Task; task.PID != pid || task.Status != state.TaskRunning || task.OOMKills != 3 {
		t.Errorf("after the changes the task is %+v, it was process %d", task, pid)
	}
	b.limit("limited", spec.Limits{})
	b.stop("limited", 0)
	b.start("limited")
	b.wantLimits("limited", spec.Limits{})
}

func TestMemoryInUseIsNotTakenAway(t *testing.T) {
	b := shared(t)
	was := spec.Limits{Memory: 64 * mebi, CPU: 500, Pids: 50}
	b.create("full", b.load(image(t, v1.Config{})), func(w *spec.Workspace) {
		w.Args, w.Resources.Limits = []string{"hold", "48"}, was
	})
	b.start("full")
	b.output("full", "serving")
	task := b.see("full").Task
	refused := func(to spec.Limits, want string) {
		t.Helper()
		err := b.UpdateResources(t.Context(), plan.UpdateResources{Container: "full", From: was, To: to})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %v, want %q", err, want)
		}
		b.wantLimits("full", was)
		if again := b.see("full").Task; again != task {
			t.Errorf("the task is %+v, it was %+v", again, task)
		}
	}
	refused(spec.Limits{Memory: 32 * mebi, CPU: 1000, Pids: 60}, "memory limit 32Mi is less than the ")
	if versionOne() { // refuses what version 2 makes room for
		stat, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/memory", b.namespace, "full", "memory.stat"))
		b.must(err)
		refused(spec.Limits{Memory: containerd.Held(stat) + 1<<12, Pids: 60}, "limits of the running task: unable to set memory limit to ")
	}
}

func TestLimitsOfATaskThatEnded(t *testing.T) {
	b := shared(t)
	b.create("ended", b.load(image(t, v1.Config{})), func(w *spec.Workspace) { w.Args = []string{"exit", "0"} })
	to := spec.Limits{Memory: 64 * mebi, Pids: 30}
	b.must(b.UpdateResources(t.Context(), plan.UpdateResources{Container: "ended", To: to})) // it has no task yet
	b.start("ended")
	if _, _, err := b.Exited(t.Context(), "ended"); err != nil {
		t.Fatal(err)
	}
	b.wantStatus("ended", state.TaskStopped)
	b.wantLimits("ended", to)
	to = spec.Limits{Memory: 96 * mebi, Pids: 40}
	b.must(b.UpdateResources(t.Context(), plan.UpdateResources{Container: "ended", To: to}))
	b.start("ended")
	b.wantLimits("ended", to)
}

// The kept spec changes in a step of its own, after the limits. Until then the
// next plan sees what it asked for as a difference, and asks again.
func TestLimitsThatChangedInTheTaskOnly(t *testing.T) {
	b := shared(t)
	was, to := spec.Limits{Memory: 64 * mebi, Pids: 30}, spec.Limits{Memory: 96 * mebi, Pids: 40}
	b.create("cut", b.load(image(t, v1.Config{})), func(w *spec.Workspace) { w.Resources.Limits = was })
	b.start("cut")
	container, err := b.raw.LoadContainer(t.Context(), "cut")
	b.must(err)
	task, err := container.Task(t.Context(), nil)
	b.must(err)
	b.must(task.Update(t.Context(), client.WithResources(containerd.Resources(to, true)))) // and killed here
	if kept := b.see("cut").Applied.Resources.Limits; kept != was {
		t.Errorf("the limits that the next plan sees are %+v", kept)
	}
	b.limit("cut", to)
	if kept := b.see("cut").Applied.Resources.Limits; kept != was {
		t.Errorf("the limits were kept before the step that keeps them: %+v", kept)
	}
}

// In version 2 of control groups, a namespace hides the groups of others.
func TestControlGroupsInContainers(t *testing.T) {
	v2 := t.TempDir()
	if err := unix.Mount("cgroup2", v2, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(v2, 0); err != nil {
			t.Error(err)
		}
	})
	for _, test := range []struct{ root, want string }{{t.TempDir(), "[]"}, {v2, "[{cgroup }]"}} {
		var s oci.Spec
		if err := containerd.OwnGroups(test.root)(t.Context(), nil, nil, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Mounts) != 1 || s.Mounts[0].Destination != "/sys/fs/cgroup" || !slices.Contains(s.Mounts[0].Options, "ro") {
			t.Errorf("%s: the mounts are %+v", test.root, s.Mounts)
		}
		var namespaces []specs.LinuxNamespace
		if s.Linux != nil {
			namespaces = s.Linux.Namespaces
		}
		if got := fmt.Sprint(namespaces); got != test.want {
			t.Errorf("%s: the namespaces are %s, want %s", test.root, got, test.want)
		}
	}
}

func TestResourcesSayEveryLimit(t *testing.T) {
	for _, test := range []struct {
		limits spec.Limits
		swap   bool
		want   string
	}{
		{spec.Limits{}, true, `{"memory":{"limit":-1,"swap":-1},"cpu":{"quota":-1,"period":100000},"pids":{"limit":-1}}`},
		{spec.Limits{CPU: 1500, Memory: 4096, Pids: 7}, true, `{"memory":{"limit":4096,"swap":4096},"cpu":{"quota":150000,"period":100000},"pids":{"limit":7}}`},
		{spec.Limits{Memory: 4096}, false, `{"memory":{"limit":4096},"cpu":{"quota":-1,"period":100000},"pids":{"limit":-1}}`},
	} {
		got, err := json.Marshal(containerd.Resources(test.limits, test.swap))
		if string(got) != test.want || err != nil {
			t.Errorf("%+v are %s, %v, want %s", test.limits, got, err, test.want)
		}
	}
}

func TestBothVersionsOfControlGroupsAreRead(t *testing.T) {
	for _, test := range []struct {
		files []string
		want  bool
	}{
		{[]string{"memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes"}, true},
		{[]string{"memory/memory.limit_in_bytes"}, false},
		{[]string{"system.slice/memory.max", "system.slice/memory.swap.max"}, true},
		{[]string{"system.slice/memory.max"}, false},
		{nil, true},
	} {
		root := t.TempDir()
		for _, file := range test.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := containerd.CountsSwap(root); got != test.want {
			t.Errorf("with %q swap is counted: %v", test.files, got)
		}
	}
	if n := containerd.Held([]byte("cache 100\nrss 7\nshmem 3\ntotal_rss 50\n")); n != 10 {
		t.Errorf("of version 1, %d is held", n)
	}
	if n := containerd.Held([]byte("anon 7\nfile 100\nkernel 40\nkernel_stack 1\npagetables 2\nshmem 3\nslab_unreclaimable 4\n")); n != 17 {
		t.Errorf("of version 2, %d is held", n)
	}
	for _, text := range []string{"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "low 0\nmax 9\noom 6\noom_kill 5\noom_group_kill 0\n"} {
		if n := containerd.Counter([]byte(text), "oom_kill"); n != 5 {
			t.Errorf("of %q, the kills are %d", text, n)
		}
	}
}
