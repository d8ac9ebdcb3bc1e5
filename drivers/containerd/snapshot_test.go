package containerd_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/plan"
	"carrel/plan/state"
)

// orphan makes a root filesystem without a container, over a parent.
func (b *bench) orphan(snapshotter, key, parent string) {
	b.t.Helper()
	service := b.raw.SnapshotService(snapshotter)
	_, err := service.Prepare(b.t.Context(), key, parent,
		snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "now"}))
	b.must(err)
	b.t.Cleanup(func() {
		if err := service.Remove(context.WithoutCancel(b.t.Context()), key); err != nil {
			b.t.Errorf("remove %s: %v", key, err)
		}
	})
}

// parent is what the root filesystem of a container was made from.
func (b *bench) parent(container string) string {
	b.t.Helper()
	info, err := b.raw.SnapshotService("overlayfs").Stat(b.t.Context(), container)
	b.must(err)
	return info.Parent
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

func TestRootFilesystemIsObserved(t *testing.T) {
	b := shared(t)
	b.create("ours", b.load(image(t, v1.Config{})), nil)
	if key := b.see("ours").Snapshot; key != "ours" {
		t.Errorf("its root filesystem is %q", key)
	}
	b.orphan("native", "elsewhere", "")
	_, err := b.raw.NewContainer(t.Context(), "stranger", client.WithSnapshotter("native"), client.WithSnapshot("elsewhere"), client.WithNewSpec())
	b.must(err)
	if key := b.see("stranger").Snapshot; key != "elsewhere" {
		t.Errorf("the stranger's root filesystem is %q", key)
	}
	container, err := b.raw.LoadContainer(t.Context(), "stranger")
	b.must(err)
	b.must(container.Delete(t.Context())) // not its root filesystem, which the test removes
}

func TestRootFilesystemsWithoutContainerAreListed(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	b.create("ours", name, nil)
	want := func(keys ...string) {
		t.Helper()
		if got, _, err := b.Snapshots(t.Context()); err != nil || !slices.Equal(got, keys) {
			t.Errorf("without container are %q, %v, want %q", got, err, keys)
		}
	}
	want()
	b.orphan("overlayfs", "zeta", "")
	b.orphan("overlayfs", "alpha", b.parent("ours"))
	b.orphan("overlayfs", snapshots.UnpackKeyPrefix+"-1 sha256:2", "")
	b.orphan("native", "elsewhere", "")
	want("alpha", "zeta")
	b.must(b.ViewImage(t.Context(), plan.CreateVolume{Workspace: "w", Image: name}, func(string, state.Owner) error {
		want("alpha", "zeta")
		return nil
	}))
	b.must(b.raw.SnapshotService("overlayfs").Remove(t.Context(), "ours"))
	if _, without, err := b.Snapshots(t.Context()); err != nil || !without["ours"] || len(without) != 1 {
		t.Errorf("without a root filesystem are %v, %v", without, err)
	}
	b.must(b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "ours"}))
	want("alpha", "zeta")
}
