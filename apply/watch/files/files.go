// Package files reports when spec files may have changed. It reads none of them.
package files

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher reports when spec files may have changed. It watches the folders that
// were read, and the folders and symlinks on the path to them: a folder may appear,
// disappear, or be replaced behind a symlink. Where the kernel does not report
// changes (NFS, or no inotify watches left), it polls.
type Watcher struct {
	Paths   []string // absolute: files and folders, which need not exist yet
	Changed func()   // called for each change, from the goroutine of Run
	Log     *slog.Logger
	Poll    time.Duration // the interval of polling

	follow chan []string // the folders that were read last; it has a place for one list
}

// New makes a Watcher for paths.
func New(paths []string, poll time.Duration, log *slog.Logger, changed func()) *Watcher {
	return &Watcher{Paths: paths, Changed: changed, Log: log, Poll: poll, follow: make(chan []string, 1)}
}

// Follow sets the folders that the specs were read from: they are watched from
// now on. One goroutine calls it.
func (f *Watcher) Follow(folders []string) {
	select {
	case <-f.follow: // an older list that Run did not take yet
	default:
	}
	f.follow <- folders
}

// watching is one run of a Watcher.
type watching struct {
	*Watcher
	kernel      *fsnotify.Watcher // nil when the kernel gives none
	unavailable string            // why it gives none
	onPath      map[string]bool   // the Paths, and the folders and symlinks that lead to them
	folders     map[string]bool   // folders in which every change counts
	inodes      map[string]uint64 // of watched folders: another inode is another folder of the same name
	pollReason  string            // why files are polled; "" when they are not
	lastPoll    uint64            // the fingerprint of the files
}

// Run reports changes until ctx ends.
func (f *Watcher) Run(ctx context.Context) {
	w := &watching{Watcher: f, inodes: map[string]uint64{}}
	kernel, err := fsnotify.NewWatcher()
	if err == nil {
		w.kernel = kernel
		defer kernel.Close()
	}
	w.unavailable = watchProblem(err)
	w.watch(nil)
	tick := time.NewTicker(f.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case folders := <-f.follow:
			w.watch(folders)
		case event, ok := <-w.events():
			if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
				delete(w.inodes, event.Name) // a new folder of this name may get the same inode
			}
			if ok && w.matters(event.Name) {
				f.Changed()
			}
		case err := <-w.errors():
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				f.Log.Warn("watching files", "error", err)
			}
			f.Changed()
		case <-tick.C:
			if w.pollReason != "" && w.poll() {
				f.Changed()
			}
		}
	}
}

func (w *watching) events() chan fsnotify.Event {
	if w.kernel == nil {
		return nil
	}
	return w.kernel.Events
}

func (w *watching) errors() chan error {
	if w.kernel == nil {
		return nil
	}
	return w.kernel.Errors
}

// matters reports whether a change at a path may change the specs. Hidden files
// do not matter, except for .carrelignore, which says what has no specs, and the
// symlinks (..data) that Kubernetes replaces.
func (w *watching) matters(path string) bool {
	if w.onPath[path] {
		return true
	}
	name := filepath.Base(path)
	return w.folders[filepath.Dir(path)] && (!strings.HasPrefix(name, ".") || strings.HasPrefix(name, "..") || name == ".carrelignore")
}

// watch watches these folders, and what leads to all paths. A folder that is newly
// watched may have changed just before: that counts as a change.
func (w *watching) watch(folders []string) {
	reason := w.unavailable
	w.onPath, w.folders = map[string]bool{}, map[string]bool{}
	for _, path := range w.Paths {
		w.addPath(path, 0)
	}
	for _, folder := range folders {
		w.folders[folder] = true
	}
	wanted, fresh := map[string]bool{}, false
	for path := range w.onPath {
		wanted[filepath.Dir(path)] = true
	}
	for folder := range w.folders {
		wanted[folder] = true
	}
	for folder := range wanted {
		isNew, err := w.add(folder)
		fresh = fresh || isNew
		if reason == "" {
			reason = watchProblem(err)
		}
		if reason == "" && w.folders[folder] {
			reason = remoteProblem(folder)
		}
	}
	w.drop(wanted)
	w.setPolling(reason)
	if fresh {
		w.Changed()
	}
}

