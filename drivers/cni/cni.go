// Package cni attaches workspaces to networks: each gets a network namespace with
// an address, by the plugins of the Container Network Interface (CNI). The
// namespace is pinned: mounted at a file, so that it is there before the task and
// outlives it.
//
// A record in the state dir keeps what an ADD was given, written before it runs,
// and what it returned. So a DEL needs neither the task nor the namespace, and
// works after a reboot. Nothing is changed before the first attach: a host whose
// workspaces need no network of their own needs neither plugins nor iptables.
//
// The package starts no containers: the runtime joins the namespace, and mounts
// the files that this package writes.
package cni

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config says where things are. StateDir and Namespace are required; the zero
// value of another field stands for what a host usually has.
type Config struct {
	ConfDir   string   // of CNI configurations; "" is /etc/cni/net.d
	BinDirs   []string // of plugins, in the order in which they are searched; nil is the usual ones
	RunDir    string   // for what a reboot may remove; "" is /run/carrel
	StateDir  string   // for what a reboot must not remove
	Namespace string   // containerd's; it is part of the ids that plugins know workspaces by
	Subnet    string   // of the built-in bridge; "" is 10.63.0.0/16

	ResolvFile    string        // that nameservers are taken from; "" is /etc/resolv.conf
	PluginTimeout time.Duration // of one ADD or DEL; 0 is a minute
}

// The defaults of a Config.
const (
	defaultConfDir = "/etc/cni/net.d"
	defaultRunDir  = "/run/carrel"
	defaultSubnet  = "10.63.0.0/16"
	defaultTimeout = time.Minute
)

var defaultBinDirs = []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}

// The folders in the run dir, and the one in the state dir.
const (
	netnsDir    = "netns"    // a pinned namespace for each workspace
	resolvDir   = "resolv"   // a resolv.conf for each workspace
	hostsDir    = "hosts"    // a hosts file for each set
	networksDir = "networks" // a record for each attachment
)

// Driver attaches and detaches the workspaces of one state dir.
type Driver struct {
	Config
	mutex   sync.Mutex // guards what follows
	shared  bool       // whether share was done for the folder of namespaces: once is enough
	checked string     // the configuration whose version the plugins know
	allowed time.Time  // when the rules of the built-in bridge were last checked: not before each attach
}

// New gives a driver. It reads and changes nothing yet.
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
	if c.ResolvFile == "" {
		c.ResolvFile = hostResolv
	}
	if c.PluginTimeout == 0 {
		c.PluginTimeout = defaultTimeout
	}
	return &Driver{Config: c}
}

// netns is where the namespace of a workspace is pinned.
func (d *Driver) netns(workspace string) string { return filepath.Join(d.RunDir, netnsDir, workspace) }

// id is the name by which plugins know a workspace. It is unique on the host,
// because they keep the addresses of all networks by it.
func (d *Driver) id(workspace string) string { return d.Namespace + "." + workspace }

// valid refuses a name that could make a path lead elsewhere.
func valid(kind, name string) error {
	if len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("%s %q: not a name that a file can have", kind, name)
	}
	return nil
}

// ownerFile is the file in a run dir that has the path of the state dir that the
// run dir belongs to, and a newline.
const ownerFile = "owner"

// owns reports whether the run dir belongs to this driver's state dir. In the run
// dir of another one, all attachments would look like leftovers.
func (d *Driver) owns() (bool, error) {
	owner, err := d.owner()
	return owner == d.stateDir(), err
}

// ownsOrUnknown reports whether there is a run dir that belongs to no other state
// dir.
func (d *Driver) ownsOrUnknown() (bool, error) {
	owner, err := d.owner()
	if err != nil || owner != "" {
		return owner == d.stateDir(), err
	}
	_, err = os.Stat(d.RunDir)
	return err == nil, ifThere(err)
}

// owner is the state dir that the run dir belongs to, "" when that is not known:
// the file does not exist, or a crash or a full disk left it without its end.
func (d *Driver) owner() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.RunDir, ownerFile))
	owner, whole := strings.CutSuffix(string(text), "\n")
	if !whole {
		return "", ifThere(err)
	}
	return owner, err
}

// stateDir is the absolute path of the state dir, without symlinks.
func (d *Driver) stateDir() string {
	path, err := filepath.Abs(d.StateDir)
	if err != nil {
		return d.StateDir
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// openRunDir makes the folders of the run dir and writes whose it is.
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
			err = renameio.WriteFile(filepath.Join(d.RunDir, ownerFile), []byte(d.stateDir()+"\n"), 0o644, renameio.WithTempDir(d.RunDir))
		case owner != d.stateDir():
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

// locked runs fn while no other goroutine or process runs one. It guards what
// workspaces share that are attached at the same time.
func (d *Driver) locked(fn func() error) error {
	lock := flock.New(filepath.Join(d.RunDir, "lock"), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	d.mutex.Lock() // the race detector does not know that the file lock is enough
	defer d.mutex.Unlock()
	return errors.Join(fn(), lock.Unlock())
}
