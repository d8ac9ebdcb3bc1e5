package memory

import (
	"context"
	"errors"

	"carrel/plan"
	"carrel/plan/state"
)

// CreateVolume makes a volume with the data of the image that root names.
func (h *Host) CreateVolume(_ context.Context, s plan.CreateVolume, _ string, _ state.Owner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.ImageData[s.Image] = h.image(s.Image).Data
	return h.step(s)
}

// MigrateData makes a volume with the data that root names.
func (h *Host) MigrateData(_ context.Context, s plan.MigrateData, root string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.world.Folders[root]; s.Folder != "" && !ok {
		return errors.New("there is no folder " + root)
	}
	return h.step(s)
}

// PreserveData takes a volume out of use and keeps it.
func (h *Host) PreserveData(_ context.Context, s plan.PreserveData) error { return h.do(s) }

// RenameData gives the data of a workspace to another one.
func (h *Host) RenameData(_ context.Context, s plan.RenameData) error { return h.do(s) }

// RestoreData makes preserved data a volume again.
func (h *Host) RestoreData(_ context.Context, s plan.RestoreData) error { return h.do(s) }

// DiscardData puts a volume into the trash.
func (h *Host) DiscardData(_ context.Context, s plan.DiscardData) error { return h.do(s) }

// DiscardPreserved puts preserved data into the trash.
func (h *Host) DiscardPreserved(_ context.Context, s plan.DiscardPreserved) error { return h.do(s) }

// RecoverData takes data out of the trash; what took its place goes there.
func (h *Host) RecoverData(_ context.Context, s plan.RecoverData) error { return h.do(s) }

// EmptyTrash removes the discarded data of a workspace.
func (h *Host) EmptyTrash(_ context.Context, s plan.EmptyTrash) error { return h.do(s) }

// ExtractData takes the folder of the host that the archive names.
func (h *Host) ExtractData(_ context.Context, s plan.ExtractData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.world.Folders[s.File]; !ok {
		return errors.New("there is no archive " + s.File)
	}
	return h.step(s)
}

// PlaceData makes the unpacked archive the volume.
func (h *Host) PlaceData(_ context.Context, s plan.PlaceData) error { return h.do(s) }
