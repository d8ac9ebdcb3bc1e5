package images

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// resolver finds registries as containerd's own tools do: by folders with hosts.toml,
// and with the credentials of docker's config file.
func (s *Store) resolver(ctx context.Context) resolver {
	found := docker.NewResolver(docker.ResolverOptions{Hosts: func(name string) ([]docker.RegistryHost, error) {
		options, configured := config.HostOptions{Credentials: credentials}, false
		if s.config.HostsDir != "" {
			options.HostDir = config.HostDirFromRoot(s.config.HostsDir)
			_, err := os.Stat(filepath.Dir(s.hostsFile(name)))
			configured = err == nil
		}
		plain := local(name) && !configured // what hosts.toml says counts
		if plain {
			options.UpdateClient = handshakeSoon
		}
		hosts, err := config.ConfigureHosts(ctx, options)(name)
		s.wrap(hosts, plain)
		return hosts, err
	}})
	return resolver{found.(remotes.ResolverWithOptions)}
}

func handshakeSoon(c *http.Client) error {
	if t, ok := c.Transport.(*http.Transport); ok {
		t.TLSHandshakeTimeout = localHandshake
	}
	return nil
}

// wrap changes how requests to the hosts of a registry are sent. The last host may be
// asked over plain http.
func (s *Store) wrap(hosts []docker.RegistryHost, plain bool) {
	hurried := map[string]bool{}
	for i, host := range hosts {
		hurried[host.Host] = i < len(hosts)-1
	}
	wrapped := map[*http.Client]bool{}
	for _, host := range hosts {
		if wrapped[host.Client] { // hosts share clients
			continue
		}
		wrapped[host.Client] = true
		sends := host.Client.Transport
		if plain {
			sends = &plainLocal{next: sends, host: hosts[len(hosts)-1].Host}
		}
		host.Client.Transport = &patient{next: onlyRegistries{sends}, refused: &s.refused, hurried: hurried}
	}
}

// resolver accepts only images.
type resolver struct{ remotes.ResolverWithOptions }

func (r resolver) Resolve(ctx context.Context, ref string) (string, ocispec.Descriptor, error) {
	name, target, err := r.ResolverWithOptions.Resolve(ctx, ref)
	switch {
	case err == nil:
		err = checkType(target.MediaType)
	case errdefs.IsNotImplemented(err): // containerd's word for schema 1
		err = checkType(schema1)
	case errdefs.IsNotFound(err):
		err = &notFoundError{err}
	}
	return name, target, err
}

// credentials are those that docker login stored for a registry.
func credentials(host string) (user, secret string, err error) {
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
