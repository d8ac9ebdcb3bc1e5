package images_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// observed is what is known of an image.
func (b *bench) observed(image string) state.Image {
	b.t.Helper()
	w := spec.Default()
	w.Image = image
	all, err := b.Images(b.t.Context(), []spec.Workspace{w})
	b.must(err)
	return all[image]
}

// imported is the name in containerd of an image of an archive, which is imported.
func (b *bench) imported(image string) string {
	b.t.Helper()
	w := spec.Workspace{Image: image}
	archive, _ := w.Archive()
	found := b.observed(image)
	if found.Err != "" {
		b.t.Fatalf("%s: %s", image, found.Err)
	}
	b.must(b.ImportImage(b.t.Context(), plan.ImportImage{Archive: archive, Digest: found.Source, Name: found.Name}))
	return found.Name
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	hash, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// listed is an index with entries that have annotations and perhaps a platform.
func listed(entries ...mutate.IndexAddendum) v1.ImageIndex {
	return mutate.AppendManifests(empty.Index, entries...)
}

func entry(add mutate.Appendable, annotations map[string]string, platform *v1.Platform) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: add, Descriptor: v1.Descriptor{Annotations: annotations, Platform: platform}}
}

func tag(name string) map[string]string {
	return map[string]string{"org.opencontainers.image.ref.name": name}
}

// saved is how docker save names an image.
func saved(repository, tag string) map[string]string {
	return map[string]string{"io.containerd.image.name": "docker.io/library/" + repository + ":" + tag, "org.opencontainers.image.ref.name": tag}
}

func TestArchivesOfSeveralImages(t *testing.T) {
	b := newBench(t)
	one, two := drivertest.Image(t, v1.Config{User: "1"}), drivertest.Image(t, v1.Config{User: "2"})
	platform, arm, here := func(text string) *v1.Platform { return &v1.Platform{OS: "linux", Architecture: text} }, "s390x", hostPlatform(t)
	attestation := entry(two, nil, &v1.Platform{OS: "unknown", Architecture: "unknown"})
	for name, test := range map[string]struct {
		index   v1.ImageIndex
		tag     string
		want    v1.Image
		wantErr string
	}{
		"one":                    {index: listed(entry(one, nil, nil)), want: one},
		"one under two tags":     {index: listed(entry(one, tag("v1"), nil), entry(one, tag("latest"), nil)), want: one},
		"one of two tags":        {index: listed(entry(one, tag("v1"), nil), entry(one, tag("latest"), nil)), tag: "latest", want: one},
		"two":                    {index: listed(entry(one, tag("v1"), nil), entry(two, tag("v2"), nil)), wantErr: "it has 2 images: v1, v2 (choose one: oci-archive:FILE:v1)"},
		"the second":             {index: listed(entry(one, tag("v1"), nil), entry(two, tag("v2"), nil)), tag: "v2", want: two},
		"none of two":            {index: listed(entry(one, tag("v1"), nil), entry(two, tag("v2"), nil)), tag: "v3", wantErr: "it has no image v3 (it has v1, v2)"},
		"none of one":            {index: listed(entry(one, nil, nil)), tag: "v3", wantErr: "it has no image v3 (it has " + digest(t, one) + ")"},
		"by digest":              {index: listed(entry(one, nil, nil), entry(two, nil, nil)), tag: digest(t, two), want: two},
		"two without names":      {index: listed(entry(one, nil, nil), entry(two, nil, nil)), wantErr: "it has 2 images: " + digest(t, one) + ", " + digest(t, two)},
		"two with one name":      {index: listed(entry(one, tag("v1"), nil), entry(two, tag("v1"), nil)), tag: "v1", wantErr: "it has 2 images: " + digest(t, one)},
		"saved, by its tag":      {index: listed(entry(one, saved("bot", "1"), nil), entry(two, saved("bot", "2"), nil)), tag: "2", want: two},
		"saved, by its name":     {index: listed(entry(one, saved("bot", "1"), nil), entry(two, saved("web", "1"), nil)), tag: "web:1", want: two},
		"saved, by a full name":  {index: listed(entry(one, saved("bot", "1"), nil), entry(two, saved("web", "1"), nil)), tag: "docker.io/library/web:1", want: two},
		"saved, by half a name":  {index: listed(entry(one, saved("bot", "1"), nil), entry(two, saved("web", "1"), nil)), tag: "1", wantErr: "it has 2 images: docker.io/library/bot:1, docker.io/library/web:1"},
		"for this platform":      {index: listed(entry(two, nil, platform(arm)), entry(one, nil, here)), want: one},
		"for others":             {index: listed(entry(two, nil, platform(arm))), wantErr: "it has linux/s390x, this host needs linux/" + here.Architecture},
		"the tag is for others":  {index: listed(entry(two, tag("v2"), platform(arm)), entry(one, tag("v1"), here)), tag: "v2", wantErr: "it has linux/s390x, this host needs "},
		"with an attestation":    {index: listed(entry(one, nil, here), attestation), want: one},
		"only an attestation":    {index: listed(attestation), wantErr: "its index lists only attestations"},
		"empty":                  {index: listed(), wantErr: "its index lists no image"},
		"an index for others":    {index: listed(entry(drivertest.Index(t, two, "linux/s390x"), nil, nil)), wantErr: "it has linux/s390x, this host needs "},
		"an index for this host": {index: listed(entry(drivertest.Index(t, one, "linux/"+here.Architecture), nil, nil))},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{Store: b.Store, t: t, server: b.server, dir: t.TempDir(), raw: b.raw}
			file := filepath.Join(b.dir, "images.tar")
			drivertest.ArchiveIndex(t, file, test.index)
			image := spec.ArchivePrefix + spec.Archive{File: file, Tag: test.tag}.String()
			found := b.observed(image)
			if test.wantErr != "" {
				if want := strings.ReplaceAll(test.wantErr, "FILE", file); !strings.Contains(found.Err, want) || strings.Contains(found.Err, "\n") {
					t.Errorf("the error is %q, want %q", found.Err, want)
				}
				return
			}
			if test.want != nil && found.Source != digest(t, test.want) {
				t.Errorf("found as %+v, want %s", found, digest(t, test.want))
			}
			b.imported(image)
		})
	}
}

