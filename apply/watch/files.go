package watch

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

// Files tells when files of specs may have changed: it watches the folders that
// were read, and the way to them, for a folder may come, go, or be another one
// behind a symlink. Where the kernel cannot tell, it looks by itself.
type Files struct {
	Paths   []string // absolute: files and folders that may not be there yet
	Changed func()   // called for each change, from the goroutine of Run
	Log     *slog.Logger
	Poll    time.Duration // between two looks where the kernel cannot tell

	follow chan []string
}

// NewFiles makes what watches paths.
func NewFiles(paths []string, poll time.Duration, log *slog.Logger, changed func()) *Files {
	return &Files{Paths: paths, Changed: changed, Log: log, Poll: poll, follow: make(chan []string, 1)}
}

// Follow says which folders the specs were read from: they are watched from now
// on. It is called from one goroutine.
func (f *Files) Follow(folders []string) {
	select {
	case <-f.follow: // older ones that nobody took yet
	default:
	}
	f.follow <- folders
}

// watching is one run of Files.
type watching struct {
	*Files
	kernel *fsnotify.Watcher // nil when it cannot be had
	none   string            // why it cannot be had
	way    map[string]bool   // the paths that lead to those that are watched
	inside map[string]bool   // folders in which every change counts
	nodes  map[string]uint64 // the inodes of watched folders
	why    string            // of looking oneself; "" when the kernel tells
	looked uint64            // what was seen last, when looking oneself
}

// Run tells of changes until ctx ends.
func (f *Files) Run(ctx context.Context) {
	w := &watching{Files: f, nodes: map[string]uint64{}}
	kernel, err := fsnotify.NewWatcher()
	if err == nil {
		w.kernel = kernel
		defer kernel.Close()
	}
	w.none = cannot(err)
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
			if ok && w.counts(event.Name) {
				f.Changed()
			}
		case err := <-w.errors():
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				f.Log.Warn("watching files", "error", err)
			}
			f.Changed()
		case <-tick.C:
			if w.why != "" && w.moved() {
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

// counts reports whether a change at a path may change what the files say.
// Hidden files do not, but for those that Kubernetes swaps.
func (w *watching) counts(path string) bool {
	if w.way[path] {
		return true
	}
	name := filepath.Base(path)
	return w.inside[filepath.Dir(path)] && (!strings.HasPrefix(name, ".") || strings.HasPrefix(name, ".."))
}

// watch watches these folders, and the way to all paths. A folder that is new
// may have changed before it was watched.
func (w *watching) watch(folders []string) {
	why := w.none
	w.way, w.inside = map[string]bool{}, map[string]bool{}
	for _, path := range w.Paths {
		w.lead(path, 0)
	}
	for _, folder := range folders {
		w.inside[folder] = true
	}
	wanted, fresh := map[string]bool{}, false
	for path := range w.way {
		wanted[filepath.Dir(path)] = true
	}
	for folder := range w.inside {
		wanted[folder] = true
	}
	for folder := range wanted {
		isNew, err := w.add(folder)
		fresh = fresh || isNew
		if why == "" {
			why = cannot(err)
		}
		if why == "" && w.inside[folder] {
			why = untold(folder)
		}
	}
	w.drop(wanted)
	w.say(why)
	if fresh {
		w.Changed()
	}
}

// add has the kernel watch a folder, and reports whether it did not before.
func (w *watching) add(folder string) (fresh bool, err error) {
	info, err := os.Stat(folder)
	if err != nil || !info.IsDir() {
		delete(w.nodes, folder)
		return false, nil // one that is gone is told by the folder above
	}
	node := info.Sys().(*syscall.Stat_t).Ino
	fresh = w.nodes[folder] != node
	w.nodes[folder] = node
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
	for folder := range w.nodes {
		if !wanted[folder] {
			delete(w.nodes, folder)
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

// maxLinks bounds how many symlinks a way may have.
const maxLinks = 40

// lead adds the way to a path: each step of it may become another one.
func (w *watching) lead(path string, links int) {
	at := "/"
	for step := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next := filepath.Join(at, step)
		w.way[next] = true
		if target, err := os.Readlink(next); err == nil && links < maxLinks {
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			w.lead(target, links+1)
			if next, err = filepath.EvalSymlinks(next); err != nil {
				return
			}
		}
		at = next
	}
}

// say says once why files are looked at again and again, and once that they
// need not be any more.
func (w *watching) say(why string) {
	switch {
	case why != "" && w.why == "":
		w.Log.Warn("files are polled", "because", why, "every", w.Poll.String())
		w.moved() // what there is now
	case why == "" && w.why != "":
		w.Log.Info("files are not polled any more")
	}
	w.why = why
}

// cannot is why the kernel does not tell of a folder.
func cannot(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.ENOSPC):
		return "the kernel watches no more folders for this user (raise the sysctl fs.inotify.max_user_watches)"
	case errors.Is(err, syscall.EMFILE):
		return "the kernel has no more watches for this user (raise the sysctl fs.inotify.max_user_instances)"
	}
	return fmt.Sprintf("the kernel does not watch: %s", err)
}

// The filesystems that others change without this kernel being told, by their
// numbers in statfs(2).
var remote = map[int64]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB", 0x65735546: "FUSE", 0x01021997: "9p",
	0x794c7630: "overlay", 0x00c36400: "Ceph", 0x5346414f: "AFS", 0x73757245: "Coda", 0x01161970: "GFS2", 0x7461636f: "OCFS2",
}

// untold is why changes in a folder may not be told.
func untold(folder string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return ""
	}
	if name, ok := remote[int64(uint32(fs.Type))]; ok {
		return fmt.Sprintf("%s is on %s, which others can change untold", folder, name)
	}
	return ""
}

// moved looks, and reports whether something is not as it was.
func (w *watching) moved() bool {
	before := w.looked
	w.looked = w.fingerprint()
	return before != w.looked
}

// fingerprint is a sum of all that can be seen of the files without reading them.
func (w *watching) fingerprint() uint64 {
	sum := fnv.New64a()
	for _, path := range slices.Sorted(maps.Keys(w.way)) {
		look(sum, path, os.Stat)
	}
	for _, folder := range slices.Sorted(maps.Keys(w.inside)) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			fmt.Fprintln(sum, folder, err)
		}
		for _, entry := range entries {
			if path := filepath.Join(folder, entry.Name()); w.counts(path) {
				look(sum, path, os.Lstat)
				look(sum, path, os.Stat)
			}
		}
	}
	return sum.Sum64()
}

// look adds what can be seen of a file. What a folder has is seen by itself.
func look(sum io.Writer, path string, see func(string) (os.FileInfo, error)) {
	info, err := see(path)
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
