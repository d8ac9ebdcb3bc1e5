// Command image puts the example bot into an OCI archive, without a registry
// and without any other tool.
//
//	go run ./examples/bot/image -program bin/bot -version v1 -o bot-v1.tar
//
// The same program and version give the same digest.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is the user of the bot. It owns the data and nothing else.
const user = 1000

func main() {
	program := flag.String("program", "", "the binary of the bot, statically linked")
	version := flag.String("version", "v1", "the version that the bot shows")
	out := flag.String("o", "bot.tar", "the archive to write")
	flag.Parse()
	if err := build(*program, *version, *out); err != nil {
		log.Fatal("image: ", err)
	}
}

func build(program, version, out string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	files, err := layer(binary)
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), files)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: []string{"/bot"},
		Env:        []string{"PATH=/", "BOT_VERSION=" + version},
		User:       "1000:1000",
		WorkingDir: "/data",
		StopSignal: "SIGTERM",
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return err
	}
	return archive(image, out)
}

// layer has the binary, and the data folder with one file in it.
func layer(binary []byte) (v1.Layer, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	welcome := []byte("This folder is the workspace's data. It outlives the container.\n")
	for _, entry := range []struct {
		header  tar.Header
		content []byte
	}{
		{tar.Header{Name: "bot", Mode: 0o755, Typeflag: tar.TypeReg}, binary},
		{tar.Header{Name: "data/", Mode: 0o750, Typeflag: tar.TypeDir, Uid: user, Gid: user}, nil},
		{tar.Header{Name: "data/README", Mode: 0o644, Typeflag: tar.TypeReg, Uid: user, Gid: user}, welcome},
	} {
		entry.header.Size = int64(len(entry.content))
		if err := w.WriteHeader(&entry.header); err != nil {
			return nil, err
		}
		if _, err := w.Write(entry.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}

// archive writes an image as an OCI layout in a tar file.
func archive(image v1.Image, out string) (err error) {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	index, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := index.AppendImage(image); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(writeTar(f, dir), f.Close())
}

// writeTar writes the files of a folder in a fixed order and without times.
func writeTar(out io.Writer, dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(paths)
	w := tar.NewWriter(out)
	for _, path := range paths {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return w.Close()
}
