package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
)

// The size of the benchmark, and how often each side runs: in turn, so that a
// machine that slows down slows both.
const (
	benchWorkspaces = 50
	benchRounds     = 5
)

// BenchmarkApply measures the whole process of an apply beside bare client
// calls that do the same work: the same image, snapshots, seccomp profile,
// network, log files and number at a time.
func BenchmarkApply(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	specs := bed.specs(1, image, "")
	bed.run("apply", specs) // the image is here from now on
	for b.Loop() {
		var up, bare, idle, load []time.Duration
		for range benchRounds {
			bed.specs(benchWorkspaces+1, image, "")
			up = append(up, timed(func() { bed.run("apply", specs) }))
			for range benchRounds {
				idle = append(idle, timed(func() { bed.run("apply", specs) }))
				load = append(load, timed(func() { bed.run("version") }))
			}
			bed.specs(1, image, "")
			bed.run("apply", specs, "--allow-mass-delete")
			bare = append(bare, timed(bed.bareUp))
			bed.bareDown()
		}
		milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(milliseconds(median(idle)), "ms/nothing-to-do-50")
		b.ReportMetric(milliseconds(median(load)), "ms/carrel-version")
		b.ReportMetric(milliseconds(median(up)), "ms/carrel-up-50")
		b.ReportMetric(milliseconds(median(bare)), "ms/bare-up-50")
		b.ReportMetric(float64(median(up))/float64(median(bare)), "carrel/bare")
		b.ReportMetric(0, "ns/op")
	}
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// release puts the program as users have it in the place of the test binary.
func (b *bed) release() {
	b.t.Helper()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "carrel"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
}

// bareUp makes and starts containers with nothing but client calls.
func (b *bed) bareUp() {
	b.t.Helper()
	ctx := context.Background()
	all, err := b.client.Containers(ctx)
	b.must(err)
	image, err := all[0].Image(ctx)
	b.must(err)
	var group errgroup.Group
	group.SetLimit(parallelism())
	for i := range benchWorkspaces {
		group.Go(func() error { return b.bareOne(ctx, fmt.Sprintf("bare%d", i), image) })
	}
	b.must(group.Wait())
}

func (b *bed) bareOne(ctx context.Context, id string, image client.Image) error {
	volume := filepath.Join(b.dir, "bare", id)
	if err := os.MkdirAll(volume, 0o755); err != nil {
		return err
	}
	container, err := b.client.NewContainer(ctx, id,
		client.WithSnapshotter("overlayfs"),
		client.WithNewSnapshot(id, image),
		client.WithNewSpec(oci.WithDefaultSpec(), oci.WithImageConfig(image),
			oci.WithMounts([]specs.Mount{{Type: "bind", Source: volume, Destination: "/data", Options: []string{"rbind", "rw"}}}),
			oci.WithHostname(id), oci.WithPidsLimit(4096), oci.WithDroppedCapabilities([]string{"CAP_NET_RAW"}),
			oci.WithNoNewPrivileges, seccomp.WithDefaultProfile()))
	if err != nil {
		return err
	}
	task, err := container.NewTask(ctx, cio.LogFile(filepath.Join(b.dir, id+".log")))
	if err != nil {
		return err
	}
	return task.Start(ctx)
}

func (b *bed) bareDown() {
	b.t.Helper()
	ctx := context.Background()
	for i := range benchWorkspaces {
		container, err := b.client.LoadContainer(ctx, fmt.Sprintf("bare%d", i))
		b.must(err)
		task, err := container.Task(ctx, nil)
		b.must(err)
		_, err = task.Delete(ctx, client.WithProcessKill)
		b.must(err)
		b.must(container.Delete(ctx, client.WithSnapshotCleanup))
	}
	b.must(os.RemoveAll(filepath.Join(b.dir, "bare")))
}
