package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"carrel/drivers/drivertest"
)

// tests runs the tests of the package and then stops the servers that they share.
type tests struct{ m *testing.M }

func (t tests) Run() int { return drivertest.Main(t.m) }

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"carrel": main})
}

// TestScripts runs the real program on a real containerd. Each script has its
// own containerd namespace, state dir and registry. testdata/script/README.md
// lists the commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, params(t, nil))
}

// TestScriptsOnPostgres runs the scripts that write most to the store with
// Postgres instead of SQLite.
func TestScriptsOnPostgres(t *testing.T) {
	p := params(t, []string{"life.txtar", "stop.txtar", "failures.txtar"})
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("CARREL_STORE", drivertest.SharedPostgres(t).Database(t))
		return setup(env)
	}
	testscript.Run(t, p)
}

// params are the parameters of all scripts, or only of those that are named.
func params(t *testing.T, only []string) testscript.Params {
	daemon := drivertest.SharedContainerd(t)
	p := testscript.Params{
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			registry := drivertest.NewRegistry(tb)
			port, err := freePort()
			if err != nil {
				return err
			}
			env.Values["registry"], env.Values["tb"], env.Values["servers"] = registry, tb, &servers{}
			space := daemon.Namespace(tb)
			env.Values["servers"].(*servers).client = daemon.Client(tb, space)
			for name, value := range map[string]string{
				"CARREL_ADDRESS": daemon.Address, "CARREL_NAMESPACE": space, "CARREL_NAMESPACE_2": daemon.Namespace(tb), "CARREL_HOST": "testhost",
				"CARREL_STATE_DIR": filepath.Join(env.WorkDir, "state"), "CARREL_HOSTS_DIR": filepath.Join(env.WorkDir, "certs.d"),
				"CARREL_RUN_DIR": filepath.Join(env.WorkDir, "run"), "CARREL_CNI_CONF_DIR": filepath.Join(env.WorkDir, "net.d"),
				"CARREL_SUBNET": drivertest.Subnet(tb, filepath.Join(env.WorkDir, "run")), "CARREL_CDI_SPEC_DIR": filepath.Join(env.WorkDir, "cdi"),
				"PORT": port, "REGISTRY": registry.Host, "DOCKER_CONFIG": filepath.Join(env.WorkDir, "docker"),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"archive": archive, "large-archive": largeArchive, "push": push, "odd-archive": oddArchive, "odd-push": oddPush, "login": requireLogin, "kill-task": killTask, "delete-container": deleteContainer,
			"foreign": foreign, "orphan": orphan, "inside": inside, "get": get, "listen": listen, "reboot": reboot, "pid": pidOf, "umount": unmount, "wait-log": waitLog, "wait-stopped": waitStopped,
			"push-index": pushIndex, "answer": answer, "asked": asked, "proxy": proxy, "archives": archives, "archive-index": archiveIndex,
			"own-containerd": ownContainerd, "end-containerd": endContainerd, "start-containerd": startContainerd,
			"own-postgres": ownPostgres, "end-postgres": endPostgres, "start-postgres": startPostgres,
			"hangup": hangup, "until": until, "until-get": untilGet, "tmpfs": tmpfs, "nobody": nobody, "hold-lock": holdLock, "lose-root": loseRoot, "replace": replace, "tamper": tamper, "labels": labels,
			"conforms": conforms, "layers-complete": layersComplete,
		},
	}
	if only == nil {
		p.Dir = "testdata/script"
		return p
	}
	for _, name := range only {
		p.Files = append(p.Files, filepath.Join("testdata/script", name))
	}
	return p
}

func tb(ts *testscript.TestScript) testing.TB { return ts.Value("tb").(testing.TB) }

// image is an image of the guest, which runs with these arguments. Its data
// belongs to a user that is not root.
func image(ts *testscript.TestScript, version string, args []string) v1.Image {
	config := v1.Config{Env: []string{"PATH=/", "VERSION=" + version}, User: "1000:1000"}
	if len(args) > 0 {
		config.Entrypoint = append([]string{"/guest"}, args...)
	}
	return drivertest.Image(tb(ts), config, drivertest.Folder("data", 0o750, 1000), drivertest.File("data/seed", 0o640, 1000, version),
		drivertest.Folder("run", 0o755, 0), drivertest.Folder("run/guest", 0o755, 1000))
}

