package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/plan"
)

// progressEvery is how often the bytes of a pull are looked up.
const progressEvery = 200 * time.Millisecond

// PullImage fetches an image, unpacks it, and names it by its tag and by its
// digest. A download that an earlier run left half-done is gone on with, or
// thrown away when the registry cannot.
func (d *Driver) PullImage(ctx context.Context, s plan.PullImage, progress func(layer string, done, total int64)) error {
	return d.leased(ctx, func(ctx context.Context) error {
		image, err := d.pull(ctx, s.Image, progress)
		if err != nil && ctx.Err() == nil && d.dropPartial(ctx) {
			image, err = d.pull(ctx, s.Image, progress)
		}
		if err != nil {
			return d.explain(registryError(s.Image, err))
		}
		_, err = d.pin(ctx, image.Metadata())
		return err
	})
}

func (d *Driver) pull(ctx context.Context, ref string, progress func(layer string, done, total int64)) (client.Image, error) {
	layers := &layers{size: map[string]int64{}}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if progress != nil {
		watching.Go(func() { d.watch(ctx, layers, progress) })
	}
	return d.client.Pull(ctx, ref,
		client.WithResolver(d.resolver(ctx)),
		client.WithPullUnpack,
		client.WithPullSnapshotter(d.Snapshotter),
		client.WithImageHandlerWrapper(layers.wrap),
	)
}

// layers are the layers of an image that is being pulled, as they are found.
type layers struct {
	mu   sync.Mutex
	size map[string]int64 // by digest
}

func (l *layers) wrap(next images.Handler) images.Handler {
	return images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if images.IsLayerType(desc.MediaType) {
			l.mu.Lock()
			l.size[desc.Digest.String()] = desc.Size
			l.mu.Unlock()
		}
		return next.Handle(ctx, desc)
	})
}

// watch reports the bytes of the layers until ctx ends. It asks the content
// store, which every containerd has, and not the transfer service.
func (d *Driver) watch(ctx context.Context, l *layers, progress func(layer string, done, total int64)) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		active, err := d.client.ContentStore().ListStatuses(ctx)
		if err != nil {
			return // progress is a courtesy: the pull itself says what is wrong
		}
		for _, ingest := range active {
			layer := strings.TrimPrefix(ingest.Ref, "layer-")
			l.mu.Lock()
			size, ours := l.size[layer]
			l.mu.Unlock()
			if ours {
				progress(layer, ingest.Offset, size)
			}
		}
	}
}

// dropPartial throws away downloads that are half-done and reports whether
// there were any.
func (d *Driver) dropPartial(ctx context.Context) bool {
	store := d.client.ContentStore()
	active, err := store.ListStatuses(ctx)
	if err != nil {
		return false
	}
	dropped := false
	for _, ingest := range active {
		if strings.HasPrefix(ingest.Ref, "layer-") || strings.HasPrefix(ingest.Ref, "config-") || strings.HasPrefix(ingest.Ref, "manifest-") {
			dropped = store.Abort(ctx, ingest.Ref) == nil || dropped
		}
	}
	return dropped
}

// resolver finds registries as containerd's own tools do: hosts.toml folders,
// plain HTTP on loopback, and the credentials of docker's config file.
func (d *Driver) resolver(ctx context.Context) remotes.Resolver {
	options := config.HostOptions{Credentials: d.credentials}
	if d.HostsDir != "" {
		options.HostDir = config.HostDirFromRoot(d.HostsDir)
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, options)})
}

// credentials are what docker login left for a registry's host.
func (d *Driver) credentials(host string) (user, secret string, err error) {
	if host == "registry-1.docker.io" {
		host = "docker.io"
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return "", "", fmt.Errorf("registry %s: %w", host, err)
	}
	found, err := authn.DefaultKeychain.Resolve(registry)
	if err != nil {
		return "", "", fmt.Errorf("credentials for %s: %w", host, err)
	}
	login, err := found.Authorization()
	if err != nil {
		return "", "", fmt.Errorf("credentials for %s: %w", host, err)
	}
	if login.IdentityToken != "" {
		return "", login.IdentityToken, nil
	}
	return login.Username, login.Password, nil
}

// registryError says in one line why a registry did not give an image.
func registryError(ref string, err error) error {
	host, _, _ := strings.Cut(ref, "/")
	var answer remoteerrors.ErrUnexpectedStatus
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, docker.ErrInvalidAuthorization),
		errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("registry %s refuses image %s: it needs credentials, or other ones (docker login %s): %w", host, ref, host, brief(err))
	case errdefs.IsNotFound(err):
		return fmt.Errorf("image %s was not found in its registry (check the name and the tag): %w", ref, brief(err))
	case errors.As(err, &network):
		return fmt.Errorf("registry %s cannot be reached: %w", host, brief(err))
	}
	return fmt.Errorf("image %s: %w", ref, err)
}

// brief keeps an error's identity and says only its innermost words: the outer
// ones repeat the image's name.
func brief(err error) error {
	inner := err
	for next := errors.Unwrap(inner); next != nil; next = errors.Unwrap(inner) {
		inner = next
	}
	return &said{words: strings.ReplaceAll(inner.Error(), "\n", "; "), err: err}
}

type said struct {
	words string
	err   error
}

func (s *said) Error() string { return s.words }
func (s *said) Unwrap() error { return s.err }
