package images_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
	"carrel/plan"
)

// orphan makes a root filesystem without a container, over a parent, with a
// file in it.
func (b *bench) orphan(snapshotter, key, parent string) {
	b.t.Helper()
	mounts, err := b.raw.SnapshotService(snapshotter).Prepare(b.t.Context(), key, parent,
		snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"}))
	b.must(err)
	b.write(mounts, "data/kept", key)
	b.t.Cleanup(func() {
		err := b.raw.SnapshotService(snapshotter).Remove(context.WithoutCancel(b.t.Context()), key)
		if err != nil {
			b.t.Errorf("remove %s: %v", key, err)
		}
	})
}

// write makes a file in a root filesystem.
func (b *bench) write(mounts []mount.Mount, name, text string) {
	b.t.Helper()
	b.must(mount.WithTempMount(b.t.Context(), mounts, func(root string) error {
		path := filepath.Join(root, name)
		b.must(os.MkdirAll(filepath.Dir(path), 0o755))
		return os.WriteFile(path, []byte(text), 0o644)
	}))
}

// parent is what the root filesystem of a container was made from.
func (b *bench) parent(container string) string {
	b.t.Helper()
	info, err := b.raw.SnapshotService("overlayfs").Stat(b.t.Context(), container)
	b.must(err)
	return info.Parent
}

// view reads files of a root filesystem.
func (b *bench) view(key string, files ...string) []string {
	b.t.Helper()
	var texts []string
	b.must(b.ViewSnapshot(b.t.Context(), plan.MigrateData{Workspace: "w", Snapshot: key, DataPath: "/data"}, func(root string) error {
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				return err
			}
			texts = append(texts, string(text))
		}
		if err := os.WriteFile(filepath.Join(root, "data", "new"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
			b.t.Errorf("a view was written to: %v", err)
		}
		return nil
	}))
	b.wantNothingHeld()
	return texts
}

// wantNothingHeld checks that no view is left: no lease, and no mount on a
// folder for the time being.
func (b *bench) wantNothingHeld() {
	b.t.Helper()
	left, err := b.raw.LeasesService().List(context.WithoutCancel(b.t.Context()))
	if err != nil || len(left) != 0 {
		b.t.Errorf("leases are left: %v, %v", left, err)
	}
	table, err := os.ReadFile("/proc/self/mounts")
	b.must(err)
	for line := range bytes.Lines(table) {
		if bytes.Contains(line, []byte("containerd-mount")) && bytes.Contains(line, []byte(b.server.Dir)) {
			b.t.Errorf("a mount is left: %s", line)
		}
	}
}

func TestRootFilesystemIsViewed(t *testing.T) {
	b := newBench(t)
	name := b.load(drivertest.Image(t, v1.Config{}, drivertest.Folder("data", 0o755, 0), drivertest.File("data/seed", 0o644, 0, "seed")))
	b.create("ours", name)
	mounts, err := b.raw.SnapshotService("overlayfs").Mounts(t.Context(), "ours")
	b.must(err)
	b.write(mounts, "inside", "written")
	if got := b.view("ours", "data/seed", "inside"); !slices.Equal(got, []string{"seed", "written"}) {
		t.Errorf("of a container: %q", got)
	}

	b.orphan("overlayfs", "left", b.parent("ours"))
	if got := b.view("left", "data/seed", "data/kept"); !slices.Equal(got, []string{"seed", "left"}) {
		t.Errorf("of one whose container is gone: %q", got)
	}

	b.orphan("native", "elsewhere", "")
	_, err = b.raw.NewContainer(t.Context(), "stranger", client.WithSnapshotter("native"), client.WithSnapshot("elsewhere"), client.WithNewSpec())
	b.must(err)
	if got := b.view("elsewhere", "data/kept"); got[0] != "elsewhere" {
		t.Errorf("of another snapshotter: %q", got)
	}
	container, err := b.raw.LoadContainer(t.Context(), "stranger")
	b.must(err)
	b.must(container.Delete(t.Context())) // not its root filesystem, which the test removes
}

func TestRootFilesystemIsKeptWhileItIsViewed(t *testing.T) {
	b := newBench(t)
	b.create("ours", b.load(drivertest.Image(t, v1.Config{})))
	b.orphan("overlayfs", "loose", b.parent("ours"))
	service := b.raw.SnapshotService("overlayfs")
	b.must(b.ViewSnapshot(t.Context(), plan.MigrateData{Workspace: "w", Snapshot: "loose"}, func(root string) error {
		_, err := service.Update(t.Context(), snapshots.Info{Name: "loose"}, "labels")
		b.must(err)
		b.collect()
		if _, err := service.Stat(t.Context(), "loose"); err != nil {
			t.Errorf("it was collected while it was viewed: %v", err)
		}
		_, err = service.Update(t.Context(), snapshots.Info{Name: "loose", Labels: map[string]string{"containerd.io/gc.root": "now"}}, "labels")
		return err
	}))
}

// collect makes containerd collect its garbage.
func (b *bench) collect() {
	b.t.Helper()
	lease, err := b.raw.LeasesService().Create(b.t.Context(), leases.WithRandomID())
	b.must(err)
	b.must(b.raw.LeasesService().Delete(b.t.Context(), lease, leases.SynchronousDelete))
}

func TestFailedViewLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.create("ours", b.load(drivertest.Image(t, v1.Config{})))
	step := plan.MigrateData{Workspace: "ours", Snapshot: "ours"}
	if err := b.ViewSnapshot(t.Context(), step, func(string) error { return os.ErrInvalid }); err != os.ErrInvalid {
		t.Errorf("the error of the function came back as %v", err)
	}
	b.wantNothingHeld()

	ctx, cancel := context.WithCancel(t.Context())
	err := b.ViewSnapshot(ctx, step, func(string) error { cancel(); return ctx.Err() })
	if err != context.Canceled {
		t.Errorf("the end of its context: the error is %v", err)
	}
	b.wantNothingHeld()

	step.Snapshot = "none"
	err = b.ViewSnapshot(t.Context(), step, func(string) error { t.Error("it was viewed"); return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "root filesystem none is gone") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a root filesystem that is gone: the error is %v", err)
	}
	b.wantNothingHeld()
}
