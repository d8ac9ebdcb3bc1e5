package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// pin makes a network namespace and keeps it at path: one that is there lives
// on, and a file that is none is a leftover.
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

// mountNew gives the calling thread a new namespace and mounts it at path.
func mountNew(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(own, path, "none", unix.MS_BIND, ""); err != nil {
		return &fs.PathError{Op: "mount", Path: path, Err: err}
	}
	return nil
}

// loopbackUp saves running a plugin for it.
func loopbackUp() error {
	return withLink("lo", func(fd int, request *unix.Ifreq) error {
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
			return err
		}
		request.SetUint16(request.Uint16() | unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
	})
}

// linkIndex is the number of an interface by its name, 0 when there is none.
func linkIndex(name string) (index int) {
	_ = withLink(name, func(fd int, request *unix.Ifreq) error {
		err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
		if err == nil {
			index = int(request.Uint32())
		}
		return err
	})
	return index
}

func withLink(name string, fn func(fd int, request *unix.Ifreq) error) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(fn(fd, request), unix.Close(fd))
}

// unpin ends the hold on a namespace. Processes in it keep it.
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
	return gone(os.Remove(path))
}

// gone takes an error of removing: what is gone already is removed.
func gone(err error) error {
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

// addressesIn are the addresses of an interface inside a namespace. An
// interface that is gone or down has none.
func addressesIn(netns, link string) (all []string) {
	err := onThread(func() error {
		fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		found, err := net.InterfaceByName(link)
		if err != nil || found.Flags&net.FlagUp == 0 {
			return err
		}
		addresses, err := found.Addrs()
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok {
				all = append(all, ip.IP.String())
			}
		}
		return err
	})
	if err != nil {
		return nil
	}
	return all
}

// onThread runs fn on a thread that ends with it, because it may leave the
// thread in another namespace. The main thread cannot end, and it is what
// /proc/self shows: when it is the one, another is taken.
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

// share makes mounts below a folder be seen, and seen to go away, in mount
// namespaces made from this one: containerd's may be another, and a copy of a
// pin would hold its namespace. Most hosts share everything and need nothing.
func share(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(dir))
	if err != nil {
		return err
	}
	over := ""
	shared := false
	for _, m := range mounts {
		below := m.Mountpoint == "/" || dir == m.Mountpoint || strings.HasPrefix(dir, m.Mountpoint+"/")
		if below && len(m.Mountpoint) >= len(over) {
			over = m.Mountpoint
			shared = slices.ContainsFunc(strings.Fields(m.Optional), func(o string) bool { return strings.HasPrefix(o, "shared:") })
		}
	}
	if shared {
		return nil
	}
	if over != dir {
		if err := unix.Mount(dir, dir, "none", unix.MS_BIND, ""); err != nil {
			return &fs.PathError{Op: "mount", Path: dir, Err: err}
		}
	}
	if err := unix.Mount("", dir, "none", unix.MS_SHARED, ""); err != nil {
		return &fs.PathError{Op: "share mounts", Path: dir, Err: err}
	}
	return nil
}
