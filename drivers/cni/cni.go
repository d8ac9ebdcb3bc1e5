// Package cni gives workspaces network namespaces with addresses, by the
// plugins of the Container Network Interface. A namespace is pinned as a file,
// so that it is there before the task and outlives it.
//
// What an ADD was given is kept in the state dir before it runs, and what it
// returned afterwards: a DEL needs neither the task nor the namespace, and works
// after a reboot. It touches nothing until it is used: a host whose workspaces
// need no network of their own needs neither plugins nor iptables.
//
// It starts no containers: the runtime joins the namespace, and mounts the
// files that this package writes.
package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config says where things are. The zero value of each field but StateDir and
// Namespace is what a host usually has.
type Config struct {
	ConfDir   string   // of CNI configurations; "" is /etc/cni/net.d
	BinDirs   []string // of plugins, in the order in which they are searched
	RunDir    string   // for what a reboot may take away; "" is /run/carrel
	StateDir  string   // for what it may not
	Namespace string   // containerd's: in the names that plugins know workspaces by
	Subnet    string   // of the built-in bridge; "" is 10.63.0.0/16
}

// The defaults of a Config.
const (
	defaultConfDir = "/etc/cni/net.d"
	defaultRunDir  = "/run/carrel"
	defaultSubnet  = "10.63.0.0/16"
)

var defaultBinDirs = []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}

// The folders of the run dir, and the one of the state dir.
const (
	netnsDir    = "netns"    // a pinned namespace for each workspace
	resolvDir   = "resolv"   // a resolv.conf for each workspace
	hostsDir    = "hosts"    // a hosts file for each set
	networksDir = "networks" // a record for each attachment
)

// Driver keeps the networks of one state dir.
type Driver struct {
	Config
	mutex   sync.Mutex
	shared  bool      // whether the folder of the namespaces is known to be shared
	allowed time.Time // when the rules of the built-in bridge were last looked at
}

// New gives a driver. It touches nothing yet.
func New(c Config) *Driver {
	if c.ConfDir == "" {
		c.ConfDir = defaultConfDir
	}
	if len(c.BinDirs) == 0 {
		c.BinDirs = defaultBinDirs
	}
	if c.RunDir == "" {
		c.RunDir = defaultRunDir
	}
	if c.Subnet == "" {
		c.Subnet = defaultSubnet
	}
	return &Driver{Config: c}
}

// netns is where the namespace of a workspace is pinned.
func (d *Driver) netns(workspace string) string { return filepath.Join(d.RunDir, netnsDir, workspace) }

// id is the name by which plugins know a workspace. They keep addresses by it,
// for all of the host.
func (d *Driver) id(workspace string) string { return d.Namespace + "." + workspace }

// valid refuses a name that could lead to a path elsewhere.
func valid(kind, name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("%s %q: not a name that a file can have", kind, name)
	}
	return nil
}

// ownerFile says which state dir a run dir belongs to.
const ownerFile = "owner"

// owns reports whether the run dir is this driver's. In one of another state dir,
// everything would look like a leftover.
func (d *Driver) owns() (bool, error) {
	owner, err := d.owner()
	return owner == d.home(), err
}

func (d *Driver) owner() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.RunDir, ownerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// home is the state dir's one name.
func (d *Driver) home() string {
	path, err := filepath.Abs(d.StateDir)
	if err != nil {
		return d.StateDir
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// openRunDir makes the folders of the run dir and takes it into use.
func (d *Driver) openRunDir() error {
	for _, dir := range []string{netnsDir, resolvDir, hostsDir} {
		if err := os.MkdirAll(filepath.Join(d.RunDir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
		return err
	}
	return d.locked(func() error {
		owner, err := d.owner()
		switch {
		case err != nil:
			return err
		case owner == "":
			err = os.WriteFile(filepath.Join(d.RunDir, ownerFile), []byte(d.home()+"\n"), 0o644)
		case owner != d.home():
			return fmt.Errorf("%s belongs to the carrel whose state dir is %s (give this one another run dir, or remove %s/%s if that one is gone)",
				d.RunDir, owner, d.RunDir, ownerFile)
		}
		if err != nil || d.shared {
			return err
		}
		d.shared = true
		return share(filepath.Join(d.RunDir, netnsDir))
	})
}

// locked runs fn while no other goroutine or process does: what it changes is
// shared by workspaces that are attached side by side.
func (d *Driver) locked(fn func() error) error {
	lock := flock.New(filepath.Join(d.RunDir, "lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	d.mutex.Lock() // for the race detector: it does not see file locks
	defer d.mutex.Unlock()
	return errors.Join(fn(), lock.Unlock())
}
