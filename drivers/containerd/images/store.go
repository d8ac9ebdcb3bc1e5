// Package images has the images of containerd: it pulls them from registries, imports
// them from archives, and keeps them while they are used. It also mounts the root
// filesystems of images and containers for reading, so that data can be copied out of
// them.
//
// It makes no containers and starts no tasks: package containerd does, and embeds the
// Store of this package.
package images

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/client"
)

// Config says which containerd is used, and how.
type Config struct {
	Client      *client.Client // connected to one namespace; the store does not close it
	Snapshotter string         // unpacks images
	HostsDir    string         // has a folder with a hosts.toml for each registry; need not exist
	ViewsDir    string         // for mounting root filesystems for reading; "" is the system's folder for temporary files

	// Explain adds to an error of containerd what its text does not say, such as
	// that the connection failed. Other errors, and nil, it returns unchanged.
	Explain func(error) error
}

// Store is the images of one namespace of containerd.
type Store struct {
	config Config
	lease  lease // keeps what is made from garbage collection until it is used
	views  views // images that are mounted for reading, shared by workspaces
	scans  scans // what compressed archives hold

	refused refused  // registries that accept no requests for now
	wrong   sync.Map // why manifests of registries cannot be used, by digest: an error, or nil
}

// New makes a store. It asks containerd nothing.
func New(c Config) *Store { return &Store{config: c, views: views{dir: c.ViewsDir}} }

// Close unmounts the images that are mounted. It returns all errors of unmounting
// since the store was made.
func (s *Store) Close() error { return s.views.closeAll() }

// WithImage runs fn with an image that containerd has, unpacked, and the name with its
// digest, which a container keeps. Until fn returns, containerd's garbage collection
// keeps the image and what fn makes.
func (s *Store) WithImage(ctx context.Context, name string, fn func(ctx context.Context, image client.Image, pinned string) error) error {
	return s.leased(ctx, func(ctx context.Context) error {
		image, err := s.unpacked(ctx, name)
		if err != nil {
			return err
		}
		pinned, err := s.pin(ctx, image.Metadata())
		if err != nil {
			return err
		}
		return fn(ctx, image, pinned)
	})
}

// leased runs fn under a lease: containerd's garbage collection keeps what fn makes
// until then.
func (s *Store) leased(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, err := s.lease.acquire(ctx, s.config.Client)
	if err != nil {
		return fmt.Errorf("lease: %w", s.config.Explain(err))
	}
	defer s.lease.release(ctx)
	return fn(ctx)
}