// add has the kernel watch a folder, and reports whether it is newly watched.
func (w *watching) add(folder string) (fresh bool, err error) {
	info, err := os.Stat(folder)
	if err != nil || !info.IsDir() {
		delete(w.inodes, folder)
		return false, nil // the folder above reports when it appears
	}
	node := info.Sys().(*syscall.Stat_t).Ino
	fresh = w.inodes[folder] != node
	w.inodes[folder] = node
	if w.kernel == nil {
		return fresh, nil
	}
	err = w.kernel.Add(folder)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return fresh, err
}

func (w *watching) drop(wanted map[string]bool) {
	for folder := range w.inodes {
		if !wanted[folder] {
			delete(w.inodes, folder)
		}
	}
	if w.kernel == nil {
		return
	}
	for _, folder := range w.kernel.WatchList() {
		if !wanted[folder] {
			_ = w.kernel.Remove(folder) // it may have gone by itself
		}
	}
}

// maxLinks is how many symlinks a path may have, as in the kernel.
const maxLinks = 40

// addPath adds everything that leads to a path: each folder and symlink on it may
// be replaced.
func (w *watching) addPath(path string, links int) {
	at := "/"
	for step := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next := filepath.Join(at, step)
		w.onPath[next] = true
		if target, err := os.Readlink(next); err == nil && links < maxLinks {
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			w.addPath(target, links+1)
			if next, err = filepath.EvalSymlinks(next); err != nil {
				return
			}
		}
		at = next
	}
}

// setPolling begins or ends polling, and logs that. The reason is "" when the
// kernel reports all changes.
func (w *watching) setPolling(reason string) {
	switch {
	case reason != "" && w.pollReason == "":
		w.Log.Warn("files are polled", "reason", reason, "interval", w.Poll.String())
		w.poll() // changes from now on count
	case reason == "" && w.pollReason != "":
		w.Log.Info("files are not polled any more")
	}
	w.pollReason = reason
}

// watchProblem is why the kernel does not report changes of a folder.
func watchProblem(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.ENOSPC):
		return "the kernel watches no more folders for this user (raise the sysctl fs.inotify.max_user_watches)"
	case errors.Is(err, syscall.EMFILE):
		return "the kernel has no more watches for this user (raise the sysctl fs.inotify.max_user_instances)"
	}
	return fmt.Sprintf("the kernel does not watch files: %s", err)
}

// Filesystems that other machines change without this kernel noticing, by their
// type numbers in statfs(2).
var remote = map[int64]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB", 0x65735546: "FUSE", 0x01021997: "9p",
	0x794c7630: "overlay", 0x00c36400: "Ceph", 0x5346414f: "AFS", 0x73757245: "Coda", 0x01161970: "GFS2", 0x7461636f: "OCFS2",
}

// remoteProblem is why changes in a folder may not be reported: its filesystem.
func remoteProblem(folder string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return ""
	}
	if name, ok := remote[int64(uint32(fs.Type))]; ok {
		return fmt.Sprintf("%s is on %s, whose changes the kernel may not report", folder, name)
	}
	return ""
}

// poll reports whether something changed since the last poll.
func (w *watching) poll() bool {
	before := w.lastPoll
	w.lastPoll = w.fingerprint()
	return before != w.lastPoll
}

// fingerprint is a hash of names, inodes, modes, sizes and times: files are not read.
func (w *watching) fingerprint() uint64 {
	sum := fnv.New64a()
	for _, path := range slices.Sorted(maps.Keys(w.onPath)) {
		hashFile(sum, path, os.Stat)
	}
	for _, folder := range slices.Sorted(maps.Keys(w.folders)) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			fmt.Fprintln(sum, folder, err)
		}
		for _, entry := range entries {
			if path := filepath.Join(folder, entry.Name()); w.matters(path) {
				hashFile(sum, path, os.Lstat)
				hashFile(sum, path, os.Stat)
			}
		}
	}
	return sum.Sum64()
}

// hashFile adds what stat says of a file. Of a folder only its inode counts: its
// entries are added on their own.
func hashFile(sum io.Writer, path string, stat func(string) (os.FileInfo, error)) {
	info, err := stat(path)
	if err != nil {
		fmt.Fprintln(sum, path, err)
		return
	}
	node := info.Sys().(*syscall.Stat_t).Ino
	if info.IsDir() {
		fmt.Fprintln(sum, path, node)
		return
	}
	fmt.Fprintln(sum, path, node, info.Mode(), info.Size(), info.ModTime().UnixNano())
}
