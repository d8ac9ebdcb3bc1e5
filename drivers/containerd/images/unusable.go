package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unusableError is why this host cannot use what a registry or an archive has. Asking
// again does not help until that is another image.
type unusableError struct{ text string }

func (e *unusableError) Error() string { return e.text }

// checkType reports that what a registry has under a name is no image.
func checkType(mediaType string) error {
	switch {
	case core.IsManifestType(mediaType), core.IsIndexType(mediaType):
		return nil
	case mediaType == "text/html":
		return &unusableError{"its address answers with a web page, as no registry does (check the name of the registry; a proxy may ask for a login)"}
	case strings.HasPrefix(mediaType, schema1):
		return &unusableError{"its manifest has schema 1, which containerd does not read any more (push it again with a newer docker)"}
	}
	return artifact(mediaType)
}

// schema1 begins the media types of manifests that docker wrote until 2016.
const schema1 = "application/vnd.docker.distribution.manifest.v1+"

// checkDocument reports that a manifest or an index has nothing for this host.
func checkDocument(mediaType string, text []byte) error {
	var document struct {
		Config    ocispec.Descriptor   `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return &unusableError{fmt.Sprintf("its manifest cannot be read (push or write it again): %s", err)}
	}
	if core.IsIndexType(mediaType) {
		_, err := forThisHost(document.Manifests)
		return err
	}
	if !core.IsManifestType(mediaType) {
		return nil
	}
	if config := document.Config.MediaType; !core.IsConfigType(config) && config != docker.LegacyConfigMediaType {
		return artifact(config)
	}
	for _, layer := range document.Layers {
		if !core.IsLayerType(layer.MediaType) {
			return artifact(layer.MediaType)
		}
	}
	return nil
}

// artifact is something that registries keep beside images, such as a chart or a
// signature.
func artifact(mediaType string) error {
	return &unusableError{fmt.Sprintf("it is no container image but %q (check the name and the tag)", mediaType)}
}

// checked refuses what is no image for this host before its layers are fetched.
func (s *Store) checked(next core.Handler) core.Handler {
	return core.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := next.Handle(ctx, desc)
		if !core.IsManifestType(desc.MediaType) && !core.IsIndexType(desc.MediaType) {
			return children, err
		}
		text, unread := content.ReadBlob(ctx, s.config.Client.ContentStore(), desc)
		if unread != nil {
			return children, err // which says why
		}
		if wrong := checkDocument(desc.MediaType, text); wrong != nil {
			return nil, wrong
		}
		return children, err
	})
}

// inspect reports that what a name points to in a registry cannot be used by this
// host. Each digest is fetched once. That it cannot be fetched is left to the pull.
func (s *Store) inspect(ctx context.Context, from remotes.Resolver, name string, target ocispec.Descriptor) error {
	if known, ok := s.wrong.Load(target.Digest); ok {
		return known.(inspected).err
	}
	text, err := content.ReadBlob(ctx, s.config.Client.ContentStore(), target)
	if err != nil {
		text, err = download(ctx, from, name, target)
	}
	if err != nil {
		return nil
	}
	err = checkDocument(target.MediaType, text)
	s.wrong.Store(target.Digest, inspected{err})
	return err
}

// inspected is what is wrong with a manifest; nil when nothing is.
type inspected struct{ err error }

// download fetches a manifest or an index.
func download(ctx context.Context, from remotes.Resolver, name string, target ocispec.Descriptor) ([]byte, error) {
	fetcher, err := from.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	blob, err := fetcher.Fetch(ctx, target)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	text, err := io.ReadAll(io.LimitReader(blob, maxDocument))
	if err == nil && target.Digest.Algorithm().FromBytes(text) != target.Digest {
		err = errors.New("it has another digest")
	}
	return text, err
}
