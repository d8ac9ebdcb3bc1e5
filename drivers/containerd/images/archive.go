package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/plan"
)

// maxIndex limits how much of an archive's index is read: it lists one image.
const maxIndex = 1 << 20

// archiveDigest is the digest of the only image in an OCI archive (the OCI image
// layout in a tar file, not compressed). The blobs are not read.
func archiveDigest(file string) (digest.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	for entries := tar.NewReader(f); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("it is not an OCI archive: it has no index.json (docker save of version 25 on, and skopeo, write one)")
		}
		if err != nil {
			return "", fmt.Errorf("it is not an OCI archive: %w", err)
		}
		if path.Clean(entry.Name) == ocispec.ImageIndexFile {
			return oneImage(io.LimitReader(entries, maxIndex))
		}
	}
}

func oneImage(r io.Reader) (digest.Digest, error) {
	var index ocispec.Index
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return "", fmt.Errorf("its index.json: %w", err)
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("its index.json lists %d images, and one is needed", len(index.Manifests))
	}
	if err := index.Manifests[0].Digest.Validate(); err != nil {
		return "", fmt.Errorf("its index.json: digest: %w", err)
	}
	return index.Manifests[0].Digest, nil
}

// ImportImage loads an archive of the host. The image gets the name of the step.
func (s *Store) ImportImage(ctx context.Context, step plan.ImportImage) error {
	found, err := archiveDigest(step.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", step.Path, err)
	}
	if found.String() != step.Digest {
		return fmt.Errorf("%s has changed since it was planned (plan again)", step.Path)
	}
	return s.leased(ctx, func(ctx context.Context) error {
		f, err := os.Open(step.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = s.config.Client.Import(ctx, f,
			client.WithImageRefTranslator(func(string) string { return "" }),
			client.WithDigestRef(func(content digest.Digest) string {
				if content != found {
					return ""
				}
				return step.Name
			}),
		)
		if err != nil {
			return fmt.Errorf("%s: %w", step.Path, s.config.Explain(err))
		}
		_, err = s.unpacked(ctx, step.Name)
		return err
	})
}
