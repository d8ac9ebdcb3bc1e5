package images

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"

	"carrel/plan"
)

// ViewSnapshot mounts a root filesystem for reading while fn runs, whether or not
// its container still exists. It returns the error of fn unchanged.
func (s *Store) ViewSnapshot(ctx context.Context, step plan.MigrateData, fn func(root string) error) error {
	return s.leased(ctx, func(ctx context.Context) error {
		snapshotter, err := s.snapshotterOf(ctx, step.Snapshot)
		if err != nil {
			return err
		}
		if err := s.keepSnapshot(ctx, snapshotter, step.Snapshot); err != nil {
			return fmt.Errorf("root filesystem %s: %w", step.Snapshot, s.config.Explain(err))
		}
		mounts, err := s.config.Client.SnapshotService(snapshotter).Mounts(ctx, step.Snapshot)
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("root filesystem %s is gone, and the data of %s with it (plan again): %w", step.Snapshot, step.Workspace, err)
		}
		if err != nil {
			return fmt.Errorf("root filesystem %s: %w", step.Snapshot, s.config.Explain(err))
		}
		return s.views.mounted(ctx, mounts, fn)
	})
}

// snapshotterOf is the snapshotter that has a root filesystem: a container may have
// been made with another one than the store's.
func (s *Store) snapshotterOf(ctx context.Context, key string) (string, error) {
	containers, err := s.config.Client.ContainerService().List(ctx)
	if err != nil {
		return "", fmt.Errorf("list containers: %w", s.config.Explain(err))
	}
	for _, c := range containers {
		if c.SnapshotKey == key && c.Snapshotter != "" {
			return c.Snapshotter, nil
		}
	}
	return s.config.Snapshotter, nil
}

// keepSnapshot adds a root filesystem to the lease of ctx. When it has no container,
// nothing else may keep it from garbage collection.
func (s *Store) keepSnapshot(ctx context.Context, snapshotter, key string) error {
	id, ok := leases.FromContext(ctx)
	if !ok {
		return errors.New("no lease")
	}
	return s.config.Client.LeasesService().AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: key, Type: "snapshots/" + snapshotter})
}
