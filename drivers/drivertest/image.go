package drivertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// guest is the program of all test images, built once: see package guest.
var guest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "guest")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "carrel/drivers/drivertest/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest: %w: %s", err, out)
	}
	return os.ReadFile(binary)
})

// Image makes an image that has the guest as /guest, and the given files. The command
// is "/guest serve" unless the configuration has another one.
func Image(t testing.TB, config v1.Config, files ...tar.Header) v1.Image {
	t.Helper()
	program, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	if config.Entrypoint == nil && config.Cmd == nil {
		config.Entrypoint, config.Cmd = []string{"/guest"}, []string{"serve"}
	}
	if config.Env == nil {
		config.Env = []string{"PATH=/"}
	}
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	write := func(header tar.Header, content []byte) {
		header.Size = int64(len(content))
		if err := errors.Join(w.WriteHeader(&header), second(w.Write(content))); err != nil {
			t.Fatal(err)
		}
	}
	write(tar.Header{Name: "guest", Mode: 0o755, Typeflag: tar.TypeReg}, program)
	for _, header := range files {
		content := []byte(header.PAXRecords[Content])
		header.PAXRecords = nil
		write(header, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return configured(t, config, layer)
}

func configured(t testing.TB, config v1.Config, layer v1.Layer) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	whole.OS, whole.Architecture, whole.Config = "linux", runtime.GOARCH, config
	if image, err = mutate.ConfigFile(image, whole); err != nil {
		t.Fatal(err)
	}
	return image
}

// Content is the key of the PAX record in which File puts the content of a file.
const Content = "CARREL.content"

// File is a file of an image.
func File(name string, mode int64, uid int, content string) tar.Header {
	return tar.Header{Name: name, Mode: mode, Uid: uid, Gid: uid, Typeflag: tar.TypeReg, PAXRecords: map[string]string{Content: content}}
}

// Folder is a folder of an image.
func Folder(name string, mode int64, uid int) tar.Header {
	return tar.Header{Name: name + "/", Mode: mode, Uid: uid, Gid: uid, Typeflag: tar.TypeDir}
}

// Index is an index that lists an image for each of the platforms, such as
// linux/arm64; unknown/unknown is that of attestations.
func Index(t testing.TB, image v1.Image, on ...string) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, text := range on {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index
}

// Archive writes an image as an OCI archive.
func Archive(t testing.TB, path string, image v1.Image) {
	t.Helper()
	ArchiveIndex(t, path, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image}))
}

// ArchiveNamed writes images, by their tags, as an OCI archive.
func ArchiveNamed(t testing.TB, path string, images map[string]v1.Image) {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, tag := range slices.Sorted(maps.Keys(images)) {
		named := v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": tag}}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: images[tag], Descriptor: named})
	}
	ArchiveIndex(t, path, index)
}

// ArchiveIndex writes an index as an OCI archive, compressed when the path ends in .gz
// or .zst.
func ArchiveIndex(t testing.TB, path string, index v1.ImageIndex) {
	t.Helper()
	dir := t.TempDir()
	if _, err := layout.Write(dir, index); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := compress(f, filepath.Ext(path))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(compressed)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), compressed.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func compress(w io.Writer, kind string) (io.WriteCloser, error) {
	switch kind {
	case ".gz":
		return gzip.NewWriter(w), nil
	case ".zst":
		return zstd.NewWriter(w)
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

func second[T any](_ T, err error) error { return err }

// Without writes an archive again, without one of its files.
func Without(t testing.TB, archive, name string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name == name {
			continue
		}
		if err := errors.Join(w.WriteHeader(header), second(io.Copy(w, r))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(archive, buffer.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}
