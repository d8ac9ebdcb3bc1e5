package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// inspectArchive fills in what an archive of the host holds.
func (s *Store) inspectArchive(ctx context.Context, archive spec.Archive, image *state.Image) {
	found, err := s.imageIn(ctx, archive)
	if err != nil {
		image.Err = err.Error()
		return
	}
	image.Source = found.Digest.String()
	image.Name = archiveRepository + "@" + image.Source
}

// imageIn finds the image in an archive that a spec means. The error does not have
// the name of the file.
func (s *Store) imageIn(ctx context.Context, archive spec.Archive) (ocispec.Descriptor, error) {
	all, err := s.scans.scan(ctx, archive.File)
	if errors.Is(err, os.ErrNotExist) && archive.Tag != "" {
		return ocispec.Descriptor{}, fmt.Errorf("%w (if the name of the file has a colon, write two after it: %q)",
			err, spec.ArchivePrefix+archive.String()+"::")
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	found, err := all.choose(archive)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return found, all.check(found)
}

// ImportImage loads an archive of the host. The image gets the name of the step.
func (s *Store) ImportImage(ctx context.Context, step plan.ImportImage) error {
	file := step.Archive.File
	found, err := s.imageIn(ctx, step.Archive)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if found.Digest.String() != step.Digest {
		return fmt.Errorf("%s has changed since it was planned (plan again)", file)
	}
	return s.leased(ctx, func(ctx context.Context) error {
		plain, err := openArchive(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		defer plain.Close()
		_, err = s.config.Client.Import(ctx, plain,
			client.WithImageRefTranslator(func(string) string { return "" }),
			client.WithDigestRef(func(content digest.Digest) string {
				if content != found.Digest {
					return ""
				}
				return step.Name
			}),
		)
		if err == nil {
			_, err = s.unpacked(ctx, step.Name)
		}
		if err == nil {
			return nil
		}
		CleanUp(ctx, func(ctx context.Context) error { // or the next plan would take it for whole
			return s.config.Client.ImageService().Delete(ctx, step.Name)
		})
		return fmt.Errorf("%s: %w", file, s.config.Explain(importError(err)))
	})
}

// importError says what is wrong with an archive that could not be imported.
func importError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it ends in the middle (copy or write it again): %w", err)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("a part of the image is missing or damaged (copy or write it again): %w", err)
	}
	return err
}
