package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"carrel/drivers/drivertest"
)

// bed is an environment in which tests run the real program as a process.
type bed struct {
	t      testing.TB
	daemon *drivertest.Containerd
	space  string
	dir    string
	subnet string
	store  string // its URL; "" is the embedded one
	client *client.Client
}

func newBed(t testing.TB) *bed {
	t.Helper()
	return newBedOn(t, drivertest.SharedContainerd(t))
}

func newBedOn(t testing.TB, daemon *drivertest.Containerd) *bed {
	t.Helper()
	b := &bed{t: t, daemon: daemon, dir: t.TempDir()}
	b.subnet = drivertest.Subnet(t, filepath.Join(b.dir, "run"))
	b.space = b.daemon.Namespace(t) // emptied before the folder is removed
	b.client = b.daemon.Client(t, b.space)
	return b
}

// command is a run of the program. The test binary behaves as the program when it
// is called by the name of the program.
func (b *bed) command(args ...string) *exec.Cmd {
	b.t.Helper()
	program := filepath.Join(b.dir, "carrel")
	if _, err := os.Lstat(program); errors.Is(err, os.ErrNotExist) {
		self, err := os.Executable()
		if err == nil {
			err = os.Symlink(self, program)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "CARREL_ADDRESS="+b.daemon.Address, "CARREL_NAMESPACE="+b.space,
		"CARREL_RUN_DIR="+filepath.Join(b.dir, "run"), "CARREL_CNI_CONF_DIR="+filepath.Join(b.dir, "net.d"), "CARREL_SUBNET="+b.subnet,
		"CARREL_STATE_DIR="+filepath.Join(b.dir, "state"), "CARREL_HOST=testhost", "CARREL_AUTO_APPROVE=true", "CARREL_STORE="+b.store)
	return cmd
}

// run runs the program, which must succeed.
func (b *bed) run(args ...string) string {
	b.t.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("carrel %s: %v\n%s\n%s", strings.Join(args, " "), err, out, b.daemon.LastLog())
	}
	return string(out)
}

// specs writes the specs of n workspaces of one image, and returns their folder.
func (b *bed) specs(n int, image string, more string) string {
	b.t.Helper()
	return b.networked(n, image, "none", more)
}

// networked is specs with a network mode.
func (b *bed) networked(n int, image, network, more string) string {
	b.t.Helper()
	dir := filepath.Join(b.dir, "specs")
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "---\napiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: w%d}\nspec: {image: %q, network: {mode: %s}%s}\n", i, image, network, more)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text.String()), 0o644)); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// archive writes an image and returns its name for specs.
func (b *bed) archive(version string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, version+".tar")
	drivertest.Archive(b.t, path, drivertest.Image(b.t, v1.Config{Env: []string{"PATH=/", "VERSION=" + version}},
		drivertest.Folder("data", 0o755, 0), drivertest.File("data/seed", 0o644, 0, version)))
	return "oci-archive:" + path
}

// world is everything that exists, as text. Two runs with the same result have
// the same text.
func (b *bed) world() string {
	b.t.Helper()
	ctx := context.Background()
	var text strings.Builder
	all, err := b.client.Containers(ctx)
	b.must(err)
	for _, c := range all {
		info, err := c.Info(ctx)
		b.must(err)
		task, err := c.Task(ctx, nil)
		b.must(err)
		status, err := task.Status(ctx)
		b.must(err)
		fmt.Fprintf(&text, "container %s of %s: %s, %s\n", c.ID(), info.Labels["carrel/workspace"], info.Image, status.Status)
	}
	for _, pattern := range []string{"run/netns/*", "state/networks/*.json", "/var/lib/cni/networks/*/" + strings.TrimSuffix(b.subnet, "0/24") + "*"} {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(b.dir, pattern)
		}
		files, err := filepath.Glob(pattern)
		b.must(err)
		fmt.Fprintf(&text, "%d of %s\n", len(files), pattern)
	}
	for _, pattern := range []string{"volumes/*", "preserved/*/*", "partial/*", "trash/*"} {
		folders, err := filepath.Glob(filepath.Join(b.dir, "state", pattern))
		b.must(err)
		for _, folder := range folders {
			seed, err := os.ReadFile(filepath.Join(folder, "seed"))
			fmt.Fprintf(&text, "%s: %s %v\n", folder, seed, err)
		}
	}
	text.WriteString(b.run("status"))
	return text.String()
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// settled is the world without what differs between runs.
func (b *bed) settled() string {
	b.t.Helper()
	var lines []string
	for line := range strings.Lines(b.world()) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[2] == "running" {
			fields = append(fields[:3], fields[len(fields)-1]) // without process, time and address
		}
		lines = append(lines, strings.Join(fields, " ")+"\n")
	}
	return strings.Join(lines, "")
}

