package drivertest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
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

// Archive writes an image as an OCI archive.
func Archive(t testing.TB, path string, image v1.Image) {
	t.Helper()
	dir := t.TempDir()
	index, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := index.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }
