package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
)

// killShims ends the shims of a container that has no task. A shim may hang when its
// client was killed while it made a task (observed with containerd 2.4). Every
// further attempt then gets that same shim, by the name of its socket.
func (d *Driver) killShims(container string) error {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, command := range commands {
		text, err := os.ReadFile(command)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return fmt.Errorf("find the shim of %s: %w", container, err)
		}
		if !d.isShim(strings.Split(string(text), "\x00"), container) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(command)))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end the shim of %s, process %d: %w", container, pid, err)
		}
	}
	return nil
}

// removeBundle removes the folder of a task that containerd no longer knows. When a
// client is killed while it makes a task, containerd (2.4, as observed) may clean up
// twice at the same time, and the folder stays. Then no task can be made with that
// name. Containerd removes such folders itself, but only when it starts. Only the
// error says where the folder is.
func (d *Driver) removeBundle(container string, refused error) error {
	tail := filepath.Join("io.containerd.runtime.v2.task", d.Namespace, container)
	_, path, _ := strings.Cut(refused.Error(), "mkdir ")
	path, _, exists := strings.Cut(path, ": "+syscall.EEXIST.Error())
	if !exists || !filepath.IsAbs(path) || !strings.HasSuffix(path, "/"+tail) {
		return nil
	}
	if err := d.killShims(container); err != nil {
		return err
	}
	// A removal that was interrupted leaves the same name with a dot before it.
	for _, folder := range []string{filepath.Join(filepath.Dir(path), "."+container), path} {
		if err := mount.UnmountRecursive(filepath.Join(folder, "rootfs"), 0); err != nil {
			return fmt.Errorf("what is left of the task of %s: %w", container, err)
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("what is left of the task of %s: %w", container, err)
		}
	}
	return nil
}

// isShim reports whether a command line is that of the shim of a container, of this
// namespace and this containerd.
func (d *Driver) isShim(args []string, container string) bool {
	has := func(flag, value string) bool {
		i := slices.Index(args, flag)
		return i >= 0 && i+1 < len(args) && args[i+1] == value
	}
	return filepath.Base(args[0]) == "containerd-shim-runc-v2" &&
		has("-namespace", d.Namespace) && has("-id", container) && has("-address", d.Address)
}
