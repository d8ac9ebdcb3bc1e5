package drivertest

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// OfPlatform is an image that says it is for another platform.
func OfPlatform(t testing.TB, image v1.Image, system, architecture string) v1.Image {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = system, architecture
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// Artifact is no image for containers, but something else that registries keep.
func Artifact(image v1.Image) v1.Image {
	return mutate.ConfigMediaType(image, types.MediaType("application/vnd.cncf.helm.config.v1+json"))
}

// WithConfig is an image whose configuration is any text.
func WithConfig(image v1.Image, text string) v1.Image { return odd{image, []byte(text)} }

type odd struct {
	v1.Image
	config []byte
}

func (o odd) RawConfigFile() ([]byte, error)      { return o.config, nil }
func (o odd) ConfigName() (v1.Hash, error)        { return partial.ConfigName(o) }
func (o odd) RawManifest() ([]byte, error)        { return partial.RawManifest(o) }
func (o odd) Digest() (v1.Hash, error)            { return partial.Digest(o) }
func (o odd) Size() (int64, error)                { return partial.Size(o) }
func (o odd) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(o) }

func (o odd) Manifest() (*v1.Manifest, error) {
	manifest, err := o.Image.Manifest()
	if err != nil {
		return nil, err
	}
	changed := manifest.DeepCopy()
	name, err := o.ConfigName()
	if err != nil {
		return nil, err
	}
	changed.Config.Digest, changed.Config.Size = name, int64(len(o.config))
	return changed, nil
}
