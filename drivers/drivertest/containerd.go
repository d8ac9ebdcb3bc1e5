package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

// BinDirVariable is the environment variable with the folder of the containerd that
// tests run: its daemon and its shim. Without it they run the one in the PATH.
const BinDirVariable = "CARREL_TEST_CONTAINERD_DIR"

// Containerd is a private daemon with its own folders and its own socket.
type Containerd struct {
	Address string
	Dir     string

	binary  string
	process *process
}

// StartContainerd starts a daemon that keeps everything below dir, or below a
// new folder when dir is empty. The path of dir must be short: sockets are in it.
func StartContainerd(dir string) (*Containerd, error) {
	binary, err := exec.LookPath(filepath.Join(os.Getenv(BinDirVariable), "containerd"))
	if err != nil {
		return nil, fmt.Errorf("containerd is needed (make setup installs it): %w", err)
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cd"); err != nil {
			return nil, err
		}
	}
	c := &Containerd{Address: filepath.Join(dir, "s"), Dir: dir, binary: binary}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.Address)
	if err := os.WriteFile(c.config(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return c, c.Start()
}

func (c *Containerd) config() string { return filepath.Join(c.Dir, "config.toml") }

// Start starts the daemon again after Kill or Stop.
func (c *Containerd) Start() error {
	log, err := os.OpenFile(filepath.Join(c.Dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.binary, "--config", c.config())
	cmd.Stdout, cmd.Stderr = log, log
	// The daemon must find the shim that was built with it.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(c.binary)+":"+os.Getenv("PATH"))
	if c.process, err = start(cmd); err != nil {
		return err
	}
	return c.process.until(func() error {
		conn, err := client.New(c.Address)
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
		defer cancel()
		_, err = conn.Version(ctx)
		return err
	})
}

// Kill ends the daemon at once. Containers continue to run.
func (c *Containerd) Kill() error { return c.process.end(syscall.SIGKILL) }

// Stop ends all containers, then the daemon, and removes its folder. A daemon that a
// test killed is started first, because only it can end its containers.
func (c *Containerd) Stop() error {
	if c.process.gone() {
		if err := c.Start(); err != nil {
			return err
		}
	}
	err := c.clearAll()
	err = errors.Join(err, c.process.end(syscall.SIGTERM))
	return errors.Join(err, mount.UnmountRecursive(c.Dir, 0), os.RemoveAll(c.Dir))
}

func (c *Containerd) clearAll() error {
	conn, err := client.New(c.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	names, err := conn.NamespaceService().List(context.Background())
	for _, name := range names {
		err = errors.Join(err, c.Clear(name))
	}
	return err
}

// Clear ends and removes all containers of a namespace, and what the runtime and the
// kernel keep of them. It goes on after an error.
func (c *Containerd) Clear(namespace string) error {
	conn, err := client.New(c.Address, client.WithDefaultNamespace(namespace))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.Background(), namespace), serverTimeout)
	defer cancel()
	all, err := conn.Containers(ctx)
	if err != nil {
		return err
	}
	for _, container := range all {
		if task, missing := container.Task(ctx, nil); missing == nil {
			_, failed := task.Delete(ctx, client.WithProcessKill)
			err = errors.Join(err, unlessGone(failed))
		}
		err = errors.Join(err, unlessGone(container.Delete(ctx, client.WithSnapshotCleanup)))
	}
	return errors.Join(err, removeLeftovers(namespace))
}

func unlessGone(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// runtimeState is where runc keeps the state of containers, by namespace. All daemons
// of the host share this folder.
const runtimeState = "/run/containerd/runc"

// removeLeftovers removes the empty groups that a namespace's containers leave,
// and the folder of their states.
func removeLeftovers(namespace string) error {
	groups, err := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", namespace))
	if err != nil {
		return err
	}
	for _, left := range append(groups, filepath.Join("/sys/fs/cgroup", namespace), filepath.Join(runtimeState, namespace)) {
		failed := os.Remove(left)
		if !errors.Is(failed, os.ErrNotExist) && !errors.Is(failed, syscall.EBUSY) && !errors.Is(failed, syscall.ENOTEMPTY) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// Client is a plain client for a namespace. With it tests check what a driver did, and
// make leftovers that it must handle.
func (c *Containerd) Client(t testing.TB, namespace string) *client.Client {
	t.Helper()
	conn, err := client.New(c.Address, client.WithDefaultNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

var spaces atomic.Int64

// Namespace is a namespace for one test, emptied when the test ends.
func (c *Containerd) Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("carrel-test-%d-%d", os.Getpid(), spaces.Add(1))
	t.Cleanup(func() {
		if err := c.Clear(name); err != nil {
			t.Errorf("clear namespace %s: %v", name, err)
		}
	})
	return name
}

// NewContainerd is a daemon for one test, for those that end it.
func NewContainerd(t testing.TB) *Containerd {
	t.Helper()
	c, err := StartContainerd("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop containerd: %v\n%s", err, c.LastLog())
		}
	})
	return c
}

// LastLog is the end of the daemon's log.
func (c *Containerd) LastLog() string {
	text, err := os.ReadFile(filepath.Join(c.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

var shared struct {
	sync.Mutex
	containerd *Containerd
	postgres   *Postgres
}

// SharedContainerd is the daemon that the tests of a package share; Main ends it.
func SharedContainerd(t testing.TB) *Containerd {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.containerd == nil {
		c, err := StartContainerd("")
		if err != nil {
			t.Fatal(err)
		}
		shared.containerd = c
	}
	return shared.containerd
}

// Main runs a package's tests and ends the servers that they shared.
func Main(m *testing.M) int {
	code := m.Run()
	var err error
	if shared.containerd != nil {
		err = shared.containerd.Stop()
	}
	if shared.postgres != nil {
		err = errors.Join(err, shared.postgres.Stop())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "drivertest:", err)
		return max(code, 1)
	}
	return code
}
