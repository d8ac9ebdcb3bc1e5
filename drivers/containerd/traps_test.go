package containerd_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestHalfMadeTaskIsMadeAnew(t *testing.T) {
	b := shared(t)
	b.create("half", b.load(image(t, v1.Config{})), nil)
	container, err := b.raw.LoadContainer(t.Context(), "half")
	b.must(err)
	task, err := container.NewTask(t.Context(), cio.LogFile(filepath.Join(b.dir, "raw.log")))
	b.must(err)
	b.wantStatus("half", state.TaskCreated)
	b.start("half")
	b.wantStatus("half", state.TaskRunning)
	if again := b.see("half").Task.PID; again == task.Pid() {
		t.Error("the half-made task was used")
	}
	b.output("half", "serving")
}

// TestForgottenTaskFolderIsRemoved leaves what containerd leaves when two of its
// own cleanings meet: the folder of a task, and one whose removal broke off.
func TestForgottenTaskFolderIsRemoved(t *testing.T) {
	b := shared(t)
	b.create("forgotten", b.load(image(t, v1.Config{})), nil)
	tasks := filepath.Join(filepath.Dir(b.server.Address), "state", "io.containerd.runtime.v2.task", b.namespace)
	for _, folder := range []string{"forgotten/rootfs", ".forgotten/rootfs/data"} {
		b.must(os.MkdirAll(filepath.Join(tasks, folder), 0o700))
	}
	b.start("forgotten")
	b.wantStatus("forgotten", state.TaskRunning)
	b.stop("forgotten", 0)
	for _, folder := range []string{"forgotten", ".forgotten"} {
		if _, err := os.Lstat(filepath.Join(tasks, folder)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", folder, err)
		}
	}
}

func TestOrphanedSnapshotIsReplaced(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	_, err := b.raw.SnapshotService("overlayfs").Prepare(t.Context(), "left", "")
	b.must(err)
	b.create("left", name, nil)
	b.start("left")
	b.output("left", "serving")
}

func TestDaemonKilledWhileTasksRun(t *testing.T) {
	b := newBench(t, drivertest.NewContainerd(t))
	b.create("survivor", b.load(image(t, v1.Config{})), nil)
	b.start("survivor")
	pid := b.see("survivor").Task.PID
	b.must(b.server.Kill())
	if _, err := b.Containers(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a daemon that is gone: the error is %v", err)
	}
	b.must(b.server.Start())
	b.eventually("containerd answers again", func() bool {
		_, err := b.Containers(t.Context())
		return err == nil
	})
	if again := b.see("survivor").Task; again.PID != pid || again.Status != state.TaskRunning {
		t.Errorf("after the restart the task is %+v, it was process %d", again, pid)
	}
	b.output("survivor", "serving")
	b.stop("survivor", 10*time.Second)
	b.output("survivor", "got terminated")
}

func TestTaskThatEndedWhileTheDaemonWasDown(t *testing.T) {
	b := newBench(t, drivertest.NewContainerd(t))
	b.create("gone", b.load(image(t, v1.Config{})), nil)
	b.start("gone")
	pid := b.see("gone").Task.PID
	b.must(b.server.Kill())
	b.must(syscall.Kill(int(pid), syscall.SIGKILL))
	b.must(b.server.Start())
	b.eventually("the task has ended", func() bool {
		all, err := b.Containers(t.Context())
		return err == nil && !all[0].Task.Alive()
	})
	b.start("gone")
	b.wantStatus("gone", state.TaskRunning)
}

func TestShimKilled(t *testing.T) {
	b := shared(t)
	b.create("shimless", b.load(image(t, v1.Config{})), nil)
	b.start("shimless")
	pid := b.see("shimless").Task.PID
	b.must(syscall.Kill(parent(t, pid), syscall.SIGKILL))
	b.eventually("the task has ended", func() bool { return !b.see("shimless").Task.Alive() })
	b.start("shimless")
	if again := b.see("shimless").Task; again.Status != state.TaskRunning || again.PID == pid {
		t.Errorf("after the start the task is %+v", again)
	}
}

func TestFrozenShimIsNotTakenForGone(t *testing.T) {
	b := shared(t)
	b.create("frozen", b.load(image(t, v1.Config{})), nil)
	b.start("frozen")
	shim := parent(t, b.see("frozen").Task.PID)
	b.must(syscall.Kill(shim, syscall.SIGSTOP))
	defer syscall.Kill(shim, syscall.SIGCONT)
	if task := b.see("frozen").Task; !task.Alive() {
		t.Errorf("a task whose shim is frozen is observed as %+v", task)
	}
	if err := b.StartTask(t.Context(), plan.StartTask{Workspace: "frozen", Container: "frozen"}); err == nil {
		t.Error("a second task was started beside a frozen one")
	}
	b.must(syscall.Kill(shim, syscall.SIGCONT))
	b.eventually("the task is observed again", func() bool { return b.see("frozen").Task.Status == state.TaskRunning })
}

// parent is the parent of a process: of a task's, its shim.
func parent(t *testing.T, pid uint32) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil || ppid <= 1 {
		t.Fatalf("parent of %d is %d, %v", pid, ppid, err)
	}
	return ppid
}

func TestForeignContainerIsFound(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{Env: []string{"PATH=/", "A=B"}}))
	w := func(w *spec.Workspace) {
		w.Args = []string{"serve", "more", "$$(X)", "$$$$"}
		w.Env = []spec.EnvVar{{Name: "X", Value: "Y"}}
		w.Mounts = []spec.Mount{{Source: b.dir, Target: "/host", ReadOnly: true}}
	}
	b.create("ours", name, w)
	b.foreign("stranger", "ours")
	c := b.see("stranger")
	if c.Workspace != "" || c.Applied != nil || c.Found == nil {
		t.Fatalf("a foreign container is observed as %+v", c)
	}
	want := spec.Default()
	want.Name, want.Image, want.Network.Mode = "stranger", name, spec.NetworkNone
	w(&want)
	if diff := diffSpecs(want, *c.Found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	b.must(b.AdoptContainer(t.Context(), plan.AdoptContainer{Container: "stranger", Set: "s", Host: "h", Spec: *c.Found}))
	if c := b.see("stranger"); c.Workspace != "stranger" || c.Applied == nil {
		t.Errorf("after its adoption it is observed as %+v", c)
	}
}

func TestNewerKeptSpecAffectsOnlyItsContainer(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	b.create("old", name, nil)
	b.create("new", name, nil)
	container, err := b.raw.LoadContainer(t.Context(), "new")
	b.must(err)
	b.must(container.Update(t.Context(), fromTheFuture))
	if c := b.see("new"); !strings.Contains(c.Unreadable, "newer") {
		t.Errorf("Unreadable is %q", c.Unreadable)
	}
	if c := b.see("old"); c.Unreadable != "" || c.Applied == nil {
		t.Errorf("the other one is observed as %+v", c)
	}
}
