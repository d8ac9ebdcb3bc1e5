package apply_test

import (
	"context"

	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/state"
)

// faulty is a host in memory whose calls fail as a fault says.
type faulty struct {
	*memory.Host
	*fault
}

func (f faulty) PullImage(ctx context.Context, s plan.PullImage, p func(string, int64, int64)) error {
	return f.call("PullImage", func() error { return f.Host.PullImage(ctx, s, p) })
}

func (f faulty) ImportImage(ctx context.Context, s plan.ImportImage) error {
	return f.call("ImportImage", func() error { return f.Host.ImportImage(ctx, s) })
}

func (f faulty) ViewImage(ctx context.Context, s plan.CreateVolume, fn func(string, state.Owner) error) error {
	return f.call("ViewImage", func() error { return f.Host.ViewImage(ctx, s, fn) })
}

func (f faulty) CheckImage(ctx context.Context, s plan.CheckImage) error {
	return f.call("CheckImage", func() error { return f.Host.CheckImage(ctx, s) })
}

func (f faulty) CheckContainer(ctx context.Context, s plan.CheckContainer) error {
	return f.call("CheckContainer", func() error { return f.Host.CheckContainer(ctx, s) })
}

func (f faulty) CreateContainer(ctx context.Context, s plan.CreateContainer) error {
	return f.call("CreateContainer", func() error { return f.Host.CreateContainer(ctx, s) })
}

func (f faulty) AdoptContainer(ctx context.Context, s plan.AdoptContainer) error {
	return f.call("AdoptContainer", func() error { return f.Host.AdoptContainer(ctx, s) })
}

func (f faulty) UpdateLabels(ctx context.Context, s plan.UpdateLabels) error {
	return f.call("UpdateLabels", func() error { return f.Host.UpdateLabels(ctx, s) })
}

func (f faulty) RestoreDescription(ctx context.Context, s plan.RestoreDescription) error {
	return f.call("RestoreDescription", func() error { return f.Host.RestoreDescription(ctx, s) })
}

func (f faulty) UpdateResources(ctx context.Context, s plan.UpdateResources) error {
	return f.call("UpdateResources", func() error { return f.Host.UpdateResources(ctx, s) })
}

func (f faulty) DeleteContainer(ctx context.Context, s plan.DeleteContainer) error {
	return f.call("DeleteContainer", func() error { return f.Host.DeleteContainer(ctx, s) })
}

func (f faulty) StartTask(ctx context.Context, s plan.StartTask) error {
	return f.call("StartTask", func() error { return f.Host.StartTask(ctx, s) })
}

func (f faulty) StopTask(ctx context.Context, s plan.StopTask) error {
	return f.call("StopTask", func() error { return f.Host.StopTask(ctx, s) })
}

func (f faulty) Exited(ctx context.Context, id string) (code uint32, exited bool, err error) {
	err = f.call("Exited", func() (err error) {
		code, exited, err = f.Host.Exited(ctx, id)
		return err
	})
	return code, exited, err
}

func (f faulty) CreateVolume(ctx context.Context, s plan.CreateVolume, root string, owner state.Owner) error {
	return f.call("CreateVolume", func() error { return f.Host.CreateVolume(ctx, s, root, owner) })
}

func (f faulty) PreserveData(ctx context.Context, s plan.PreserveData) error {
	return f.call("PreserveData", func() error { return f.Host.PreserveData(ctx, s) })
}

func (f faulty) RenameData(ctx context.Context, s plan.RenameData) error {
	return f.call("RenameData", func() error { return f.Host.RenameData(ctx, s) })
}

func (f faulty) RestoreData(ctx context.Context, s plan.RestoreData) error {
	return f.call("RestoreData", func() error { return f.Host.RestoreData(ctx, s) })
}

func (f faulty) CleanNetwork(ctx context.Context, s plan.CleanNetwork) error {
	return f.call("CleanNetwork", func() error { return f.Host.CleanNetwork(ctx, s) })
}

func (f faulty) SaveRecord(ctx context.Context, s plan.SaveRecord, history []state.Entry) error {
	return f.call("SaveRecord", func() error { return f.Host.SaveRecord(ctx, s, history) })
}

func (f faulty) DeleteRecord(ctx context.Context, s plan.DeleteRecord, history []state.Entry) error {
	return f.call("DeleteRecord", func() error { return f.Host.DeleteRecord(ctx, s, history) })
}

func (f faulty) SaveFailure(ctx context.Context, s state.Failure, history []state.Entry) error {
	return f.call("SaveFailure", func() error { return f.Host.SaveFailure(ctx, s, history) })
}

func (f faulty) ViewSnapshot(ctx context.Context, s plan.MigrateData, fn func(string) error) error {
	return f.call("ViewSnapshot", func() error { return f.Host.ViewSnapshot(ctx, s, fn) })
}

func (f faulty) MigrateData(ctx context.Context, s plan.MigrateData, root string) error {
	return f.call("MigrateData", func() error { return f.Host.MigrateData(ctx, s, root) })
}

func (f faulty) DiscardData(ctx context.Context, s plan.DiscardData) error {
	return f.call("DiscardData", func() error { return f.Host.DiscardData(ctx, s) })
}

func (f faulty) DiscardPreserved(ctx context.Context, s plan.DiscardPreserved) error {
	return f.call("DiscardPreserved", func() error { return f.Host.DiscardPreserved(ctx, s) })
}

func (f faulty) RecoverData(ctx context.Context, s plan.RecoverData) error {
	return f.call("RecoverData", func() error { return f.Host.RecoverData(ctx, s) })
}

func (f faulty) EmptyTrash(ctx context.Context, s plan.EmptyTrash) error {
	return f.call("EmptyTrash", func() error { return f.Host.EmptyTrash(ctx, s) })
}

func (f faulty) ExtractData(ctx context.Context, s plan.ExtractData) error {
	return f.call("ExtractData", func() error { return f.Host.ExtractData(ctx, s) })
}

func (f faulty) PlaceData(ctx context.Context, s plan.PlaceData) error {
	return f.call("PlaceData", func() error { return f.Host.PlaceData(ctx, s) })
}

func (f faulty) AttachNetwork(ctx context.Context, s plan.AttachNetwork) error {
	return f.call("AttachNetwork", func() error { return f.Host.AttachNetwork(ctx, s) })
}

func (f faulty) DetachNetwork(ctx context.Context, s plan.DetachNetwork) error {
	return f.call("DetachNetwork", func() error { return f.Host.DetachNetwork(ctx, s) })
}

func (f faulty) NoteHistory(ctx context.Context, s plan.NoteHistory, history []state.Entry) error {
	return f.call("NoteHistory", func() error { return f.Host.NoteHistory(ctx, s, history) })
}

func (f faulty) ClaimRecord(ctx context.Context, s plan.ClaimRecord, history []state.Entry) error {
	return f.call("ClaimRecord", func() error { return f.Host.ClaimRecord(ctx, s, history) })
}
