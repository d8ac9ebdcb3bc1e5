package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/plan/state"
)

// MigrateData makes the volume of a workspace from what a root filesystem has at the
// data path. It is copied to another folder and renamed when it is whole and on the
// disk. The source stays as it is. It is an error when there is a volume already.
func (d *Driver) MigrateData(ctx context.Context, s plan.MigrateData, root string) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(live); err == nil {
		return fmt.Errorf("%s has a volume already (plan again)", s.Workspace)
	}
	return d.aside(ctx, s.Workspace, live, func(partial string) error {
		return fill(source{root, s.DataPath}, partial, state.Owner{})
	})
}

// aside makes a volume in the folder of unfinished ones, and renames it when it is
// whole and on the disk. It removes what an earlier attempt left there.
func (d *Driver) aside(ctx context.Context, workspace, live string, fill func(partial string) error) error {
	partial, err := d.path(partialDir, workspace)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(partial), 0o700); err != nil {
		return err
	}
	err = fill(partial)
	if err == nil {
		err = sync(partial)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return move(partial, live)
}

// source is a folder below a root. Symlinks in its path cannot lead out of the root.
type source struct {
	root, path string
}

// fill makes a new volume with the content of the source. When the source does not
// exist, the volume is empty and belongs to owner.
func fill(s source, partial string, owner state.Owner) error {
	from, err := continuity.RootPath(s.root, s.path)
	if err != nil {
		return fmt.Errorf("%s in the root filesystem: %w", s.path, err)
	}
	info, err := os.Lstat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return empty(partial, owner)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s in the root filesystem is not a folder (choose another dataPath)", s.path)
	}
	if err := continuity.CopyDir(partial, from); err != nil {
		return err
	}
	return folderTimes(partial, from)
}

// folderTimes gives copied folders the times of their originals, which change when
// files are copied into them.
func folderTimes(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, path[len(from):]), info.ModTime(), info.ModTime())
	})
}

// Usage is how many bytes a folder takes on the disk. A file with several hard links
// counts once.
func (d *Driver) Usage(ctx context.Context, path string) (int64, error) {
	used, err := continuity.DiskUsage(ctx, path)
	return used.Size, err
}

// free is how many bytes may be written to the filesystem of a folder. The last
// twentieth stays free, for others.
func free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return (int64(s.Bavail) - int64(s.Blocks)/20) * s.Bsize, nil
}
