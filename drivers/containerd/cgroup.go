package containerd

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"carrel/plan"
)

// groupRoot is where every distribution has the kernel's control groups.
const groupRoot = "/sys/fs/cgroup"

// groupFile reads a file of the memory group of a container. The two versions
// of control groups have different files, so the one that is there says which
// version it is.
func (d *Driver) groupFile(container, v1, v2 string) ([]byte, error) {
	group := filepath.Join(d.Namespace, container)
	text, err := os.ReadFile(filepath.Join(groupRoot, "memory", group, v1))
	if err != nil {
		text, err = os.ReadFile(filepath.Join(groupRoot, group, v2))
	}
	return text, err
}

// measured is a task with what the kernel says of it. Its group outlives its
// processes until the task is removed, so it is asked of a stopped one too. What
// cannot be read is left at zero.
func (d *Driver) measured(container string, task plan.Task) plan.Task {
	if task.Status == plan.TaskRunning || task.Status == plan.TaskPaused {
		task.Netns = netnsOf(task.PID)
	}
	if task.Status != plan.TaskNone {
		// memory.oom_control of version 1, memory.events of version 2.
		if text, err := d.groupFile(container, "memory.oom_control", "memory.events"); err == nil {
			task.OOMKills = counter(text, "oom_kill")
		}
	}
	return task
}

// netnsOf is the inode of the network namespace of a process.
func netnsOf(pid uint32) uint64 {
	var stat syscall.Stat_t
	if syscall.Stat("/proc/"+strconv.FormatUint(uint64(pid), 10)+"/ns/net", &stat) != nil {
		return 0
	}
	return stat.Ino
}

// counter is the value of a key in a file of "key value" lines; 0 when it is
// not there.
func counter(text []byte, key string) uint64 {
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if string(name) == key {
			n, _ := strconv.ParseUint(string(value), 10, 64)
			return n
		}
	}
	return 0
}
