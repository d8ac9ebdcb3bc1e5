package containerd_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/plan/state"
	"carrel/spec"
)

func smallMemory(args ...string) func(*spec.Workspace) {
	return func(w *spec.Workspace) {
		w.Args = args
		w.Resources.Limits.Memory = 32 << 20
	}
}

func TestKillsForWantOfMemoryAreCounted(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))

	b.create("greedy", name, smallMemory("eat", "64"))
	b.start("greedy")
	if code, exited, err := b.Exited(t.Context(), "greedy"); code != 137 || !exited || err != nil {
		t.Errorf("its exit is %d, %v, %v", code, exited, err)
	}
	if task := b.see("greedy").Task; task.Status != state.TaskStopped || task.ExitCode != 137 || task.OOMKills != 1 {
		t.Errorf("a task that was killed for want of memory is observed as %+v", task)
	}

	b.create("nurse", name, smallMemory("nurse", "64"))
	b.start("nurse")
	b.output("nurse", "child: signal: killed")
	b.output("nurse", "serving")
	if task := b.see("nurse").Task; task.Status != state.TaskRunning || task.OOMKills != 1 {
		t.Errorf("a task of which a child was killed is observed as %+v", task)
	}

	b.create("killed", name, smallMemory())
	b.start("killed")
	b.must(syscall.Kill(int(b.see("killed").Task.PID), syscall.SIGKILL))
	b.eventually("it is stopped", func() bool { return b.see("killed").Task.Status == state.TaskStopped })
	if task := b.see("killed").Task; task.ExitCode != 137 || task.OOMKills != 0 {
		t.Errorf("a task that a person killed is observed as %+v", task)
	}

	b.stop("greedy", 0)
	if task := b.see("greedy").Task; task != (state.Task{}) {
		t.Errorf("after its removal the task is observed as %+v", task)
	}
}

func TestNetworkNamespaceOfATaskIsSeen(t *testing.T) {
	b := shared(t)
	b.create("apart", b.load(image(t, v1.Config{})), nil)
	b.start("apart")
	task := b.see("apart").Task
	if want := inode(t, "/proc/"+strconv.Itoa(int(task.PID))+"/ns/net"); task.Netns != want || want == 0 {
		t.Errorf("its network namespace is %d, want %d", task.Netns, want)
	}
	if task.Netns == inode(t, "/proc/self/ns/net") {
		t.Error("it is in the host's network namespace")
	}
	b.stop("apart", 0)
	if task := b.see("apart").Task; task.Netns != 0 {
		t.Errorf("after its end the task is observed as %+v", task)
	}
}

// inode is that of what a path leads to.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}
