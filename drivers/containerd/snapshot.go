package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"carrel/plan"
)

// Snapshots are the keys of root filesystems without a container, sorted. Those that
// an image is being unpacked into are left out.
func (d *Driver) Snapshots(ctx context.Context) ([]string, error) {
	active := map[string]bool{}
	err := d.client.SnapshotService(d.Snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		active[s.Name] = !strings.HasPrefix(s.Name, snapshots.UnpackKeyPrefix+"-")
		return nil
	}, "kind==active")
	if err != nil {
		return nil, fmt.Errorf("list root filesystems: %w", d.explain(err))
	}
	// After the snapshots: a container is made after its root filesystem.
	containers, err := d.client.ContainerService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", d.explain(err))
	}
	for _, c := range containers {
		if c.Snapshotter == d.Snapshotter {
			active[c.SnapshotKey] = false
		}
	}
	var orphans []string
	for key, orphan := range active {
		if orphan {
			orphans = append(orphans, key)
		}
	}
	slices.Sort(orphans)
	return orphans, nil
}

// ViewSnapshot mounts a root filesystem for reading while fn runs, whether or not
// its container still exists. It returns the error of fn unchanged.
func (d *Driver) ViewSnapshot(ctx context.Context, s plan.MigrateData, fn func(root string) error) error {
	return d.leased(ctx, func(ctx context.Context) error {
		snapshotter, err := d.snapshotterOf(ctx, s.Snapshot)
		if err != nil {
			return err
		}
		if err := d.keepSnapshot(ctx, snapshotter, s.Snapshot); err != nil {
			return fmt.Errorf("root filesystem %s: %w", s.Snapshot, d.explain(err))
		}
		mounts, err := d.client.SnapshotService(snapshotter).Mounts(ctx, s.Snapshot)
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("root filesystem %s is gone, and the data of %s with it (plan again): %w", s.Snapshot, s.Workspace, err)
		}
		if err != nil {
			return fmt.Errorf("root filesystem %s: %w", s.Snapshot, d.explain(err))
		}
		return d.mounted(ctx, mounts, fn)
	})
}

// snapshotterOf is the snapshotter that has a root filesystem: a container may have
// been made with another one than the driver's.
func (d *Driver) snapshotterOf(ctx context.Context, key string) (string, error) {
	containers, err := d.client.ContainerService().List(ctx)
	if err != nil {
		return "", fmt.Errorf("list containers: %w", d.explain(err))
	}
	for _, c := range containers {
		if c.SnapshotKey == key && c.Snapshotter != "" {
			return c.Snapshotter, nil
		}
	}
	return d.Snapshotter, nil
}

// keepSnapshot adds a root filesystem to the lease of ctx. When it has no container,
// nothing else may keep it from garbage collection.
func (d *Driver) keepSnapshot(ctx context.Context, snapshotter, key string) error {
	id, ok := leases.FromContext(ctx)
	if !ok {
		return errors.New("no lease")
	}
	return d.client.LeasesService().AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: key, Type: "snapshots/" + snapshotter})
}

// mounted mounts for reading while fn runs. It returns the error of fn unchanged.
func (d *Driver) mounted(ctx context.Context, mounts []mount.Mount, fn func(root string) error) error {
	var failed error
	d.views.clean.Do(func() { failed = cleanViews(d.ViewsDir) })
	if failed != nil {
		return failed
	}
	err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		failed = fn(root)
		return nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// cleanViews makes the folder of views and unmounts what is mounted there. That is
// of a run that was killed, because only one runs at a time.
func cleanViews(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := mount.SetTempMountLocation(dir); err != nil {
		return err
	}
	warnings, err := mount.CleanupTempMounts(0)
	return errors.Join(append(warnings, err)...)
}
