package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// Snapshots are the keys of root filesystems without a container, sorted, and the
// ids of containers without a root filesystem. Those that an image is being
// unpacked into are left out.
func (d *Driver) Snapshots(ctx context.Context) (orphans []string, without map[string]bool, err error) {
	active := map[string]bool{}
	err = d.client.SnapshotService(d.Snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		active[s.Name] = !strings.HasPrefix(s.Name, snapshots.UnpackKeyPrefix+"-")
		return nil
	}, "kind==active")
	if err != nil {
		return nil, nil, fmt.Errorf("list root filesystems: %w", d.explain(err))
	}
	// After the snapshots: a container is made after its root filesystem.
	containers, err := d.client.ContainerService().List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list containers: %w", d.explain(err))
	}
	without = map[string]bool{}
	for _, c := range containers {
		if c.Snapshotter != d.Snapshotter || c.SnapshotKey == "" {
			continue
		}
		if _, found := active[c.SnapshotKey]; !found {
			_, err := d.client.SnapshotService(d.Snapshotter).Stat(ctx, c.SnapshotKey) // it may have been made since
			without[c.ID] = errdefs.IsNotFound(err)
		}
		active[c.SnapshotKey] = false
	}
	for key, orphan := range active {
		if orphan {
			orphans = append(orphans, key)
		}
	}
	slices.Sort(orphans)
	return orphans, without, nil
}

// removeSnapshot deletes a root filesystem. It succeeds when it does not exist.
func (d *Driver) removeSnapshot(ctx context.Context, key string) error {
	err := d.client.SnapshotService(d.Snapshotter).Remove(ctx, key)
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("root filesystem %s: %w", key, d.explain(err))
	}
	return nil
}
