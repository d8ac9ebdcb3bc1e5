// Package containerd is the driver of containerd: it makes and deletes containers,
// starts and stops tasks, and observes all of them. It works with containerd 1.6, 1.7
// and 2.x. Package images has what concerns images: the driver embeds its Store.
//
// It uses one containerd namespace and no other. It decides nothing: the steps say
// which image, which container, and when to start it.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"carrel/drivers/containerd/images"
)

// Config says which containerd is used, and where the files of workspaces are.
type Config struct {
	Address     string // of containerd's socket
	Namespace   string // containerd's, not the kernel's
	Snapshotter string // "" is overlayfs
	HostsDir    string // has a folder with a hosts.toml for each registry; need not exist
	VolumesDir  string // has the volume of each workspace under its name
	ViewsDir    string // for mounting root filesystems for reading; "" is the system's folder for temporary files
	LogsDir     string // for the output of each workspace's task
	RunDir      string // has netns/<workspace>, resolv/<workspace> and hosts/<set>; "" is /run/carrel

	// Inject adds devices to an OCI spec and returns what each resolved to. It is
	// nil on a host without devices.
	Inject func(to *specs.Spec, names []string) (digests map[string]string, err error)
}

// Driver is a connection to containerd, for one namespace.
type Driver struct {
	Config
	// Store has the methods about images, and those that mount root filesystems for
	// reading.
	*images.Store
	client *client.Client
	starts starts
}

// Open connects. Its error says why containerd does not answer, and what to do.
func Open(ctx context.Context, c Config) (*Driver, error) {
	if c.Snapshotter == "" {
		c.Snapshotter = "overlayfs"
	}
	if c.RunDir == "" {
		c.RunDir = "/run/carrel"
	}
	if err := answers(ctx, c.Address); err != nil {
		return nil, err
	}
	// The client library logs errors that it also returns.
	if err := log.SetLevel("fatal"); err != nil {
		return nil, err
	}
	conn, err := client.New(c.Address, client.WithDefaultNamespace(c.Namespace))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", c.Address, err)
	}
	d := &Driver{Config: c, client: conn}
	d.Store = images.New(images.Config{
		Client: conn, Snapshotter: c.Snapshotter, HostsDir: c.HostsDir, ViewsDir: c.ViewsDir, Explain: d.explain,
	})
	return d, nil
}

// Close unmounts the images that are mounted and ends the connection.
func (d *Driver) Close() error { return errors.Join(d.Store.Close(), d.client.Close()) }

// answers checks that something listens on the socket. The client would wait for
// that.
func answers(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("containerd's socket %s does not exist (start containerd, or say where it is with --address)", address)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use containerd's socket %s (run carrel as root)", address)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers at containerd's socket %s (start containerd, or say where it is with --address)", address)
	}
	return fmt.Errorf("containerd's socket %s: %w", address, err)
}

// explain says of an error that the connection failed, if it did.
func (d *Driver) explain(err error) error {
	var answer interface{ GRPCStatus() *status.Status }
	if errdefs.IsUnavailable(err) || errors.As(err, &answer) && answer.GRPCStatus().Code() == codes.Unavailable {
		return fmt.Errorf("containerd at %s does not answer (is it running?): %w", d.Address, err)
	}
	return err
}

// volume is the host folder of a workspace's data.
func (d *Driver) volume(workspace string) string { return filepath.Join(d.VolumesDir, workspace) }

// logFile is where the output of a workspace's task goes.
func (d *Driver) logFile(workspace string) (string, error) {
	if err := os.MkdirAll(d.LogsDir, 0o700); err != nil {
		return "", fmt.Errorf("folder for the output of tasks: %w", err)
	}
	return filepath.Join(d.LogsDir, workspace+".log"), nil
}
