package containerd_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/cio"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestHalfMadeTaskIsMadeAnew(t *testing.T) {
	b := shared(t)
	b.create("half", b.load(image(t, v1.Config{})), nil)
	container, err := b.raw.LoadContainer(t.Context(), "half")
	b.must(err)
	task, err := container.NewTask(t.Context(), cio.LogFile(filepath.Join(b.dir, "raw.log")))
	b.must(err)
	b.wantStatus("half", state.TaskCreated)
	b.start("half")
	b.wantStatus("half", state.TaskRunning)
	if again := b.see("half").Task.PID; again == task.Pid() {
		t.Error("the half-made task was used")
	}
	b.output("half", "serving")
}

// TestForgottenTaskFolderIsRemoved leaves what containerd leaves when two of its
// own cleanings meet: the folder of a task, and one whose removal broke off.
func TestForgottenTaskFolderIsRemoved(t *testing.T) {
	b := shared(t)
	b.create("forgotten", b.load(image(t, v1.Config{})), nil)
	tasks := filepath.Join(filepath.Dir(b.server.Address), "state", "io.containerd.runtime.v2.task", b.namespace)
	for _, folder := range []string{"forgotten/rootfs", ".forgotten/rootfs/data"} {
		b.must(os.MkdirAll(filepath.Join(tasks, folder), 0o700))
	}
	b.start("forgotten")
	b.wantStatus("forgotten", state.TaskRunning)
	b.stop("forgotten", 0)
	for _, folder := range []string{"forgotten", ".forgotten"} {
		if _, err := os.Lstat(filepath.Join(tasks, folder)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", folder, err)
		}
	}
}

func TestOrphanedSnapshotIsReplaced(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	_, err := b.raw.SnapshotService("overlayfs").Prepare(t.Context(), "left", "")
	b.must(err)
	b.create("left", name, nil)
	b.start("left")
	b.output("left", "serving")
}

func TestDaemonKilledWhileTasksRun(t *testing.T) {
	b := newBench(t, drivertest.NewContainerd(t))
	b.create("survivor", b.load(image(t, v1.Config{})), nil)
	b.start("survivor")
	pid := b.see("survivor").Task.PID
	b.must(b.server.Kill())
	if _, err := b.Containers(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a daemon that is gone: the error is %v", err)
	}
	b.must(b.server.Start())
	b.eventually("containerd answers again", func() bool {
		_, err := b.Containers(t.Context())
		return err == nil
	})
	if again := b.see("survivor").Task; again.PID != pid || again.Status != state.TaskRunning {
		t.Errorf("after the restart the task is %+v, it was process %d", again, pid)
	}
	b.output("survivor", "serving")
	b.stop("survivor", 10*time.Second)
	b.output("survivor", "got terminated")
}

func TestTaskThatEndedWhileTheDaemonWasDown(t *testing.T) {
	b := newBench(t, drivertest.NewContainerd(t))
	b.create("gone", b.load(image(t, v1.Config{})), nil)
	b.start("gone")
	pid := b.see("gone").Task.PID
	b.must(b.server.Kill())
	b.must(syscall.Kill(int(pid), syscall.SIGKILL))
	b.must(b.server.Start())
	b.eventually("the task has ended", func() bool {
		all, err := b.Containers(t.Context())
		return err == nil && !all[0].Task.Alive()
	})
	b.start("gone")
	b.wantStatus("gone", state.TaskRunning)
}

func TestShimKilled(t *testing.T) {
	b := shared(t)
	b.create("shimless", b.load(image(t, v1.Config{})), nil)
	b.start("shimless")
	pid := b.see("shimless").Task.PID
	b.must(syscall.Kill(parent(t, pid), syscall.SIGKILL))
	b.eventually("the task has ended", func() bool { return !b.see("shimless").Task.Alive() })
	b.start("shimless")
	if again := b.see("shimless").Task; again.Status != state.TaskRunning || again.PID == pid {
		t.Errorf("after the start the task is %+v", again)
	}
}