// archive FILE VERSION [ARG...] writes an image as an OCI archive.
func archive(ts *testscript.TestScript, _ bool, args []string) {
	drivertest.Archive(tb(ts), ts.MkAbs(args[0]), image(ts, args[1], args[2:]))
}

// large-archive FILE writes an image with 1 MiB of data.
func largeArchive(ts *testscript.TestScript, _ bool, args []string) {
	large := drivertest.File("data/large", 0o644, 0, strings.Repeat("x", 1<<20))
	drivertest.Archive(tb(ts), ts.MkAbs(args[0]), drivertest.Image(tb(ts), v1.Config{}, drivertest.Folder("data", 0o755, 0), large))
}

// push REPOSITORY:TAG VERSION [ARG...] pushes an image to the script's registry.
func push(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("registry").(*drivertest.Registry).Push(tb(ts), args[0], image(ts, args[1], args[2:]))
}

// login USER PASSWORD makes the script's registry require this login.
func requireLogin(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("registry").(*drivertest.Registry).RequireLogin(args[0], args[1])
}

func container(ts *testscript.TestScript, id string) client.Container {
	c, err := clientOf(ts).LoadContainer(tb(ts).Context(), id)
	ts.Check(err)
	return c
}

// kill-task ID kills the process of a container and waits until it has exited.
func killTask(ts *testscript.TestScript, _ bool, args []string) {
	ctx := tb(ts).Context()
	task, err := container(ts, args[0]).Task(ctx, nil)
	ts.Check(err)
	exited, err := task.Wait(ctx)
	ts.Check(err)
	ts.Check(task.Kill(ctx, syscall.SIGKILL))
	<-exited
}

// delete-container ID deletes a container and its task without carrel. An agent may
// start the task anew meanwhile, so it is done again until the container is gone.
func deleteContainer(ts *testscript.TestScript, _ bool, args []string) {
	container(ts, args[0])
	limit := time.After(patience)
	for {
		err := deleteOnce(tb(ts).Context(), clientOf(ts), args[0])
		if errdefs.IsNotFound(err) {
			return
		}
		select {
		case <-time.After(askAgain):
		case <-limit:
			ts.Fatalf("container %s is not gone: %v", args[0], err)
		}
	}
}

// deleteOnce is "not found" when the container is gone.
func deleteOnce(ctx context.Context, c *client.Client, id string) error {
	container, err := c.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	if task, err := container.Task(ctx, nil); err == nil {
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	if err := container.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// tmpfs DIR SIZE mounts a small filesystem until the script ends.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			tb(ts).Error(err)
		}
	})
}

// nobody ARG... runs carrel as a user without rights.
func nobody(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := os.MkdirTemp("", "nobody")
	ts.Check(err)
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	ts.Check(err)
	text, err := os.ReadFile(self)
	ts.Check(err)
	program := filepath.Join(dir, "carrel")
	ts.Check(errors.Join(os.WriteFile(program, text, 0o755), os.Chmod(dir, 0o755)))
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = "/", []string{"CARREL_ADDRESS=" + ts.Getenv("CARREL_ADDRESS"), "CARREL_STATE_DIR=" + ts.Getenv("CARREL_STATE_DIR")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	fmt.Fprint(ts.Stdout(), string(out))
	if (err != nil) != neg {
		ts.Fatalf("carrel as nobody: %v: %s", err, out)
	}
}

// hold-lock holds the lock of the state dir until the script ends.
func holdLock(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.Getenv("CARREL_STATE_DIR")
	ts.Check(os.MkdirAll(dir, 0o700))
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	ts.Check(err)
	ts.Check(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	_, err = io.WriteString(f, "ann@testhost with carrel apply, process 1, since today\n")
	ts.Check(err)
	ts.Defer(func() { f.Close() })
}

// replace FILE OLD NEW replaces a text in a file.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}
