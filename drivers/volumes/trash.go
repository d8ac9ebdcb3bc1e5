package volumes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/plan/state"
)

// trashDir has discarded data until it is removed. Data goes there by a rename, which
// takes no time and cannot be interrupted; removing it can.
const trashDir = "trash"

// Trash is the discarded data that is not removed yet, oldest first.
func (d *Driver) Trash(context.Context) ([]state.Trashed, error) {
	kept, err := d.kept(trashDir)
	all := make([]state.Trashed, len(kept))
	for i, k := range kept {
		all[i] = state.Trashed{Workspace: k.Workspace, At: k.At}
	}
	return all, err
}

// DiscardData moves the volume of a workspace to the trash.
func (d *Driver) DiscardData(_ context.Context, s plan.DiscardData) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	return d.discard(live, s.Workspace, s.At)
}

// DiscardPreserved moves preserved data to the trash.
func (d *Driver) DiscardPreserved(_ context.Context, s plan.DiscardPreserved) error {
	kept, err := d.preserved(s.Workspace, s.Set, s.At)
	if err != nil {
		return err
	}
	if err := d.discard(kept, s.Workspace, s.At); err != nil {
		return err
	}
	return removeEmpty(filepath.Dir(kept))
}

// discard moves a folder to the trash. It succeeds when there is no such folder: then
// that was done before.
func (d *Driver) discard(folder, workspace string, at time.Time) error {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	trashed, err := d.path(trashDir, workspace, at.UTC().Format(timeName))
	if err != nil {
		return err
	}
	return move(folder, trashed)
}

// RecoverData makes discarded data the volume again. A volume that took its place
// goes to the trash under a time that is a nanosecond later, so that a second call
// does not take it for the discarded data.
func (d *Driver) RecoverData(_ context.Context, s plan.RecoverData) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	trashed, err := d.path(trashDir, s.Workspace, s.At.UTC().Format(timeName))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(trashed); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(live); err != nil {
			return fmt.Errorf("the discarded data of %s is gone: %w", s.Workspace, err)
		}
		return nil
	}
	if err := d.discard(live, s.Workspace, s.At.Add(time.Nanosecond)); err != nil {
		return err
	}
	return move(trashed, live)
}

// EmptyTrash deletes the discarded data of a workspace permanently. It refuses while
// something is mounted in it, because that would be deleted too.
func (d *Driver) EmptyTrash(_ context.Context, s plan.EmptyTrash) error {
	trashed, err := d.path(trashDir, s.Workspace)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(trashed); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(trashed))
	if err != nil {
		return fmt.Errorf("mounts below %s: %w", trashed, err)
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s is mounted in discarded data (unmount it, and apply again)", mounts[0].Mountpoint)
	}
	if err := os.RemoveAll(trashed); err != nil {
		return err
	}
	return syncWith(filepath.Dir(trashed), unix.Fsync)
}

// kept are the data folders in trash or preserved, which are named by workspace and
// time, oldest first.
func (d *Driver) kept(dir string) ([]state.Preserved, error) {
	root := filepath.Join(d.stateDir, dir)
	workspaces, err := folders(root)
	if err != nil {
		return nil, err
	}
	var all []state.Preserved
	for _, workspace := range workspaces {
		names, err := folders(filepath.Join(root, workspace))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			written, set, _ := strings.Cut(name, ofSet)
			at, err := time.Parse(timeName, written)
			if err != nil {
				continue // a person may keep other things here
			}
			all = append(all, state.Preserved{Workspace: workspace, Set: set, At: at, Path: filepath.Join(root, workspace, name)})
		}
	}
	slices.SortStableFunc(all, func(a, b state.Preserved) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Workspace, b.Workspace))
	})
	return all, nil
}

// removeEmpty removes a folder if it is empty.
func removeEmpty(path string) error {
	err := os.Remove(path)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