func hostPlatform(t *testing.T) *v1.Platform {
	t.Helper()
	config, err := drivertest.Image(t, v1.Config{}).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return &v1.Platform{OS: "linux", Architecture: config.Architecture}
}

func TestCompressedArchives(t *testing.T) {
	for _, ending := range []string{"gz", "zst"} {
		t.Run(ending, func(t *testing.T) {
			b := newBench(t)
			file := filepath.Join(b.dir, "images.tar."+ending)
			image := drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir))
			drivertest.ArchiveIndex(t, file, listed(entry(image, nil, nil)))
			b.create("ours", b.imported(spec.ArchivePrefix+file))

			other := drivertest.Image(t, v1.Config{User: "1"})
			drivertest.ArchiveIndex(t, file, listed(entry(other, nil, nil)))
			if got := b.observed(spec.ArchivePrefix + file).Source; got != digest(t, other) {
				t.Errorf("after it was written again it is %s", got)
			}
			text, err := os.ReadFile(file)
			b.must(err)
			b.must(os.WriteFile(file, text[:len(text)/2], 0o644))
			if got := b.observed(spec.ArchivePrefix + file).Err; got != "it ends in the middle (copy or write it again)" {
				t.Errorf("half of it: the error is %q", got)
			}
		})
	}
}

func TestFilesThatAreNoArchives(t *testing.T) {
	b := newBench(t)
	write := func(name, text string) {
		b.must(os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644))
	}
	write("empty", "")
	write("text", "text")
	write("xz", "\xfd7zXZ\x00...")
	write("gzip", "\x1f\x8b\x08 but not really")
	write("a:b", "text")
	for name, want := range map[string]string{
		"empty":    "it is empty",
		"text":     "it is not an OCI archive: ",
		"xz":       "it is compressed with xz or bzip2 (unpack it, or use gzip or zstd)",
		"gzip":     "it is not an OCI archive: ",
		".":        "it is not a file (",
		"none":     "no such file or directory",
		"none:tag": "no such file or directory (if the name of the file has a colon, write two after it: \"oci-archive:" + b.dir + "/none:tag::\")",
		"a:b::":    "it is not an OCI archive: ",
	} {
		if got := b.observed(spec.ArchivePrefix + b.dir + "/" + name).Err; !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%s: the error is %q, want %q", name, got, want)
		}
	}
}

// What an archive lacks in its middle shows only when it is imported.
func TestAnArchiveWithoutALayer(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "images.tar")
	image := drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir))
	drivertest.ArchiveIndex(t, file, listed(entry(image, nil, nil)))
	found := b.observed(spec.ArchivePrefix + file)
	layers, err := image.Layers()
	b.must(err)
	drivertest.Without(t, file, "blobs/sha256/"+strings.TrimPrefix(digest(t, layers[0]), "sha256:"))
	err = b.ImportImage(t.Context(), plan.ImportImage{Archive: spec.Archive{File: file}, Digest: found.Source, Name: found.Name})
	if err == nil || !strings.Contains(err.Error(), "a part of the image is missing or damaged (copy or write it again)") {
		t.Errorf("the error is %v", err)
	}
	if got := b.observed(spec.ArchivePrefix + file); got.Digest != "" {
		t.Errorf("it is taken for whole: %+v", got)
	}
	drivertest.ArchiveIndex(t, file, listed(entry(image, nil, nil)))
	b.create("ours", b.imported(spec.ArchivePrefix+file))
}
