package images

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/client"
	core "github.com/containerd/containerd/v2/core/images"
	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/plan"
	"carrel/plan/state"
)

// ViewImage mounts the root filesystem of an image for reading while fn runs. Fn
// gets the user that the workspace's process will have. Workspaces of one image
// share the mount.
func (s *Store) ViewImage(ctx context.Context, step plan.CreateVolume, fn func(root string, owner state.Owner) error) error {
	return s.View(ctx, step.Image, func(root string, image View) error {
		owner, err := ownerIn(root, cmp.Or(step.User, image.Config.Config.User))
		if err != nil {
			return err
		}
		return fn(root, owner)
	})
}

// View is an image whose root filesystem is mounted.
type View struct {
	Image  client.Image
	Config ocispec.Image // the configuration of the image, for the platform of this host
}

// View mounts the root filesystem of an image for reading while fn runs.
func (s *Store) View(ctx context.Context, name string, fn func(root string, image View) error) error {
	v, err := s.views.take(name, func() (*view, error) { return s.openView(ctx, name) })
	if err != nil {
		return err
	}
	defer s.views.giveBack(name)
	return fn(v.root, v.image)
}

// openView mounts an image. A lease keeps it until the view is closed.
func (s *Store) openView(ctx context.Context, name string) (*view, error) {
	ctx = context.WithoutCancel(ctx)
	opened, closing, closed := make(chan *view), make(chan struct{}), make(chan error, 1)
	go func() {
		closed <- s.leased(ctx, func(ctx context.Context) error {
			return s.viewing(ctx, name, func(root string, image View) error {
				opened <- &view{root: root, image: image, close: func() error { close(closing); return <-closed }}
				<-closing
				return nil
			})
		})
	}()
	select {
	case v := <-opened:
		return v, nil
	case err := <-closed:
		return nil, err
	}
}

// viewing mounts an image while fn runs.
func (s *Store) viewing(ctx context.Context, name string, fn func(root string, image View) error) error {
	image, err := s.unpacked(ctx, name)
	if err != nil {
		return err
	}
	if config, err := image.Config(ctx); err == nil && !core.IsConfigType(config.MediaType) {
		return fmt.Errorf("image %s is not a container image: the type of its configuration is %s (choose another image)", name, config.MediaType)
	}
	whole, err := image.Spec(ctx)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, s.config.Explain(err))
	}
	layers, err := image.RootFS(ctx)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, s.config.Explain(err))
	}
	snapshots := s.config.Client.SnapshotService(s.config.Snapshotter)
	key := "carrel-view-" + digest.FromString(name).Encoded()
	if err := snapshots.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("view of image %s: %w", name, s.config.Explain(err))
	}
	mounts, err := snapshots.View(ctx, key, identity.ChainID(layers).String())
	if err != nil {
		return fmt.Errorf("view of image %s: %w", name, s.config.Explain(err))
	}
	defer CleanUp(ctx, func(ctx context.Context) error { return snapshots.Remove(ctx, key) })
	return s.views.mounted(ctx, mounts, func(root string) error { return fn(root, View{image, whole}) })
}

// ownerIn looks up a user, and the group after a colon, by name or number, in
// the files of a root filesystem. An empty name is root.
func ownerIn(root, name string) (state.Owner, error) {
	if name == "" {
		return state.Owner{}, nil
	}
	passwd, err := fileIn(root, "/etc/passwd")
	if err != nil {
		return state.Owner{}, err
	}
	defer passwd.Close()
	group, err := fileIn(root, "/etc/group")
	if err != nil {
		return state.Owner{}, err
	}
	defer group.Close()
	found, err := user.GetExecUser(name, nil, passwd, group)
	if err != nil {
		return state.Owner{}, fmt.Errorf("user %q is not in the image: %w", name, err)
	}
	return state.Owner{UID: uint32(found.Uid), GID: uint32(found.Gid)}, nil
}

// fileIn opens a file below root. Symlinks cannot lead out of root. A file that does
// not exist is read as an empty one.
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
