package containerd_test

import (
	"archive/tar"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/containerd"
	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestMain(m *testing.M) { os.Exit(drivertest.Main(m)) }

// bench is a driver in a namespace of its own, with the folders that others
// would make.
type bench struct {
	*containerd.Driver
	t         *testing.T
	server    *drivertest.Containerd
	namespace string
	dir       string
	raw       *client.Client
}

func newBench(t *testing.T, server *drivertest.Containerd) *bench {
	t.Helper()
	b := &bench{t: t, server: server, dir: t.TempDir()}
	b.namespace = server.Namespace(t) // emptied before the folder is removed
	b.raw = server.Client(t, b.namespace)
	var err error
	b.Driver, err = containerd.Open(t.Context(), containerd.Config{
		Address: server.Address, Namespace: b.namespace,
		HostsDir:   filepath.Join(b.dir, "certs.d"),
		VolumesDir: filepath.Join(b.dir, "volumes"), LogsDir: filepath.Join(b.dir, "logs"),
		RunDir: filepath.Join(b.dir, "run"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func shared(t *testing.T) *bench {
	t.Helper()
	return newBench(t, drivertest.SharedContainerd(t))
}

// load puts an image into containerd by way of an archive and gives its name.
func (b *bench) load(image v1.Image) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "image.tar")
	drivertest.Archive(b.t, path, image)
	w := spec.Default()
	w.Image = spec.ArchivePrefix + path
	images, err := b.Images(b.t.Context(), []spec.Workspace{w})
	if err != nil {
		b.t.Fatal(err)
	}
	found := images[w.Image]
	if found.Err != "" || found.Digest != "" {
		b.t.Fatalf("archive observed as %+v", found)
	}
	b.must(b.ImportImage(b.t.Context(), plan.ImportImage{Archive: spec.Archive{File: path}, Digest: found.Source, Name: found.Name}))
	return found.Name
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.server.LastLog())
	}
}

// create makes a container of a workspace and its volume.
func (b *bench) create(name, image string, change func(*spec.Workspace)) plan.CreateContainer {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Join(b.dir, "volumes", name), 0o777))
	w := spec.Default()
	w.Name, w.Image, w.Network.Mode = name, image, spec.NetworkNone
	if change != nil {
		change(&w)
	}
	step := plan.CreateContainer{Container: name, Set: "s", Host: "h", Image: image, Spec: w}
	b.must(b.CreateContainer(b.t.Context(), step))
	return step
}

func (b *bench) start(name string) {
	b.t.Helper()
	b.must(b.StartTask(b.t.Context(), plan.StartTask{Workspace: name, Container: name}))
}

func (b *bench) stop(name string, grace time.Duration) {
	b.t.Helper()
	b.must(b.StopTask(b.t.Context(), plan.StopTask{Container: name, GracePeriod: spec.Duration(grace)}))
}

// see is a container as the driver observes it; zero when it is not there.
func (b *bench) see(name string) state.Instance {
	b.t.Helper()
	all, err := b.Containers(b.t.Context())
	b.must(err)
	for _, c := range all {
		if c.ID == name {
			return c
		}
	}
	return state.Instance{}
}

func (b *bench) wantStatus(name string, want state.TaskStatus) {
	b.t.Helper()
	if got := b.see(name).Task.Status; got != want {
		b.t.Fatalf("task of %s is %q, want %q", name, got, want)
	}
}

// output waits until the output of a workspace's task has a line.
func (b *bench) output(name, want string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, "logs", name+".log")
	var text []byte
	b.eventually("output "+want, func() bool {
		var err error
		text, err = os.ReadFile(path)
		return err == nil && strings.Contains(string(text), want)
	})
	return string(text)
}

// eventually waits for something that another process brings about.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			b.t.Fatalf("waited in vain for: %s", what)
		case <-tick.C:
		}
	}
}

func image(t *testing.T, config v1.Config, files ...tar.Header) v1.Image {
	return drivertest.Image(t, config, files...)
}

