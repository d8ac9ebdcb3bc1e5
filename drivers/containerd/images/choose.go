package images

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/spec"
)

// maxNamed is how many names a message lists.
const maxNamed = 8

// choose finds the image that a spec means among those of an archive. An image that
// is listed under several names, or for several platforms, is one image.
func (c contents) choose(archive spec.Archive) (ocispec.Descriptor, error) {
	listed := slices.DeleteFunc(slices.Clone(c.index.Manifests), func(m ocispec.Descriptor) bool {
		return m.Annotations[core.AnnotationManifestSubject] != "" // it is about another one
	})
	found := listed
	if archive.Tag != "" {
		found = tagged(listed, archive.Tag)
	}
	if len(found) == 0 && len(listed) > 0 {
		return ocispec.Descriptor{}, fmt.Errorf("it has no image %s (it has %s)", archive.Tag, join(names(listed)))
	}
	here, err := forThisHost(found)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	one := func(m ocispec.Descriptor) bool {
		return m.Digest == here[0].Digest || m.Platform != nil && here[0].Platform != nil && slices.Equal(namesOf(m), namesOf(here[0]))
	}
	if slices.ContainsFunc(here, func(m ocispec.Descriptor) bool { return !one(m) }) {
		all := names(here)
		if len(all) == 1 { // of several images
			all = digests(here)
		}
		archive.Tag = all[0]
		return ocispec.Descriptor{}, fmt.Errorf("it has %d images: %s (choose one: %s%s)", len(all), join(all), spec.ArchivePrefix, archive)
	}
	return here[0], nil
}

// check reports what is wrong with an image of an archive, as far as its documents
// tell.
func (c contents) check(image ocispec.Descriptor) error {
	text, known := c.documents[image.Digest]
	if !known {
		return nil // the import tells
	}
	if image.Digest != digest.FromBytes(text) && image.Digest.Algorithm() == digest.Canonical {
		return errors.New("its manifest is damaged (copy or write it again)")
	}
	return checkDocument(image.MediaType, text)
}

// tagged are the images that have a name. A part of a name counts only when no image
// has the whole.
func tagged(all []ocispec.Descriptor, tag string) []ocispec.Descriptor {
	having := func(matches func(name string) bool) (found []ocispec.Descriptor) {
		for _, m := range all {
			if slices.ContainsFunc(append(namesOf(m), m.Digest.String()), matches) {
				found = append(found, m)
			}
		}
		return found
	}
	if found := having(func(name string) bool { return name == tag }); len(found) > 0 {
		return found
	}
	wanted, err := reference.ParseDockerRef(tag)
	return having(func(name string) bool {
		named, unnamed := reference.ParseDockerRef(name)
		if unnamed != nil {
			return false
		}
		part, ok := named.(reference.Tagged)
		return ok && part.Tag() == tag || err == nil && named.String() == wanted.String()
	})
}

// namesOf are the names of an image of an archive, the longest first.
func namesOf(m ocispec.Descriptor) (all []string) {
	for _, key := range []string{core.AnnotationImageName, ocispec.AnnotationRefName} {
		if name := m.Annotations[key]; name != "" {
			all = append(all, name)
		}
	}
	return all
}

// names are names by which each of several images can be chosen: without a name, by
// its digest.
func names(images []ocispec.Descriptor) (all []string) {
	for _, m := range images {
		name := append(namesOf(m), m.Digest.String())[0]
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func digests(images []ocispec.Descriptor) (all []string) {
	for _, m := range images {
		if !slices.Contains(all, m.Digest.String()) {
			all = append(all, m.Digest.String())
		}
	}
	return all
}

func join(names []string) string {
	if len(names) > maxNamed {
		return strings.Join(names[:maxNamed], ", ") + fmt.Sprintf(" and %d more", len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}

// forThisHost are the images of an index that this host can run, the best one first.
func forThisHost(all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if len(all) == 0 {
		return nil, &unusableError{"its index lists no image (push or write it again)"}
	}
	host := platforms.Default()
	var here []ocispec.Descriptor
	var others []string
	for _, m := range all {
		switch {
		case m.Platform == nil || host.Match(*m.Platform):
			here = append(here, m)
		case m.Platform.OS == "unknown": // an attestation
		case !slices.Contains(others, platforms.Format(*m.Platform)):
			others = append(others, platforms.Format(*m.Platform))
		}
	}
	if len(here) == 0 {
		return nil, noneForThisHost(others)
	}
	slices.SortStableFunc(here, func(a, b ocispec.Descriptor) int {
		switch {
		case a.Platform == nil || b.Platform == nil:
			return 0
		case host.Less(*a.Platform, *b.Platform):
			return -1
		case host.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return here, nil
}

// noneForThisHost says for which platforms an index has images instead.
func noneForThisHost(others []string) error {
	if len(others) == 0 {
		return &unusableError{"its index lists only attestations, and no image (push it again, with its image)"}
	}
	needed := platforms.Format(platforms.DefaultSpec())
	return &unusableError{fmt.Sprintf("it has %s, this host needs %s (choose another tag, or build it for %s)", join(others), needed, needed)}
}
