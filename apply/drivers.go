package apply

import (
	"context"

	"carrel/plan"
	"carrel/plan/state"
)

// Runtime keeps images, containers and tasks. Every method is safe to repeat:
// done already is success, and what is gone counts as removed.
type Runtime interface {
	// PullImage fetches an image by the name its step has. Progress, which may
	// be called from several goroutines, is given the bytes of each layer.
	PullImage(ctx context.Context, s plan.PullImage, progress func(layer string, done, total int64)) error

	// ImportImage loads an archive. It fails when the archive no longer has
	// the digest that was planned.
	ImportImage(ctx context.Context, s plan.ImportImage) error

	// ViewImage mounts the root filesystem of an image for reading while fn
	// runs. The owner is the user that the workspace's process will have.
	ViewImage(ctx context.Context, s plan.CreateVolume, fn func(root string, owner state.Owner) error) error

	// ViewSnapshot mounts a root filesystem for reading while fn runs.
	ViewSnapshot(ctx context.Context, s plan.MigrateData, fn func(root string) error) error

	// CheckImage refuses what CreateContainer or StartTask would refuse, as far as
	// that can be known before anything is made.
	CheckImage(ctx context.Context, s plan.CheckImage) error

	// CheckContainer refuses what StartTask would refuse. What carrel itself makes
	// for a start, the network and the volume, is not its matter.
	CheckContainer(ctx context.Context, s plan.CheckContainer) error

	CreateContainer(ctx context.Context, s plan.CreateContainer) error
	AdoptContainer(ctx context.Context, s plan.AdoptContainer) error
	UpdateLabels(ctx context.Context, s plan.UpdateLabels) error
	UpdateResources(ctx context.Context, s plan.UpdateResources) error

	// RestoreDescription leaves the task alone, if there is one.
	RestoreDescription(ctx context.Context, s plan.RestoreDescription) error

	DeleteContainer(ctx context.Context, s plan.DeleteContainer) error

	// StartTask leaves a task that runs alone and removes what is left of one
	// that does not.
	StartTask(ctx context.Context, s plan.StartTask) error

	// StopTask returns when no process of the task is left.
	StopTask(ctx context.Context, s plan.StopTask) error

	// Exited waits until the task of a container ends or ctx is done. It
	// reports how the task ended; false means that it still runs.
	Exited(ctx context.Context, container string) (code uint32, exited bool, err error)

	// LastOutput are the last lines that the process of a workspace printed, once
	// it has ended. There may be none.
	LastOutput(ctx context.Context, s plan.StartTask) []string
}

// Volumes keeps the data of workspaces as folders of the host.
type Volumes interface {
	// CreateVolume makes the volume with what root has at the data path; root
	// is an image's root filesystem. Owner owns a data path that the image
	// does not have.
	CreateVolume(ctx context.Context, s plan.CreateVolume, root string, owner state.Owner) error
	RestoreData(ctx context.Context, s plan.RestoreData) error
	PreserveData(ctx context.Context, s plan.PreserveData) error

	// RenameData takes a volume that is not there any more for one that was renamed
	// before.
	RenameData(ctx context.Context, s plan.RenameData) error

	// MigrateData makes the volume with what root has at the data path; root
	// is a root filesystem that a container wrote to. A volume that exists is
	// an error: what it holds may be older.
	MigrateData(ctx context.Context, s plan.MigrateData, root string) error

	DiscardData(ctx context.Context, s plan.DiscardData) error
	DiscardPreserved(ctx context.Context, s plan.DiscardPreserved) error
	RecoverData(ctx context.Context, s plan.RecoverData) error
	EmptyTrash(ctx context.Context, s plan.EmptyTrash) error

	// ExtractData refuses an archive that would write elsewhere, is cut short,
	// or needs more room than there is; then nothing is left of it.
	ExtractData(ctx context.Context, s plan.ExtractData) error
	PlaceData(ctx context.Context, s plan.PlaceData) error
}

// Network gives workspaces network namespaces with addresses.
type Network interface {
	// AttachNetwork returns when the namespace is pinned and has an address.
	// Leftovers of an earlier attachment are taken away first.
	AttachNetwork(ctx context.Context, s plan.AttachNetwork) error

	// DetachNetwork needs neither a live task nor a live namespace. What cannot be
	// undone is recorded, with a *plan.Warning.
	DetachNetwork(ctx context.Context, s plan.DetachNetwork) error

	// CleanNetwork returns a *plan.Warning for what cannot be removed yet.
	CleanNetwork(ctx context.Context, s plan.CleanNetwork) error
}

// Records is the store. Each write carries the history of the steps that led
// to it, kept in the same transaction.
type Records interface {
	// ClaimRecord fails when another host has the workspace.
	ClaimRecord(ctx context.Context, s plan.ClaimRecord, history []state.Entry) error

	SaveRecord(ctx context.Context, s plan.SaveRecord, history []state.Entry) error
	DeleteRecord(ctx context.Context, s plan.DeleteRecord, history []state.Entry) error
	NoteHistory(ctx context.Context, s plan.NoteHistory, history []state.Entry) error

	// SaveFailure notes on the record, made when there is none, why the last
	// change did not reach its end. It changes nothing else of the record.
	SaveFailure(ctx context.Context, f state.Failure, history []state.Entry) error
}
