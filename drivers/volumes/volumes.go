// Package volumes keeps the data of workspaces in folders of the state dir: in
// volumes/ while the workspace exists, in preserved/ after it was deleted, and in
// trash/ until discarded data is removed. Data moves between them by a rename, so
// that the time does not depend on its size.
//
// It mounts nothing: the runtime mounts a volume into its container.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"

	"carrel/plan"
	"carrel/plan/state"
)

// The folders in the state dir. All must be on one filesystem, because data is
// renamed between them.
const (
	liveDir      = "volumes"
	preservedDir = "preserved"
	partialDir   = "partial" // volumes that are being made
)

// timeName is how a time is written as the name of a folder: sortable, and
// without characters that need quoting.
const timeName = "20060102T150405.000000000Z"

// Driver keeps the volumes of one state dir.
type Driver struct {
	stateDir string
}

// New gives a driver. It reads and changes nothing yet.
func New(stateDir string) *Driver { return &Driver{stateDir} }

// Dir is the folder that has the volume of each workspace under its name.
func (d *Driver) Dir() string { return filepath.Join(d.stateDir, liveDir) }

// Volumes are the volumes of workspaces that exist.
func (d *Driver) Volumes(context.Context) ([]state.Volume, error) {
	names, err := folders(d.Dir())
	links, linksErr := linked(d.Dir())
	var all []state.Volume
	for _, name := range slices.Concat(names, links) {
		all = append(all, state.Volume{Workspace: name, Path: filepath.Join(d.Dir(), name)})
	}
	return all, errors.Join(err, linksErr)
}

// linked are the names of symlinks to folders: with them a person has moved a
// volume to another disk.
func linked(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(path, e.Name())); err == nil && info.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Preserved are the volumes of deleted workspaces, oldest first.
func (d *Driver) Preserved(context.Context) ([]state.Preserved, error) { return d.kept(preservedDir) }

// CreateVolume makes the volume of a workspace from what root has at the data path.
// It is made in another folder and renamed when it is whole and on the disk: a
// volume that exists is whole.
func (d *Driver) CreateVolume(ctx context.Context, s plan.CreateVolume, root string, owner state.Owner) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	if info, err := os.Stat(live); err == nil && info.IsDir() {
		return nil
	}
	if _, err := os.Lstat(live); err == nil {
		return fmt.Errorf("%s is where the volume belongs and is not a folder (move it away)", live)
	}
	return d.aside(ctx, s.Workspace, live, func(partial string) error {
		return fill(source{root, s.DataPath}, partial, owner)
	})
}

// empty makes an empty volume that the workspace's process can write to.
func empty(path string, owner state.Owner) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chown(path, int(owner.UID), int(owner.GID))
}

// few is how many files are synced one by one. For more it is faster to sync the whole
// filesystem, although that includes what others wrote to it.
const few = 64

// sync makes sure that a tree is on the disk.
func sync(root string) error {
	var paths []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() || e.Type().IsRegular() {
			paths = append(paths, path)
		}
		if len(paths) > few {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(paths) > few {
		return syncWith(root, unix.Syncfs)
	}
	for _, path := range paths {
		if err := syncWith(path, unix.Fsync); err != nil {
			return err
		}
	}
	return nil
}

func syncWith(path string, call func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := call(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return nil
}

// PreserveData makes the volume of a workspace preserved data. It succeeds when there
// is no volume: then that was done before.
func (d *Driver) PreserveData(_ context.Context, s plan.PreserveData) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(live); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	kept, err := d.preserved(s.Workspace, s.Set, s.At)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(kept); err == nil {
		return fmt.Errorf("%s exists already (plan again)", kept)
	}
	return move(live, kept)
}

// RestoreData makes preserved data the volume of its workspace again.
func (d *Driver) RestoreData(_ context.Context, s plan.RestoreData) error {
	kept, err := d.preserved(s.Workspace, s.Set, s.At)
	if err != nil {
		return err
	}
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	_, keptErr := os.Lstat(kept)
	_, liveErr := os.Lstat(live)
	if liveErr == nil {
		if errors.Is(keptErr, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("%s has a volume already (plan again)", s.Workspace)
	}
	if err := move(kept, live); err != nil {
		return err
	}
	// The folder of the workspace goes with its last preserved volume.
	return removeEmpty(filepath.Dir(kept))
}

// RenameData makes the volume of a workspace that of another one, and its preserved
// data. It succeeds when there is no volume: then that was done before.
func (d *Driver) RenameData(ctx context.Context, s plan.RenameData) error {
	from, err := d.path(liveDir, s.From)
	if err != nil {
		return err
	}
	to, err := d.path(liveDir, s.To)
	if err != nil {
		return err
	}
	all, err := d.Preserved(ctx)
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.Workspace != s.From || k.Set != "" && k.Set != s.Set {
			continue
		}
		kept, err := d.preserved(s.To, k.Set, k.At)
		if err != nil {
			return err
		}
		if err := move(k.Path, kept); err != nil {
			return err
		}
	}
	if err := removeEmpty(filepath.Join(d.stateDir, preservedDir, s.From)); err != nil {
		return err
	}
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s has a volume already (plan again)", s.To)
	}
	return move(from, to)
}

// ofSet separates the time and the set in the names of preserved volumes.
const ofSet = "@"

// preserved is the path of preserved data.
func (d *Driver) preserved(workspace, set string, at time.Time) (string, error) {
	name := at.UTC().Format(timeName)
	if set != "" {
		if !isName(set) {
			return "", fmt.Errorf("set %q: not a name that a folder can have", set)
		}
		name += ofSet + set
	}
	return d.path(preservedDir, workspace, name)
}

// path is a path in the state dir. It refuses a name that could lead elsewhere.
func (d *Driver) path(dir, workspace string, more ...string) (string, error) {
	if !isName(workspace) {
		return "", fmt.Errorf("workspace %q: not a name that a folder can have", workspace)
	}
	return filepath.Join(append([]string{d.stateDir, dir, workspace}, more...)...), nil
}

func isName(word string) bool { return len(validation.IsDNS1123Label(word)) == 0 }

// move renames a folder. The rename is on the disk when it returns.
func move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is a mount point, which cannot be renamed (mount the disk elsewhere, with a symlink to it from there)", from)
	}
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s and %s are on different filesystems (keep the whole state dir on one)", from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return errors.Join(syncWith(filepath.Dir(to), unix.Fsync), syncWith(filepath.Dir(from), unix.Fsync))
}

// folders are the names of the folders in a folder, without symlinks. A folder that
// does not exist has none.
func folders(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}
