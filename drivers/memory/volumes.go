package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"carrel/plan"
	"carrel/plan/state"
)

// CreateVolume makes a volume with the data of the image that root names.
func (h *Host) CreateVolume(_ context.Context, s plan.CreateVolume, root string, _ state.Owner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.volumes[s.Workspace] == nil {
		files := map[string]string{}
		maps.Copy(files, h.images[root].Data)
		h.volumes[s.Workspace] = files
	}
	return nil
}

// PreserveData takes a volume out of use and keeps it.
func (h *Host) PreserveData(_ context.Context, s plan.PreserveData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if files, ok := h.volumes[s.Workspace]; ok {
		h.preserved[preservedKey{s.Workspace, s.At}] = kept{s.Set, files}
		delete(h.volumes, s.Workspace)
	}
	return nil
}

// RestoreData makes preserved data a volume again.
func (h *Host) RestoreData(_ context.Context, s plan.RestoreData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := preservedKey{s.Workspace, s.At}
	was, ok := h.preserved[key]
	_, live := h.volumes[s.Workspace]
	switch {
	case live && !ok:
		return nil
	case live:
		return fmt.Errorf("%s has a volume already", s.Workspace)
	case !ok:
		return fmt.Errorf("%s has no data preserved at %s", s.Workspace, s.At)
	}
	delete(h.preserved, key)
	h.volumes[s.Workspace] = was.data
	return nil
}

// ViewSnapshot gives the key of a root filesystem as its root.
func (h *Host) ViewSnapshot(_ context.Context, s plan.MigrateData, fn func(root string) error) error {
	h.mu.Lock()
	_, ok := h.snapshots[s.Snapshot]
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("root filesystem %s is not here", s.Snapshot)
	}
	return fn(s.Snapshot)
}

// MigrateData makes a volume with the data that root names.
func (h *Host) MigrateData(_ context.Context, s plan.MigrateData, root string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.volumes[s.Workspace] != nil {
		return fmt.Errorf("%s has a volume already", s.Workspace)
	}
	data, ok := h.snapshots[root]
	if s.Folder != "" {
		data, ok = h.folders[root]
	}
	if !ok {
		return fmt.Errorf("%s is not here", root)
	}
	h.volumes[s.Workspace] = maps.Clone(data)
	return nil
}

// DiscardData puts a volume into the trash.
func (h *Host) DiscardData(_ context.Context, s plan.DiscardData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if files, ok := h.volumes[s.Workspace]; ok {
		h.trash[preservedKey{s.Workspace, s.At}] = files
		delete(h.volumes, s.Workspace)
	}
	return nil
}

// DiscardPreserved puts preserved data into the trash.
func (h *Host) DiscardPreserved(_ context.Context, s plan.DiscardPreserved) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if was, ok := h.preserved[preservedKey{s.Workspace, s.At}]; ok {
		h.trash[preservedKey{s.Workspace, s.At}] = was.data
		delete(h.preserved, preservedKey{s.Workspace, s.At})
	}
	return nil
}

// RecoverData takes data out of the trash; what took its place goes there.
func (h *Host) RecoverData(_ context.Context, s plan.RecoverData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	files, ok := h.trash[preservedKey{s.Workspace, s.At}]
	live, lives := h.volumes[s.Workspace]
	if !ok {
		if lives {
			return nil
		}
		return fmt.Errorf("the trash has no data of %s", s.Workspace)
	}
	delete(h.trash, preservedKey{s.Workspace, s.At})
	h.volumes[s.Workspace] = files
	if lives {
		h.trash[preservedKey{s.Workspace, s.At.Add(time.Nanosecond)}] = live
	}
	return nil
}

// EmptyTrash removes the discarded data of a workspace.
func (h *Host) EmptyTrash(_ context.Context, s plan.EmptyTrash) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.trash, func(key preservedKey, _ map[string]string) bool { return key.workspace == s.Workspace })
	return nil
}

// extracted is the volume that an archive was unpacked into, before it is used.
const extracted = "/extracted"

// ExtractData takes the folder of the host that the archive names.
func (h *Host) ExtractData(_ context.Context, s plan.ExtractData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok := h.folders[s.File]
	if !ok {
		return errors.New("there is no archive " + s.File)
	}
	h.folders[s.Workspace+extracted] = maps.Clone(data)
	return nil
}

// PlaceData makes the unpacked archive the volume.
func (h *Host) PlaceData(_ context.Context, s plan.PlaceData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok := h.folders[s.Workspace+extracted]
	_, lives := h.volumes[s.Workspace]
	switch {
	case !ok && lives:
		return nil
	case !ok:
		return fmt.Errorf("nothing was extracted for %s", s.Workspace)
	case lives:
		return fmt.Errorf("%s has a volume already", s.Workspace)
	}
	h.volumes[s.Workspace] = data
	delete(h.folders, s.Workspace+extracted)
	return nil
}
