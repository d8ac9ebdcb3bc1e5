package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/image-spec/identity"

	"carrel/plan"
)

// ViewImage mounts the root filesystem of an image for reading while fn runs.
func (d *Driver) ViewImage(ctx context.Context, s plan.CreateVolume, fn func(root string, owner plan.Owner) error) error {
	return d.leased(ctx, func(ctx context.Context) error {
		image, err := d.unpacked(ctx, s.Image)
		if err != nil {
			return err
		}
		whole, err := image.Spec(ctx)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.Image, d.explain(err))
		}
		layers, err := image.RootFS(ctx)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.Image, d.explain(err))
		}
		snapshots := d.client.SnapshotService(d.Snapshotter)
		key := "carrel-view-" + s.Workspace
		if err := snapshots.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("view of image %s: %w", s.Image, d.explain(err))
		}
		mounts, err := snapshots.View(ctx, key, identity.ChainID(layers).String())
		if err != nil {
			return fmt.Errorf("view of image %s: %w", s.Image, d.explain(err))
		}
		defer undo(ctx, func(ctx context.Context) error { return snapshots.Remove(ctx, key) })
		name := s.User
		if name == "" {
			name = whole.Config.User
		}
		return d.viewed(ctx, mounts, name, fn)
	})
}

// viewed mounts a view, looks up the user in it, and runs fn.
func (d *Driver) viewed(ctx context.Context, mounts []mount.Mount, name string, fn func(root string, owner plan.Owner) error) error {
	return d.mounted(ctx, mounts, func(root string) error {
		owner, err := ownerIn(root, name)
		if err != nil {
			return err
		}
		return fn(root, owner)
	})
}

// ownerIn looks up a user, and the group after a colon, by name or number, in
// the files of a root filesystem. An empty name is root.
func ownerIn(root, name string) (plan.Owner, error) {
	if name == "" {
		return plan.Owner{}, nil
	}
	passwd, err := fileIn(root, "/etc/passwd")
	if err != nil {
		return plan.Owner{}, err
	}
	defer passwd.Close()
	group, err := fileIn(root, "/etc/group")
	if err != nil {
		return plan.Owner{}, err
	}
	defer group.Close()
	found, err := user.GetExecUser(name, nil, passwd, group)
	if err != nil {
		return plan.Owner{}, fmt.Errorf("user %q is not in the image: %w", name, err)
	}
	return plan.Owner{UID: uint32(found.Uid), GID: uint32(found.Gid)}, nil
}

// fileIn opens a file below root, whose symlinks cannot lead out of it. A file
// that is not there is an empty one.
func fileIn(root, name string) (io.ReadCloser, error) {
	path, err := continuity.RootPath(root, name)
	if err != nil {
		return nil, fmt.Errorf("%s in the image: %w", name, err)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s in the image is not a file", name)
	}
	f, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return os.Open(os.DevNull)
	}
	return f, err
}