func TestLifeOfAWorkspace(t *testing.T) {
	b := shared(t)
	step := b.create("one", b.load(image(t, v1.Config{})), func(w *spec.Workspace) {
		w.Labels = map[string]string{"team": "research"}
		w.Env = []spec.EnvVar{{Name: "TZ", Value: "UTC"}}
	})
	c := b.see("one")
	if c.Workspace != "one" || c.Set != "s" || c.Host != "h" || c.Labels["team"] != "research" || len(c.Labels) != 1 {
		t.Errorf("labels: %+v", c)
	}
	if c.Applied == nil || c.Applied.Env[0].Value != "UTC" || c.Unreadable != "" {
		t.Errorf("kept spec: %+v, %s", c.Applied, c.Unreadable)
	}
	if want := filepath.Join(b.dir, "volumes", "one"); c.Volume != want {
		t.Errorf("volume %q, want %q", c.Volume, want)
	}
	if !strings.HasSuffix(c.Image, c.Digest) || c.Digest == "" {
		t.Errorf("image %q has digest %q", c.Image, c.Digest)
	}
	b.wantStatus("one", state.TaskNone)
	b.must(b.CreateContainer(t.Context(), step)) // again
	b.start("one")
	b.start("one")
	b.wantStatus("one", state.TaskRunning)
	b.output("one", "env TZ=UTC")
	if since := time.Since(containerd.Started(b.see("one").Task.PID)); since < 0 || since > time.Minute {
		t.Errorf("started %s ago", since)
	}
	if err := b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "one"}); err == nil {
		t.Error("a container whose task runs was deleted")
	}
	b.stop("one", 10*time.Second)
	b.stop("one", 10*time.Second)
	b.output("one", "got terminated")
	b.wantStatus("one", state.TaskNone)
	for range 2 {
		b.must(b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "one"}))
	}
	if c := b.see("one"); c.ID != "" {
		t.Errorf("still there: %+v", c)
	}
	if _, err := b.raw.SnapshotService("overlayfs").Stat(t.Context(), "one"); err == nil {
		t.Error("its snapshot is still there")
	}
	data, err := os.ReadFile(filepath.Join(b.dir, "volumes", "one", "starts"))
	if err != nil || string(data) != "start\n" {
		t.Errorf("data %q, %v", data, err)
	}
}

func TestContainerKeepsItsImageByDigest(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "team/bot:v1", image(t, v1.Config{}))
	b.must(b.PullImage(t.Context(), plan.PullImage{Image: ref}, nil))
	b.create("puller", ref, nil)
	pulled, err := b.raw.GetImage(t.Context(), ref)
	b.must(err)
	want := strings.TrimSuffix(ref, ":v1") + "@" + pulled.Target().Digest.String()
	if c := b.see("puller"); c.Image != want || c.Digest != pulled.Target().Digest.String() {
		t.Errorf("its image is %s with digest %s, want %s", c.Image, c.Digest, want)
	}
}

func TestImageConfigurationIsHonoured(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{
		Entrypoint: []string{"/guest"}, Cmd: []string{"serve", "of-image"}, Env: []string{"PATH=/", "FROM=image"},
		User: "worker", WorkingDir: "/work", StopSignal: "SIGUSR1",
	},
		drivertest.Folder("work", 0o755, 0), drivertest.Folder("etc", 0o755, 0),
		drivertest.File("etc/passwd", 0o644, 0, "root:x:0:0::/:/\nworker:x:1234:1234::/:/\n"),
		drivertest.File("etc/group", 0o644, 0, "root:x:0:\nworker:x:1234:\n")))
	for _, test := range []struct {
		name   string
		change func(*spec.Workspace)
		want   []string
	}{
		{"image", nil, []string{"uid 1234 gid 1234 cwd /work args /guest serve of-image", "env FROM=image"}},
		{"args", func(w *spec.Workspace) { w.Args = []string{"serve", "of-spec"} }, []string{"args /guest serve of-spec"}},
		{"command", func(w *spec.Workspace) { w.Command = []string{"/guest", "serve"} }, []string{"args /guest serve\n"}},
		{"user", func(w *spec.Workspace) { w.User, w.WorkingDir = "77:88", "/" }, []string{"uid 77 gid 88 cwd /"}},
		{"env", func(w *spec.Workspace) { w.Env = []spec.EnvVar{{Name: "FROM", Value: "spec"}} }, []string{"env FROM=spec"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.t = t
			b.create(test.name, name, test.change)
			b.start(test.name)
			text := b.output(test.name, "serving")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("output has no %q:\n%s", want, text)
				}
			}
			b.stop(test.name, 10*time.Second)
			b.output(test.name, "got user defined signal 1")
		})
	}
}

