package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"golang.org/x/sync/errgroup"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// archiveRepository is the repository in the names that images from archives get in
// containerd. The names have the digest, so that they never mean another image.
const archiveRepository = "carrel.local/archive"

// The limits of asking registries what a tag points to.
const (
	resolved       = 8 // at the same time
	resolveTimeout = 10 * time.Second
)

// Images are the images that workspaces name, by that name: whether containerd has
// them, and what archives hold now. It asks no registry.
func (s *Store) Images(ctx context.Context, want []spec.Workspace) (map[string]state.Image, error) {
	listed, err := s.config.Client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", s.config.Explain(err))
	}
	here := make(map[string]string, len(listed))
	for _, image := range listed {
		here[image.Name] = image.Target.Digest.String()
	}
	all := map[string]state.Image{}
	for _, w := range want {
		if _, seen := all[w.Image]; seen {
			continue
		}
		image := state.Image{Name: w.Image}
		if archive, ok := w.Archive(); ok {
			s.inspectArchive(ctx, archive, &image)
		}
		image.Digest = here[image.Name]
		all[w.Image] = image
	}
	return all, nil
}

// Sources asks registries what image names point to now, for workspaces that always
// pull. A registry that does not answer is an error of that source only.
func (s *Store) Sources(ctx context.Context, want []spec.Workspace) map[string]state.Source {
	var asking errgroup.Group
	asking.SetLimit(resolved)
	var mu sync.Mutex
	all, asked := map[string]state.Source{}, map[string]bool{}
	for _, w := range want {
		_, archive := w.Archive()
		if archive || asked[w.Image] || w.ImagePullPolicy != spec.PullAlways {
			continue
		}
		asked[w.Image] = true
		asking.Go(func() error {
			source := s.resolve(ctx, w.Image)
			mu.Lock()
			defer mu.Unlock()
			all[w.Image] = source
			return nil
		})
	}
	_ = asking.Wait() // always nil: the errors are in the sources
	return all
}

// resolve asks the registry what the image's name points to now.
func (s *Store) resolve(ctx context.Context, image string) state.Source {
	asking, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	resolver := s.resolver(asking)
	name, target, err := resolver.Resolve(asking, image)
	if err == nil {
		err = s.inspect(asking, resolver, name, target)
	}
	if err == nil {
		return state.Source{Digest: target.Digest.String()}
	}
	source := state.Source{Err: s.registryError(image, err).Error()}
	var unusable *unusableError
	var missing *notFoundError
	source.Wrong = errors.As(err, &unusable) || errors.As(err, &missing)
	if busy, ok := errors.AsType[*plan.BusyError](err); ok {
		source.Busy = busy.At
	}
	return source
}

// pin gives an image a second name, with its digest, and returns that name. A tag may
// move to another image; a container keeps its image by this name.
func (s *Store) pin(ctx context.Context, image core.Image) (string, error) {
	named, err := reference.ParseDockerRef(image.Name)
	if err != nil {
		return image.Name, nil // a name that only this containerd knows
	}
	if _, pinned := named.(reference.Digested); pinned {
		return image.Name, nil
	}
	byDigest, err := reference.WithDigest(reference.TrimNamed(named), image.Target.Digest)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", image.Name, err)
	}
	image.Name = byDigest.String()
	_, err = s.config.Client.ImageService().Create(ctx, image)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return "", fmt.Errorf("image %s: %w", image.Name, s.config.Explain(err))
	}
	return image.Name, nil
}

// unpacked is an image that containerd has. It is unpacked if it was not.
func (s *Store) unpacked(ctx context.Context, name string) (client.Image, error) {
	image, err := s.config.Client.GetImage(ctx, name)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("image %s is not in containerd (apply again to fetch it): %w", name, err)
		}
		return nil, fmt.Errorf("image %s: %w", name, s.config.Explain(err))
	}
	ready, err := image.IsUnpacked(ctx, s.config.Snapshotter)
	if err == nil && !ready {
		err = image.Unpack(ctx, s.config.Snapshotter)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: unpack: %w", name, s.config.Explain(readable(err)))
	}
	return image, nil
}

// readable says of an image whose configuration is no JSON that it is none.
func readable(err error) error {
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Errorf("it is not a container image: its configuration is not JSON (choose another image, or build it again): %w", syntax)
	}
	return err
}
