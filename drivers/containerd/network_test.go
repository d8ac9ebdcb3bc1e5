package containerd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// attach makes what the network of a workspace gives to its container.
func (b *bench) attach(workspace string) (netns string) {
	b.t.Helper()
	for file, text := range map[string]string{
		"resolv/" + workspace: "nameserver 192.0.2.53\n",
		"hosts/s":             "192.0.2.7 neighbour\n",
	} {
		path := filepath.Join(b.dir, "run", file)
		b.must(os.MkdirAll(filepath.Dir(path), 0o700))
		b.must(os.WriteFile(path, []byte(text), 0o644))
	}
	netns = filepath.Join(b.dir, "run", "netns", workspace)
	drivertest.Netns(b.t, netns)
	return netns
}

func mode(mode spec.NetworkMode) func(*spec.Workspace) {
	return func(w *spec.Workspace) { w.Network.Mode = mode }
}

func TestPinnedNetworkIsJoined(t *testing.T) {
	b := shared(t)
	netns := b.attach("joined")
	b.create("joined", b.load(image(t, v1.Config{User: "7"})), mode(spec.NetworkCNI))
	b.start("joined")
	b.output("joined", "host joined\n")
	if seen, want := b.see("joined").Task.Netns, inode(t, netns); seen != want {
		t.Errorf("its network namespace is %d, want %d", seen, want)
	}
	for file, want := range map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.53\n", "/etc/hosts": "192.0.2.7 neighbour\n"} {
		if text, err := b.outputOf("joined", "/guest", "read", file); text != want || err != nil {
			t.Errorf("%s is %q, %v", file, text, err)
		}
		b.wantRefused("joined", "read-only file system", "/guest", "write", file)
	}

	b.foreign("like", "joined")
	if c := b.see("like"); c.Found == nil || c.Found.Network.Mode != spec.NetworkCNI || len(c.Found.Mounts) != 0 {
		t.Errorf("one that joined a namespace of ours is found as %+v", c.Found)
	}
}

// wantRefused runs a command beside a task that must fail, saying why.
func (b *bench) wantRefused(name, why string, args ...string) {
	b.t.Helper()
	if err := b.exec(name, args...); err == nil || !strings.Contains(err.Error(), why) {
		b.t.Errorf("%s: %v, want %q", strings.Join(args, " "), err, why)
	}
}

func TestStartWithoutItsNetworkSaysWhatToDo(t *testing.T) {
	b := shared(t)
	netns := b.attach("cut")
	b.create("cut", b.load(image(t, v1.Config{})), mode(spec.NetworkCNI))
	want := func(want string) {
		t.Helper()
		err := b.StartTask(t.Context(), plan.StartTask{Workspace: "cut", Container: "cut"})
		if err == nil || err.Error() != want {
			t.Errorf("the start says %v, want %s", err, want)
		}
		b.wantStatus("cut", state.TaskNone)
	}
	drivertest.Unpin(t, netns)
	want("network namespace " + netns + " is gone (apply again)")
	b.must(os.Remove(netns))
	want("network namespace " + netns + " is gone (apply again)")

	drivertest.Netns(t, netns)
	hosts := filepath.Join(b.dir, "run", "hosts", "s")
	b.must(os.Remove(hosts))
	want(hosts + " is gone (apply again)")
	b.must(os.WriteFile(hosts, nil, 0o644))
	b.start("cut")
}

func TestOtherNetworkModes(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	b.create("hosted", name, mode(spec.NetworkHost))
	b.start("hosted")
	b.output("hosted", "serving")
	// Not of this process: its first thread may have been in the namespace of a test.
	if seen := b.see("hosted").Task.Netns; seen != inode(t, fmt.Sprintf("/proc/%d/ns/net", os.Getppid())) {
		t.Errorf("in mode host the network namespace is %d", seen)
	}
	for _, file := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		want, err := os.ReadFile(file)
		if err != nil {
			continue // a host without it gives none
		}
		if text, err := b.outputOf("hosted", "/guest", "read", file); text != string(want) || err != nil {
			t.Errorf("in mode host %s is %q, %v", file, text, err)
		}
	}

	if seen := b.see("hosted"); seen.Outdated != "" {
		t.Errorf("%s is outdated", seen.Outdated)
	}
	// The host's own files are not the test's to replace: without its mount, the
	// process has another file.
	if _, err := os.Stat("/etc/hosts"); err == nil {
		b.must(unmountIn(b.see("hosted").Task.PID, "/etc/hosts"))
		if seen := b.see("hosted"); seen.Outdated != "/etc/hosts" {
			t.Errorf("outdated is %q", seen.Outdated)
		}
	}

	b.create("alone", name, mode(spec.NetworkNone))
	b.start("alone")
	if text := b.output("alone", "serving"); !strings.Contains(text, "host alone\n") || strings.Contains(text, " /etc/hosts ") {
		t.Errorf("in mode none the output is\n%s", text)
	}
}

// unmountIn unmounts a path in the mount namespace of a process.
func unmountIn(pid uint32, path string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with this goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err == nil {
			defer ns.Close()
			err = unix.Unshare(unix.CLONE_FS)
		}
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err == nil {
			err = unix.Unmount(path, unix.MNT_DETACH)
		}
		done <- err
	}()
	return <-done
}

func TestMountOfTheSpecCountsMoreThanTheNetworks(t *testing.T) {
	b := shared(t)
	b.attach("own")
	hosts := filepath.Join(b.dir, "hosts")
	b.must(os.WriteFile(hosts, []byte("192.0.2.8 mine\n"), 0o644))
	b.create("own", b.load(image(t, v1.Config{})), func(w *spec.Workspace) {
		w.Network.Mode = spec.NetworkCNI
		w.Mounts = []spec.Mount{{Source: hosts, Target: "/etc/hosts"}}
	})
	b.start("own")
	if text, err := b.outputOf("own", "/guest", "read", "/etc/hosts"); text != "192.0.2.8 mine\n" || err != nil {
		t.Errorf("/etc/hosts is %q, %v", text, err)
	}
}
