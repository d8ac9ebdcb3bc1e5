package images_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/containerd/images"
	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestMain(m *testing.M) { os.Exit(drivertest.Main(m)) }

// bench is a store of images in a namespace of its own.
type bench struct {
	*images.Store
	t      *testing.T
	server *drivertest.Containerd
	dir    string
	raw    *client.Client
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, server: drivertest.SharedContainerd(t), dir: t.TempDir()}
	b.raw = b.server.Client(t, b.server.Namespace(t))
	b.Store = images.New(images.Config{
		Client: b.raw, Snapshotter: "overlayfs", HostsDir: filepath.Join(b.dir, "certs.d"),
		Explain: func(err error) error { return err },
	})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.server.LastLog())
	}
}

// load puts an image into containerd by way of an archive and gives its name.
func (b *bench) load(image v1.Image) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "image.tar")
	drivertest.Archive(b.t, path, image)
	w := spec.Default()
	w.Image = spec.ArchivePrefix + path
	all, err := b.Images(b.t.Context(), []spec.Workspace{w})
	b.must(err)
	found := all[w.Image]
	if found.Err != "" || found.Digest != "" {
		b.t.Fatalf("archive observed as %+v", found)
	}
	b.must(b.ImportImage(b.t.Context(), plan.ImportImage{Archive: spec.Archive{File: path}, Digest: found.Source, Name: found.Name}))
	return found.Name
}

// create makes a container with a root filesystem, which has its name.
func (b *bench) create(name, image string) {
	b.t.Helper()
	b.must(b.WithImage(b.t.Context(), image, func(ctx context.Context, image client.Image, _ string) error {
		_, err := b.raw.NewContainer(ctx, name,
			client.WithSnapshotter("overlayfs"), client.WithNewSnapshot(name, image), client.WithNewSpec())
		return err
	}))
}

// pinned is the name of an image with its digest.
func (b *bench) pinned(image string) (name string) {
	b.t.Helper()
	b.must(b.WithImage(b.t.Context(), image, func(_ context.Context, _ client.Image, pinned string) error {
		name = pinned
		return nil
	}))
	return name
}

func TestArchiveErrors(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(b.dir, "image.tar")
	see := func() state.Image {
		w := spec.Default()
		w.Image = spec.ArchivePrefix + path
		images, err := b.Images(t.Context(), []spec.Workspace{w})
		b.must(err)
		return images[w.Image]
	}
	if got := see().Err; got != "no such file or directory" {
		t.Errorf("a missing archive: the error is %q", got)
	}
	b.must(os.WriteFile(path, []byte("text"), 0o644))
	if got := see().Err; !strings.Contains(got, "not an OCI archive") {
		t.Errorf("text: the error is %q", got)
	}
	drivertest.Archive(t, path, drivertest.Image(t, v1.Config{}))
	was := see()
	drivertest.Archive(t, path, drivertest.Image(t, v1.Config{User: "1"}))
	err := b.ImportImage(t.Context(), plan.ImportImage{Archive: spec.Archive{File: path}, Digest: was.Source, Name: was.Name})
	if err == nil || !strings.Contains(err.Error(), "changed since it was planned") {
		t.Errorf("a changed archive: the error is %v", err)
	}
}

func TestViewImage(t *testing.T) {
	b := newBench(t)
	name := b.load(drivertest.Image(t, v1.Config{User: "worker"},
		drivertest.Folder("etc", 0o755, 0), drivertest.File("etc/passwd", 0o644, 0, "worker:x:42:43::/:/\n"),
		drivertest.Folder("data", 0o750, 42), drivertest.File("data/seed", 0o640, 42, "seed")))
	var seen state.Owner
	b.must(b.ViewImage(t.Context(), plan.CreateVolume{Workspace: "w", Image: name}, func(root string, owner state.Owner) error {
		seen = owner
		text, err := os.ReadFile(filepath.Join(root, "data/seed"))
		if string(text) != "seed" {
			t.Errorf("seed is %q", text)
		}
		return err
	}))
	if seen != (state.Owner{UID: 42, GID: 43}) {
		t.Errorf("owner is %+v", seen)
	}
	err := b.ViewImage(t.Context(), plan.CreateVolume{Workspace: "w", Image: name}, func(string, state.Owner) error { return os.ErrInvalid })
	if err != os.ErrInvalid {
		t.Errorf("the error of the function came back as %v", err)
	}
	// The view lingers for the next workspace, and goes with the driver.
	b.must(b.Close())
	err = b.raw.SnapshotService("overlayfs").Walk(t.Context(), func(_ context.Context, s snapshots.Info) error {
		if strings.HasPrefix(s.Name, "carrel-view-") {
			t.Errorf("view %s is still there", s.Name)
		}
		return nil
	})
	b.must(err)
	leases, err := b.raw.LeasesService().List(t.Context())
	if err != nil || len(leases) != 0 {
		t.Errorf("leases are left: %v, %v", leases, err)
	}
}