func TestFrozenShimIsNotTakenForGone(t *testing.T) {
	b := shared(t)
	b.create("frozen", b.load(image(t, v1.Config{})), nil)
	b.start("frozen")
	shim := parent(t, b.see("frozen").Task.PID)
	b.must(syscall.Kill(shim, syscall.SIGSTOP))
	defer syscall.Kill(shim, syscall.SIGCONT)
	if task := b.see("frozen").Task; !task.Alive() {
		t.Errorf("a task whose shim is frozen is observed as %+v", task)
	}
	if err := b.StartTask(t.Context(), plan.StartTask{Workspace: "frozen", Container: "frozen"}); err == nil {
		t.Error("a second task was started beside a frozen one")
	}
	b.must(syscall.Kill(shim, syscall.SIGCONT))
	b.eventually("the task is observed again", func() bool { return b.see("frozen").Task.Status == state.TaskRunning })
}

// parent is the parent of a process: of a task's, its shim.
func parent(t *testing.T, pid uint32) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil || ppid <= 1 {
		t.Fatalf("parent of %d is %d, %v", pid, ppid, err)
	}
	return ppid
}

func TestForeignContainerIsFound(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{Env: []string{"PATH=/", "A=B"}}))
	w := func(w *spec.Workspace) {
		w.Args = []string{"serve", "more"}
		w.Env = []spec.EnvVar{{Name: "X", Value: "Y"}}
		w.Mounts = []spec.Mount{{Source: b.dir, Target: "/host", ReadOnly: true}}
	}
	b.create("ours", name, w)
	b.foreign("stranger", "ours")
	c := b.see("stranger")
	if c.Workspace != "" || c.Applied != nil || c.Found == nil {
		t.Fatalf("a foreign container is observed as %+v", c)
	}
	want := spec.Default()
	want.Name, want.Image, want.Network.Mode = "stranger", name, spec.NetworkNone
	w(&want)
	if diff := diffSpecs(want, *c.Found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	b.must(b.AdoptContainer(t.Context(), plan.AdoptContainer{Container: "stranger", Set: "s", Host: "h", Spec: *c.Found}))
	if c := b.see("stranger"); c.Workspace != "stranger" || c.Applied == nil {
		t.Errorf("after its adoption it is observed as %+v", c)
	}
}

func TestNewerKeptSpecAffectsOnlyItsContainer(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	b.create("old", name, nil)
	b.create("new", name, nil)
	container, err := b.raw.LoadContainer(t.Context(), "new")
	b.must(err)
	b.must(container.Update(t.Context(), fromTheFuture))
	if c := b.see("new"); !strings.Contains(c.Unreadable, "newer") {
		t.Errorf("Unreadable is %q", c.Unreadable)
	}
	if c := b.see("old"); c.Unreadable != "" || c.Applied == nil {
		t.Errorf("the other one is observed as %+v", c)
	}
}

func pull(b *bench, ref string) error {
	return b.PullImage(b.t.Context(), plan.PullImage{Image: ref}, nil)
}

func TestPull(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	first := image(t, v1.Config{Labels: map[string]string{"v": "1"}})
	ref := registry.Push(t, "team/bot:v1", first)
	var mu = make(chan struct{}, 1)
	layers := map[string]int64{}
	b.must(b.PullImage(t.Context(), plan.PullImage{Image: ref}, func(layer string, done, total int64) {
		mu <- struct{}{}
		layers[layer] = total
		<-mu
	}))
	w := spec.Default()
	w.Image, w.ImagePullPolicy = ref, spec.PullAlways
	if i := b.asked(w); i.Digest == "" || i.Digest != i.Source || i.Err != "" {
		t.Errorf("after the pull the image is observed as %+v", i)
	}
	b.create("puller", ref, nil)
	before := b.see("puller").Digest

	registry.Push(t, "team/bot:v1", image(t, v1.Config{Labels: map[string]string{"v": "2"}}))
	if i := b.asked(w); i.Digest != before || i.Source == before {
		t.Errorf("after the tag moved the image is observed as %+v, it was %s", i, before)
	}
	b.must(pull(b, ref))
	if _, err := b.raw.GetImage(t.Context(), b.see("puller").Image); err != nil {
		t.Errorf("the image of what runs is lost when its tag moves: %v", err)
	}
}

