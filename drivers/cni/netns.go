package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pin makes a network namespace and mounts it at path, where it stays until it is
// unpinned. A namespace that is there already is kept; a file that is no
// namespace is a leftover and is replaced.
func pin(path string) error {
	if inode(path) != 0 {
		return nil
	}
	if err := unpin(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	err = errors.Join(f.Close(), onThread(func() error { return mountNew(path) }))
	if err != nil {
		return errors.Join(fmt.Errorf("network namespace: %w", err), os.Remove(path))
	}
	return nil
}

// mountNew gives the calling thread a new namespace, whose loopback is up, and
// mounts it at path.
func mountNew(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	loopback, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(loopback)
	}
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(own, path, "none", unix.MS_BIND, ""); err != nil {
		return &fs.PathError{Op: "mount", Path: path, Err: err}
	}
	return nil
}

// linkIndex is the index of an interface of the host, 0 when there is none.
func linkIndex(name string) int {
	found, err := netlink.LinkByName(name)
	if err != nil {
		return 0
	}
	return found.Attrs().Index
}

// hostLinks are the indexes of the host's interfaces by name. Some may be missing
// when interfaces come and go meanwhile.
func hostLinks() (map[string]int, error) {
	found, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("interfaces of the host: %w", err)
	}
	links := make(map[string]int, len(found))
	for _, l := range found {
		links[l.Attrs().Name] = l.Attrs().Index
	}
	return links, nil
}

// unpin unmounts a namespace and removes its file. The namespace lives on while
// processes are in it.
func unpin(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // nothing is mounted there
		}
		if err != nil {
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
	return ifThere(os.Remove(path))
}

// ifThere drops the error of removing or opening what does not exist.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// inode is the number of the namespace that is pinned at path, 0 when none is.
func inode(path string) uint64 {
	var kind unix.Statfs_t
	if unix.Statfs(path, &kind) != nil || kind.Type != unix.NSFS_MAGIC {
		return 0
	}
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil {
		return 0
	}
	return stat.Ino
}

// addressesIn are the addresses of an interface inside a namespace. An interface
// that is gone or down has none.
func addressesIn(netns, name string) (all []string) {
	err := inNetns(netns, func() error {
		found, err := netlink.LinkByName(name)
		if err != nil || found.Attrs().RawFlags&unix.IFF_UP == 0 {
			return err
		}
		addresses, err := netlink.AddrList(found, netlink.FAMILY_ALL)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			err = nil // something else changed meanwhile: the list is good enough
		}
		for _, a := range addresses {
			all = append(all, a.IP.String())
		}
		return err
	})
	if err != nil {
		return nil
	}
	return all
}

// inNetns runs fn on a thread that is in a namespace.
func inNetns(path string, fn func() error) error {
	return onThread(func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own, which ends with fn: fn may leave it in
// another namespace. It is never the main thread, which cannot end, and whose
// namespaces /proc/self shows.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			done <- onThread(fn)
			return
		}
		done <- fn()
	}()
	return <-done
}

// share makes the mounts below a folder appear, and disappear, in other mount
// namespaces too. containerd may run in one of its own: without this it would not
// see a new pin, and its copy of an old one would keep the namespace. Most hosts
// share all mounts, and then nothing is done.
func share(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return err
	}
	nearest := ""
	shared := false
	for _, m := range mounts {
		above := m.Mountpoint == "/" || dir == m.Mountpoint || strings.HasPrefix(dir, m.Mountpoint+"/")
		if above && len(m.Mountpoint) >= len(nearest) {
			nearest = m.Mountpoint
			shared = slices.ContainsFunc(strings.Fields(m.Optional), func(o string) bool { return strings.HasPrefix(o, "shared:") })
		}
	}
	if shared {
		return nil
	}
	if nearest != dir {
		if err := unix.Mount(dir, dir, "none", unix.MS_BIND, ""); err != nil {
			return &fs.PathError{Op: "mount", Path: dir, Err: err}
		}
	}
	if err := unix.Mount("", dir, "none", unix.MS_SHARED, ""); err != nil {
		return &fs.PathError{Op: "share mounts", Path: dir, Err: err}
	}
	return nil
}