func TestStopEndsTheWholeTree(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	for _, test := range []string{"deaf", "family"} {
		b.create(test, name, func(w *spec.Workspace) { w.Args = []string{test} })
		b.start(test)
		b.output(test, "deaf")
		procs := processes(t, b.namespace, test)
		if len(procs) == 0 {
			t.Fatalf("%s: no processes found in its group", test)
		}
		b.stop(test, 100*time.Millisecond)
		for _, pid := range procs {
			if _, err := os.Stat("/proc/" + pid); err == nil {
				t.Errorf("%s: process %s is still there", test, pid)
			}
		}
		b.wantStatus(test, state.TaskNone)
	}
}

func processes(t *testing.T, namespace, container string) []string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if text, err := os.ReadFile(filepath.Join(dir, namespace, container, "cgroup.procs")); err == nil {
			return strings.Fields(string(text))
		}
	}
	return nil
}

func TestExitIsSeen(t *testing.T) {
	b := shared(t)
	b.create("brief", b.load(image(t, v1.Config{})), func(w *spec.Workspace) { w.Args = []string{"exit", "7"} })
	b.start("brief")
	code, exited, err := b.Exited(t.Context(), "brief")
	if code != 7 || !exited || err != nil {
		t.Fatalf("exit is %d, %v, %v", code, exited, err)
	}
	if task := b.see("brief").Task; task.Status != state.TaskStopped || task.ExitCode != 7 || time.Since(task.ExitedAt) > time.Minute {
		t.Errorf("task is observed as %+v", task)
	}
	b.start("brief") // what is left of the first is removed
	if code, _, err := b.Exited(t.Context(), "brief"); code != 7 || err != nil {
		t.Fatalf("second exit is %d, %v", code, err)
	}
	b.must(b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "brief"}))

	b.create("lasting", b.load(image(t, v1.Config{Env: []string{"A=B", "PATH=/"}})), nil)
	b.start("lasting")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if code, exited, err := b.Exited(ctx, "lasting"); exited || err != nil {
		t.Errorf("exit of a running task is %d, %v, %v", code, exited, err)
	}
}

func TestFailuresAreClearAndLeaveNothing(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	b.create("nocommand", name, func(w *spec.Workspace) { w.Command = []string{"/no/such"} })
	err := b.StartTask(t.Context(), plan.StartTask{Workspace: "nocommand", Container: "nocommand"})
	if err == nil || !strings.Contains(err.Error(), "/no/such") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "rpc") {
		t.Errorf("a missing command: the error is %v", err)
	}
	b.wantStatus("nocommand", state.TaskNone)

	w := spec.Default()
	w.Name = "noimage"
	step := plan.CreateContainer{Container: "noimage", Spec: w}
	step.Image = "carrel.local/none:1"
	if err := b.CreateContainer(t.Context(), step); err == nil || !strings.Contains(err.Error(), "not in containerd") {
		t.Errorf("a missing image: the error is %v", err)
	}
}

func TestOpenSaysWhyNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ address, want string }{
		{filepath.Join(dir, "none"), "does not exist"},
		{dead(t), "nobody answers"},
	} {
		_, err := containerd.Open(t.Context(), containerd.Config{Address: test.address, Namespace: "x"})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.address, err, test.want)
		}
	}
}

// dead is a socket that nobody listens on.
func dead(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	return path
}

func TestOtherNamespacesAreNotSeen(t *testing.T) {
	a, other := shared(t), shared(t)
	name := a.load(image(t, v1.Config{}))
	a.create("mine", name, nil)
	if c := other.see("mine"); c.ID != "" {
		t.Errorf("another namespace's container is seen: %+v", c)
	}
	other.must(other.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "mine"}))
	if c := a.see("mine"); c.ID == "" {
		t.Error("another namespace's container was deleted")
	}
}