// TestKilledAtAnyMoment kills runs at random moments. Each run of the test kills
// at other moments, because there is no fixed seed.
func TestKilledAtAnyMoment(t *testing.T) { killed(t, "none", 30) }

func TestKilledAtAnyMomentWithANetwork(t *testing.T) { killed(t, "cni", 10) }

func killed(t *testing.T, network string, killRounds int) {
	b := newBed(t)
	const workspaces = 4
	images := []string{b.archive("v1"), b.archive("v2")}
	began := time.Now()
	specs := b.networked(workspaces, images[0], network, "")
	b.run("apply", specs)
	whole := time.Since(began)
	good := map[string]string{images[0]: b.settled()}
	b.networked(workspaces, images[1], network, "")
	b.run("apply", specs)
	good[images[1]] = b.settled()
	for round := range killRounds {
		image := images[round%2]
		if round%5 == 4 { // half of the workspaces are deleted and created again
			b.networked(workspaces/2, image, network, "")
			b.kill(whole, "apply", specs)
		}
		b.networked(workspaces, image, network, "")
		b.kill(whole, "apply", specs)
		b.run("apply", specs)
		if got := b.settled(); got != good[image] {
			t.Fatalf("round %d: the result differs from that of an undisturbed run:\n%s\nwant:\n%s", round, got, good[image])
		}
		if out := b.run("apply", specs); !strings.Contains(out, "Nothing to do") {
			t.Fatalf("round %d: the plan after the repair is not empty:\n%s", round, out)
		}
	}
}

// kill starts the program and kills it at a random moment.
func (b *bed) kill(whole time.Duration, args ...string) {
	b.t.Helper()
	cmd := b.command(args...)
	b.must(cmd.Start())
	time.AfterFunc(rand.N(whole), func() { cmd.Process.Kill() })
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		b.t.Fatalf("carrel %s: %v", strings.Join(args, " "), err)
	}
}

func TestNothingToDoWritesNothing(t *testing.T) {
	b := newBed(t)
	specs := b.specs(3, b.archive("v1"), "")
	b.run("apply", specs)
	store, err := os.ReadFile(filepath.Join(b.dir, "state", "records.db"))
	b.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	events, errs := b.client.Subscribe(ctx)
	b.run("apply", specs)
	// This event comes after all events that the run may have caused.
	marker := images.Image{Name: "marker", Target: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("marker"), Size: 1}}
	_, err = b.client.ImageService().Create(ctx, marker)
	b.must(err)
	for e := range events {
		if e.Namespace != b.space {
			continue
		}
		if e.Topic == "/images/create" {
			break
		}
		t.Errorf("an apply with nothing to do caused %s", e.Topic)
	}
	cancel()
	<-errs
	again, err := os.ReadFile(filepath.Join(b.dir, "state", "records.db"))
	b.must(err)
	if string(store) != string(again) {
		t.Error("an apply with nothing to do wrote to the store")
	}
	if info, err := os.Stat(filepath.Join(b.dir, "state", "records.db-wal")); err == nil && info.Size() > 0 {
		t.Errorf("an apply with nothing to do wrote %d bytes to the store's log", info.Size())
	}
}

func TestFirstInterruptEndsCleanly(t *testing.T) {
	b := newBed(t)
	specs := b.specs(12, b.archive("v1"), "")
	cmd := b.command("apply", specs, "--parallelism", "1", "-o", "json")
	out, err := cmd.StdoutPipe()
	b.must(err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b.must(cmd.Start())
	interrupted := false
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if strings.HasPrefix(line, `{"type":"began"`) && strings.Contains(line, `"step":"CreateContainer"`) && !interrupted {
			interrupted = true
			b.must(cmd.Process.Signal(syscall.SIGINT))
		}
		if err != nil {
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitError {
		t.Errorf("an interrupted apply ended with %v", err)
	}
	for _, want := range []string{"finishing the changes that have started", "changes were not begun (apply again to go on)"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr has no %q:\n%s", want, stderr.String())
		}
	}
	status := b.run("status")
	if n := strings.Count(status, "running"); n == 0 || n == 12 || strings.Contains(status, "failed") {
		t.Errorf("after the interrupt %d workspaces run:\n%s", n, status)
	}
	b.run("apply", specs)
	if out := b.run("apply", specs); !strings.Contains(out, "12 unchanged") {
		t.Errorf("after the second apply:\n%s", out)
	}
}
