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

// trashDir holds what was discarded until it is removed. Removing takes time
// and may break off; the rename into it does neither.
const trashDir = "trash"

// Trash is what was discarded and is not removed yet, oldest first.
func (d *Driver) Trash(context.Context) ([]state.Trashed, error) {
	kept, err := d.kept(trashDir)
	all := make([]state.Trashed, len(kept))
	for i, k := range kept {
		all[i] = state.Trashed{Workspace: k.Workspace, At: k.At}
	}
	return all, err
}

// DiscardData puts the volume of a workspace into the trash.
func (d *Driver) DiscardData(_ context.Context, s plan.DiscardData) error {
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	return d.discard(live, s.Workspace, s.At)
}

// DiscardPreserved puts preserved data into the trash.
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

// discard puts a folder into the trash. One that is gone was discarded before.
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

// RecoverData makes discarded data the volume again. A volume that took its
// place goes into the trash, a nanosecond later: so a repeat sees that it was
// done.
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

// EmptyTrash removes the discarded data of a workspace for good. It refuses
// while something is mounted in it: that would be removed too.
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

// kept are the folders of one of the state dir's folders that are named by
// workspace and time, oldest first.
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
				continue // not ours: a person may keep things beside it
			}
			all = append(all, state.Preserved{Workspace: workspace, Set: set, At: at, Path: filepath.Join(root, workspace, name)})
		}
	}
	slices.SortStableFunc(all, func(a, b state.Preserved) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Workspace, b.Workspace))
	})
	return all, nil
}

// removeEmpty removes a folder that holds nothing any more.
func removeEmpty(path string) error {
	err := os.Remove(path)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
