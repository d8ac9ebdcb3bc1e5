package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// archiveOf builds an archive and returns its content.
func archiveOf(t *testing.T, version string) []byte {
	t.Helper()
	dir := t.TempDir()
	program, out := filepath.Join(dir, "bot"), filepath.Join(dir, "bot.tar")
	if err := os.WriteFile(program, []byte("the program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(program, version, out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSameInputSameArchive(t *testing.T) {
	if first, second := archiveOf(t, "v1"), archiveOf(t, "v1"); !bytes.Equal(first, second) {
		t.Error("two archives of one program and version differ")
	}
	if first, second := archiveOf(t, "v1"), archiveOf(t, "v2"); bytes.Equal(first, second) {
		t.Error("the archives of two versions are the same")
	}
}

func TestImageIsWhatAWorkspaceNeeds(t *testing.T) {
	image := imageOf(t, archiveOf(t, "v7"))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/bot"}, Env: []string{"PATH=/", "BOT_VERSION=v7"},
		User: "1000:1000", WorkingDir: "/data", StopSignal: "SIGTERM",
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	files, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	type file struct {
		Name string
		Mode int64
		UID  int
	}
	var got []file
	eachEntry(t, files, func(header *tar.Header, _ io.Reader) {
		got = append(got, file{header.Name, header.Mode, header.Uid})
	})
	wantFiles := []file{{"bot", 0o755, 0}, {"data/", 0o750, user}, {"data/README", 0o644, user}}
	if diff := cmp.Diff(wantFiles, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestMissingAgentIsSaid(t *testing.T) {
	err := build(filepath.Join(t.TempDir(), "none"), "v1", filepath.Join(t.TempDir(), "out.tar"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}

// imageOf unpacks an archive and reads its only image.
func imageOf(t *testing.T, archive []byte) v1.Image {
	t.Helper()
	dir := t.TempDir()
	eachEntry(t, bytes.NewReader(archive), func(header *tar.Header, content io.Reader) {
		path := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(header.Name, "/")))
		text, err := io.ReadAll(content)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	})
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("index %+v, %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func eachEntry(t *testing.T, archive io.Reader, visit func(header *tar.Header, content io.Reader)) {
	t.Helper()
	for r := tar.NewReader(archive); ; {
		header, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(header, r)
	}
}
