package images

import (
	"encoding/json"
	"fmt"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// unusableError is why this host cannot use what a registry or an archive has. Asking
// again does not help until that is another image.
type unusableError struct{ text string }

func (e *unusableError) Error() string { return e.text }

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
