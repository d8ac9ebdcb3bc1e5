package containerd

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"carrel/plan/state"
	"carrel/spec"
)

// groupRoot is where all distributions mount the kernel's control groups.
const groupRoot = "/sys/fs/cgroup"

// groupFile reads a file of the memory group of a container. The two versions of
// control groups have it at different paths.
func (d *Driver) groupFile(container, v1, v2 string, size int) ([]byte, error) {
	group := d.Namespace + "/" + container
	if unified() {
		return readOnce(groupRoot+"/"+group+"/"+v2, size)
	}
	return readOnce(groupRoot+"/memory/"+group+"/"+v1, size)
}

// How large files of the kernel are at most that have one line, a few, or many.
const (
	lineSize  = 64
	linesSize = 512
	pageSize  = 8 << 10
)

// readOnce reads a file of the kernel, which returns all of it at once. It is called
// several times for every container of an observation, and os.ReadFile takes longer: it
// adds the file to the poller and asks for its size.
func readOnce(path string, size int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := make([]byte, size)
	n, err := unix.Read(fd, text)
	return text[:max(n, 0)], err
}

// countsSwap reports whether the kernel can limit swap. Some older kernels of Debian
// can only with an option at boot, and there a container with such a limit cannot
// start.
func countsSwap(root string) bool {
	for _, files := range [][2]string{
		{"memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes"}, // version 1
		{"*/memory.max", "*/memory.swap.max"},                                  // version 2, whose root has neither
	} {
		memory, _ := filepath.Glob(filepath.Join(root, files[0])) // its only error is a bad pattern
		swap, _ := filepath.Glob(filepath.Join(root, files[1]))
		if len(memory) > 0 && len(swap) == 0 {
			return false
		}
	}
	return true
}

// ownGroups lets processes read their own control groups, in which the JVM, .NET and
// Go look for their limits. They see no others: with version 2 of control groups they
// get a namespace, with version 1 the runtime mounts only those of the container.
func ownGroups(root string) oci.SpecOpts {
	mount := oci.WithMounts([]specs.Mount{{
		Type: "cgroup", Source: "cgroup", Destination: groupRoot, Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
	}})
	if !isUnified(root) {
		return mount
	}
	return oci.Compose(mount, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}))
}

// isUnified reports whether a folder has version 2 of control groups.
func isUnified(root string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(root, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC
}

// measured adds to an instance its task, and what the kernel knows about that. The
// group of a task exists until the task is removed, so a stopped task has one too. What
// cannot be read stays zero.
func (d *Driver) measured(c state.Instance, task state.Task) state.Instance {
	if task.Status == state.TaskRunning || task.Status == state.TaskPaused {
		task.Netns = netnsOf(task.PID)
		task.Limits = d.otherLimits(c)
	}
	if task.Status != state.TaskNone {
		// memory.oom_control of version 1, memory.events of version 2.
		if text, err := d.groupFile(c.ID, "memory.oom_control", "memory.events", linesSize); err == nil {
			task.OOMKills = counter(text, "oom_kill")
		}
	}
	c.Task = task
	return c
}

// otherLimits are the limits that the kernel has for a container, when they are not
// those that were applied, or, of a container that carrel did not make, those that its
// OCI spec has.
func (d *Driver) otherLimits(c state.Instance) *spec.Limits {
	known := c.Applied
	if known == nil {
		known = c.Found
	}
	if known == nil {
		return nil
	}
	want := known.Resources.Limits
	now := kernelLimits(groupRoot, unified(), d.Namespace+"/"+c.ID, want)
	if now == want {
		return nil
	}
	return &now
}

// unified reports whether the host has version 2 of control groups.
var unified = sync.OnceValue(func() bool { return isUnified(groupRoot) })

// kernelLimits are the limits that the kernel has for a group. What cannot be read, and
// what the kernel has only rounded, counts as it is wanted.
func kernelLimits(root string, unified bool, group string, want spec.Limits) spec.Limits {
	now := want
	memory, pids := "/memory/"+group+"/memory.limit_in_bytes", "/pids/"+group+"/pids.max"
	if unified {
		memory, pids = "/"+group+"/memory.max", "/"+group+"/pids.max"
	}
	if n, ok := numberIn(root + memory); ok {
		now.Memory = spec.Bytes(n)
		if n == int64(want.Memory)/memoryPage*memoryPage {
			now.Memory = want.Memory
		}
	}
	if n, ok := numberIn(root + pids); ok {
		now.Pids = n
	}
	if n, ok := kernelCPU(root, unified, group); ok {
		now.CPU = n
	}
	return now
}

// kernelCPU is the CPU limit that the kernel has for a group.
func kernelCPU(root string, unified bool, group string) (spec.CPU, bool) {
	var quota, period int64
	if unified {
		text, err := readOnce(root+"/"+group+"/cpu.max", lineSize)
		words := bytes.Fields(text)
		if err != nil || len(words) != 2 {
			return 0, false
		}
		quota, period = number(words[0]), number(words[1])
	} else {
		path, ok := root+"/cpu/"+group, false
		if quota, ok = numberIn(path + "/cpu.cfs_quota_us"); !ok {
			return 0, false
		}
		if quota > 0 {
			period, _ = numberIn(path + "/cpu.cfs_period_us")
		}
	}
	if quota == 0 {
		return 0, true
	}
	return spec.CPU(quota * 1000 / max(period, 1)), period > 0
}

// memoryPage is what the kernel rounds memory down to.
var memoryPage = int64(os.Getpagesize())

// numberIn is the limit in a file of a group; 0 when it is none.
func numberIn(path string) (int64, bool) {
	text, err := readOnce(path, lineSize)
	if err != nil {
		return 0, false
	}
	return number(bytes.TrimSpace(text)), true
}

// number is a limit as the kernel writes it: no limit is max, -1, or more memory than
// there can be.
func number(word []byte) int64 {
	n, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/2 {
		return 0
	}
	return n
}

// netnsOf is the inode of the network namespace of a process.
func netnsOf(pid uint32) uint64 {
	var stat syscall.Stat_t
	if syscall.Stat("/proc/"+strconv.FormatUint(uint64(pid), 10)+"/ns/net", &stat) != nil {
		return 0
	}
	return stat.Ino
}

// usedMemory is the memory of a container's processes that the kernel cannot free
// without ending one of them; 0 when it cannot be read.
func (d *Driver) usedMemory(container string) spec.Bytes {
	text, err := d.groupFile(container, "memory.stat", "memory.stat", pageSize)
	if err != nil {
		return 0
	}
	return unreclaimable(text)
}

// roundUp rounds an amount up to whole MiB, for messages.
func roundUp(n spec.Bytes) spec.Bytes {
	const mebibyte = 1 << 20
	return (n + mebibyte - 1) / mebibyte * mebibyte
}

// unreclaimable adds up the keys of memory.stat that the kernel cannot free. Version
// 1 of control groups has the first two, version 2 all but the first. Swap does not
// help, because no task gets any.
func unreclaimable(stat []byte) spec.Bytes {
	var sum uint64
	for _, key := range []string{"rss", "shmem", "anon", "kernel_stack", "pagetables", "slab_unreclaimable"} {
		sum += counter(stat, key)
	}
	return spec.Bytes(sum)
}

// counter is the value of a key in a text of "key value" lines, 0 when it has no such
// key.
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
