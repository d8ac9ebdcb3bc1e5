package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containernetworking/cni/libcni"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"

	"carrel/drivers/drivertest"
)

// The size of the benchmark, and how often each side runs. The sides take turns,
// so that a machine that slows down slows both.
const (
	benchWorkspaces = 50
	benchRounds     = 5
)

// BenchmarkApply compares the whole process of an apply with bare client calls
// that do the same work: the same image, snapshots, seccomp profile, network, log
// files and parallelism.
func BenchmarkApply(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	specs := bed.specs(1, image, "")
	bed.run("apply", specs) // imports the image
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
			bare = append(bare, timed(func() { bed.bareUp(nil) }))
			bed.bareDown()
		}
		b.ReportMetric(milliseconds(median(idle)), "ms/nothing-to-do-50")
		b.ReportMetric(milliseconds(median(load)), "ms/carrel-version")
		b.ReportMetric(milliseconds(median(up)), "ms/carrel-up-50")
		b.ReportMetric(milliseconds(median(bare)), "ms/bare-up-50")
		b.ReportMetric(float64(median(up))/float64(median(bare)), "carrel/bare")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkNetwork is BenchmarkApply with a bridge network. The bare side runs
// ADDs of a configuration like the built-in one.
func BenchmarkNetwork(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	specs := bed.networked(1, image, "cni", "")
	bed.run("apply", specs) // creates the bridge
	bare := newBareNetwork(bed)
	for b.Loop() {
		var up, raw []time.Duration
		for range benchRounds {
			bed.networked(benchWorkspaces+1, image, "cni", "")
			up = append(up, timed(func() { bed.run("apply", specs) }))
			bed.networked(1, image, "cni", "")
			bed.run("apply", specs, "--allow-mass-delete")
			raw = append(raw, timed(func() { bed.bareUp(bare.attach) }))
			bed.bareDown()
			bare.detachAll()
		}
		b.ReportMetric(milliseconds(median(up)), "ms/carrel-up-50")
		b.ReportMetric(milliseconds(median(raw)), "ms/bare-up-50")
		b.ReportMetric(float64(median(up))/float64(median(raw)), "carrel/bare")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkReplace shows that the duration of a replace does not depend on the
// size of the data.
func BenchmarkReplace(b *testing.B) {
	bed := newBed(b)
	bed.release()
	images := []string{bed.archive("v1"), bed.archive("v2")}
	replaces := func() []time.Duration {
		var took []time.Duration
		for i := range 2*benchRounds + 1 {
			specs := bed.specs(1, images[i%2], "")
			took = append(took, timed(func() { bed.run("apply", specs) }))
		}
		return took[1:] // the first run creates the workspace or imports the image
	}
	for b.Loop() {
		none := replaces()
		data, err := os.Create(filepath.Join(bed.dir, "state/volumes/w0/data"))
		bed.must(err)
		_, err = io.CopyN(data, crand.Reader, 1<<30)
		bed.must(errors.Join(err, data.Sync(), data.Close()))
		with := replaces()
		b.ReportMetric(milliseconds(median(none)), "ms/replace-without-data")
		b.ReportMetric(milliseconds(median(with)), "ms/replace-with-1GiB")
		b.ReportMetric(float64(median(with))/float64(median(none)), "with/without")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkLimits compares a change of limits in place with an apply that has
// nothing to do.
func BenchmarkLimits(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	limits := func(memory string) string { return ", resources: {limits: {memory: " + memory + "}}" }
	specs := bed.specs(1, image, limits("128Mi"))
	bed.run("apply", specs)
	for b.Loop() {
		var change, idle []time.Duration
		for i := range 4 * benchRounds {
			bed.specs(1, image, limits([]string{"256Mi", "128Mi"}[i%2]))
			change = append(change, timed(func() { bed.run("apply", specs) }))
			idle = append(idle, timed(func() { bed.run("apply", specs) }))
		}
		b.ReportMetric(milliseconds(median(change)), "ms/limits-in-place")
		b.ReportMetric(milliseconds(median(idle)), "ms/nothing-to-do")
		b.ReportMetric(0, "ns/op")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// bareNetwork attaches namespaces with nothing but libcni.
type bareNetwork struct {
	bed      *bed
	cni      *libcni.CNIConfig
	list     *libcni.NetworkConfigList
	mu       sync.Mutex
	attached []*libcni.RuntimeConf
}

func newBareNetwork(b *bed) *bareNetwork {
	b.t.Helper()
	subnet := drivertest.Subnet(b.t, filepath.Join(b.dir, "bare-run"))
	bridge := "bare" + strconv.Itoa(os.Getpid())
	list, err := libcni.NetworkConfFromBytes(fmt.Appendf(nil, `{"cniVersion": "1.0.0", "name": %q, "plugins": [{"type": "bridge",
		"bridge": %q, "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`,
		bridge, bridge, subnet))
	b.must(err)
	return &bareNetwork{bed: b, list: list, cni: libcni.NewCNIConfigWithCacheDir([]string{"/opt/cni/bin", "/usr/lib/cni"}, filepath.Join(b.dir, "bare-cache"), nil)}
}

// attach creates a namespace with an address.
func (n *bareNetwork) attach(ctx context.Context, id string) (string, error) {
	path := filepath.Join(n.bed.dir, "bare-run", id)
	drivertest.Netns(n.bed.t, path)
	conf := &libcni.RuntimeConf{ContainerID: n.bed.space + "-" + id, NetNS: path, IfName: "eth0"}
	_, err := n.cni.AddNetworkList(ctx, n.list, conf)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attached = append(n.attached, conf)
	return path, err
}

func (n *bareNetwork) detachAll() {
	n.bed.t.Helper()
	for _, conf := range n.attached {
		n.bed.must(n.cni.DelNetworkList(context.Background(), n.list, conf))
		drivertest.Unpin(n.bed.t, conf.NetNS)
		n.bed.must(os.Remove(conf.NetNS))
	}
	n.attached = nil
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

// release builds the program as users have it, and uses it instead of the test
// binary.
func (b *bed) release() {
	b.t.Helper()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "carrel"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
}

// bareUp creates and starts containers with client calls only, in the network
// namespaces that attach creates.
func (b *bed) bareUp(attach func(ctx context.Context, id string) (string, error)) {
	b.t.Helper()
	ctx := context.Background()
	all, err := b.client.Containers(ctx)
	b.must(err)
	image, err := all[0].Image(ctx)
	b.must(err)
	var group errgroup.Group
	group.SetLimit(parallelism())
	for i := range benchWorkspaces {
		group.Go(func() error { return b.bareOne(ctx, fmt.Sprintf("bare%d", i), image, attach) })
	}
	b.must(group.Wait())
}

func (b *bed) bareOne(ctx context.Context, id string, image client.Image, attach func(ctx context.Context, id string) (string, error)) error {
	network := oci.SpecOpts(func(context.Context, oci.Client, *containers.Container, *oci.Spec) error { return nil })
	if attach != nil {
		path, err := attach(ctx, id)
		if err != nil {
			return err
		}
		network = oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: path})
	}
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
			oci.WithNoNewPrivileges, network, seccomp.WithDefaultProfile()))
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