// asked is what is known of the image of a workspace once its registry was
// asked too.
func (b *bench) asked(w spec.Workspace) state.Image {
	b.t.Helper()
	images, err := b.Images(b.t.Context(), []spec.Workspace{w})
	b.must(err)
	now := state.State{Images: images}
	now.Ask(b.Sources(b.t.Context(), []spec.Workspace{w}))
	return now.Images[w.Image]
}

func TestPullErrorsSayWhatToDo(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", image(t, v1.Config{}))
	for _, test := range []struct{ ref, want string }{
		{registry.Host + "/bot:none", "was not found in its registry"},
		{registry.Host + "/none:v1", "was not found in its registry"},
		{"127.0.0.1:1/bot:v1", "cannot be reached"},
	} {
		err := pull(b, test.ref)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.ref, err, test.want)
		}
	}
	registry.RequireLogin("ann", "secret")
	if err := pull(b, ref); err == nil || !strings.Contains(err.Error(), "docker login "+registry.Host) {
		t.Errorf("missing credentials: the error is %v", err)
	}
	t.Setenv("DOCKER_CONFIG", b.dir)
	login(t, b.dir, registry.Host, "ann:wrong")
	if err := pull(b, ref); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong credentials: the error is %v", err)
	}
	login(t, b.dir, registry.Host, "ann:secret")
	b.must(pull(b, ref))
}

func TestPullAsksTheCredentialHelper(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", image(t, v1.Config{}))
	registry.RequireLogin("ann", "from the helper")
	b.must(os.WriteFile(filepath.Join(b.dir, "docker-credential-test"), []byte(`#!/bin/sh
read host
echo '{"ServerURL": "'"$host"'", "Username": "ann", "Secret": "from the helper"}'
`), 0o755))
	b.must(os.WriteFile(filepath.Join(b.dir, "config.json"), []byte(`{"credHelpers": {"`+registry.Host+`": "test"}}`), 0o600))
	t.Setenv("DOCKER_CONFIG", b.dir)
	t.Setenv("PATH", b.dir+":"+os.Getenv("PATH"))
	b.must(pull(b, ref))
}

func TestPullThatFailsDisturbsNoOther(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir)))
	begun, failed := make(chan struct{}, 16), make(chan struct{})
	registry.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			begun <- struct{}{}
			<-failed
		}
		return false
	})
	pulled := make(chan error, 1)
	go func() { pulled <- pull(b, ref) }()
	<-begun
	if err := pull(b, registry.Host+"/none:v1"); err == nil {
		t.Error("an image that does not exist was pulled")
	}
	close(failed)
	b.must(<-pulled)
	if n := registry.Count("GET /v2/bot/manifests/"); n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
}

func TestPullFromAMirror(t *testing.T) {
	b := shared(t)
	mirror := drivertest.NewRegistry(t)
	mirror.Push(t, "bot:v1", image(t, v1.Config{}))
	dir := filepath.Join(b.dir, "certs.d", "registry.example.com")
	b.must(os.MkdirAll(dir, 0o755))
	b.must(os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(`[host."http://`+mirror.Host+`"]
  capabilities = ["pull", "resolve"]
`), 0o644))
	b.must(pull(b, "registry.example.com/bot:v1"))
}

func TestPullThatBrokeOffIsMadeGood(t *testing.T) {
	b := shared(t)
	registry := drivertest.NewRegistry(t)
	// Content that no other test has: containerd shares it between namespaces.
	ref := registry.Push(t, "bot:v1", image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir)))
	registry.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 1000)) // the connection breaks here
		return true
	})
	if err := pull(b, ref); err == nil {
		t.Fatal("a pull from a registry that breaks off went well")
	}
	registry.Before(nil)
	b.must(pull(b, ref))
	b.create("resumed", ref, nil)
}

func TestArchiveErrors(t *testing.T) {
	b := shared(t)
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
	drivertest.Archive(t, path, image(t, v1.Config{}))
	was := see()
	drivertest.Archive(t, path, image(t, v1.Config{User: "1"}))
	err := b.ImportImage(t.Context(), plan.ImportImage{Path: path, Digest: was.Source, Name: was.Name})
	if err == nil || !strings.Contains(err.Error(), "changed since it was planned") {
		t.Errorf("a changed archive: the error is %v", err)
	}
}

func TestViewImage(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{User: "worker"},
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
