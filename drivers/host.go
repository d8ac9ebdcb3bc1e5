// Package drivers opens, observes and closes the drivers of one host together.
//
// It changes neither the host nor the state dir, with two exceptions: Open brings
// the tables of the store up to date, and ClaimStateDir writes whose the state dir
// is. Package apply changes the rest, through the drivers that are open.
package drivers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"carrel/drivers/cdi"
	"carrel/drivers/cni"
	"carrel/drivers/containerd"
	"carrel/drivers/records"
	"carrel/drivers/volumes"
	"carrel/plan/state"
	"carrel/spec"
)

// Config says which host, and where its drivers find and keep things.
type Config struct {
	Host        string   // its name in records and specs
	StateDir    string   // for what a reboot must not remove: volumes, records, logs
	Store       string   // a URL; "" is SQLite in the state dir
	Address     string   // of containerd's socket
	Namespace   string   // containerd's
	Snapshotter string   // containerd's; "" is overlayfs
	HostsDir    string   // has a folder with a hosts.toml for each registry; need not exist
	RunDir      string   // for what ends with the boot: network namespaces; "" is /run/carrel
	CNIConfDir  string   // "" is /etc/cni/net.d
	CNIBinDirs  []string // nil is the usual ones
	Subnet      string   // of the built-in network; "" is 10.63.0.0/16
	ResolvConf  string   // has the nameservers of workspaces; "" is /etc/resolv.conf
	CDISpecDirs []string // nil is those of the CDI specification

	// DeviceWait is how long to wait for vendors whose CDI files are missing, as
	// they may be at boot. Waiting, which may be nil, is called once if so.
	DeviceWait time.Duration
	Waiting    func(missing string)
}

// Host is a host whose drivers are open.
type Host struct {
	Name    string
	Runtime *containerd.Driver
	Network *cni.Driver
	Devices *cdi.Driver
	Volumes *volumes.Driver
	Records *records.Store

	config Config
}

// StoreURL is the URL of the store.
func (c Config) StoreURL() string {
	if c.Store != "" {
		return c.Store
	}
	return "sqlite://" + filepath.Join(c.StateDir, "records.db")
}

// Open opens all drivers for changing the host. Call ClaimStateDir before the
// first change.
func Open(ctx context.Context, c Config) (*Host, error) {
	return open(ctx, c, records.Open)
}

// OpenAnyway is Open, also when the store takes nothing at present, as on a full disk:
// what ends a process or frees space goes on then.
func OpenAnyway(ctx context.Context, c Config) (*Host, error) {
	return open(ctx, c, records.OpenAnyway)
}

// OpenReadOnly opens all drivers for observing only: no file is made and no table
// migrated.
func OpenReadOnly(ctx context.Context, c Config) (*Host, error) {
	return open(ctx, c, records.OpenReadOnly)
}

func open(ctx context.Context, c Config, store func(context.Context, string) (*records.Store, error)) (*Host, error) {
	// A file that cannot be read is reported by what needs the state dir.
	if owner, err := c.owner(); err == nil && owner != "" {
		if err := c.refuse(owner); err != nil {
			return nil, err
		}
	}
	h := &Host{
		Name: c.Host, config: c, Volumes: volumes.New(c.StateDir), Devices: cdi.New(c.CDISpecDirs...),
		Network: cni.New(cni.Config{
			ConfDir: c.CNIConfDir, BinDirs: c.CNIBinDirs, RunDir: c.RunDir, StateDir: c.StateDir, Namespace: c.Namespace, Subnet: c.Subnet,
			ResolvFile: c.ResolvConf,
		}),
	}
	var group sync.WaitGroup
	var noRecords, noRuntime error
	group.Go(func() { h.Records, noRecords = store(ctx, c.StoreURL()) })
	group.Go(func() {
		h.Runtime, noRuntime = containerd.Open(ctx, containerd.Config{
			Address: c.Address, Namespace: c.Namespace, Snapshotter: c.Snapshotter, HostsDir: c.HostsDir,
			VolumesDir: h.Volumes.Dir(), LogsDir: filepath.Join(c.StateDir, "logs"), RunDir: c.RunDir,
			ViewsDir: filepath.Join(c.StateDir, "views"),
			Inject:   h.Devices.Inject,
		})
	})
	group.Wait()
	if noRecords != nil || noRuntime != nil {
		return nil, errors.Join(noRecords, noRuntime, h.Close())
	}
	return h, nil
}

// Close closes the drivers that are open.
func (h *Host) Close() error {
	var errs []error
	if h.Records != nil {
		errs = append(errs, h.Records.Close())
	}
	if h.Runtime != nil {
		errs = append(errs, h.Runtime.Close())
	}
	return errors.Join(errs...)
}

// Observe reads everything that exists, all sources at the same time. The desired
// set says only which images, mounts and devices to ask about.
func (h *Host) Observe(ctx context.Context, want spec.Set) (state.State, error) {
	var sources map[string]state.Source
	var asking sync.WaitGroup
	asking.Go(func() { sources = h.Runtime.Sources(ctx, want.Here(h.Name)) })
	now, err := h.ObserveLocal(ctx, want)
	asking.Wait()
	now.Ask(sources)
	return now, err
}

// ObserveLocal is Observe without asking registries, which takes longest.
func (h *Host) ObserveLocal(ctx context.Context, want spec.Set) (state.State, error) {
	now := state.State{Host: h.Name, Time: time.Now().UTC(), VolumesDir: h.Volumes.Dir()}
	var without map[string]bool // containers without a root filesystem
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		now.Records, err = h.Records.Records(ctx)
		now.Shared = h.Records.Shared()
		for i := range now.Records {
			r := &now.Records[i]
			r.Gone = r.Host == h.Name && gone(r.Source)
		}
		return err
	})
	group.Go(func() (err error) {
		now.Instances, err = h.Runtime.Containers(ctx)
		return err
	})
	group.Go(func() error {
		now.Absent = absent(want.Here(h.Name))
		return nil
	})
	group.Go(func() (err error) {
		now.Snapshots, without, err = h.Runtime.Snapshots(ctx)
		return err
	})
	group.Go(func() (err error) {
		now.Networks, err = h.Network.Attachments(ctx)
		now.CNI, now.DNS = h.Network.Description(), h.Network.NameServers()
		now.IPv4Only = h.Network.IPv4Only()
		now.NoNetwork, now.NoPorts = h.Network.Problem(false), h.Network.Problem(true)
		if err == nil {
			now.Left, err = h.Network.Leftovers()
		}
		if err == nil {
			now.Taken, err = h.Network.TakenPorts(ctx, unpublished(want.Here(h.Name), now.Networks))
		}
		return err
	})
	group.Go(func() (err error) {
		now.Devices, err = h.devices(ctx, want.Here(h.Name))
		return err
	})
	group.Go(func() (err error) {
		now.Images, err = h.Runtime.Images(ctx, want.Here(h.Name))
		return err
	})
	group.Go(func() (err error) {
		now.Volumes, err = h.Volumes.Volumes(ctx)
		if err == nil {
			now.Preserved, err = h.Volumes.Preserved(ctx)
		}
		if err == nil {
			now.Trash, err = h.Volumes.Trash(ctx)
		}
		return err
	})
	err := group.Wait()
	for i := range now.Instances {
		if without[now.Instances[i].ID] {
			now.Instances[i].Damaged = "its root filesystem is gone"
		}
	}
	return now, err
}

// devices are the devices of the host. It first waits for vendors whose files are
// missing, when workspaces need their devices.
func (h *Host) devices(ctx context.Context, want []spec.Workspace) (state.Devices, error) {
	var names []string
	for _, w := range want {
		names = append(names, w.Devices...)
	}
	if len(names) > 0 && h.config.DeviceWait > 0 {
		if err := h.Devices.Wait(ctx, names, h.config.DeviceWait, h.config.Waiting); err != nil {
			return state.Devices{}, err
		}
	}
	return h.Devices.Devices(ctx)
}

// unpublished are the ports that workspaces want and do not have, by workspace.
func unpublished(want []spec.Workspace, have []state.Attachment) map[string][]spec.Port {
	has := map[string][]spec.Port{}
	for _, a := range have {
		has[a.Workspace] = a.Ports
	}
	missing := map[string][]spec.Port{}
	for _, w := range want {
		for _, p := range w.Network.Ports {
			if !slices.Contains(has[w.Name], p) {
				missing[w.Name] = append(missing[w.Name], p)
			}
		}
	}
	return missing
}

// absent are the mount sources, and the mount points in them, that the host does not
// have.
func absent(want []spec.Workspace) map[string]bool {
	missing := map[string]bool{}
	note := func(path string) {
		if gone(path) {
			missing[path] = true
		}
	}
	for _, w := range want {
		for _, m := range w.Mounts {
			note(m.Source)
		}
		for _, p := range w.MountPoints() {
			note(p.Path)
		}
	}
	return missing
}

// gone reports whether it is known that a path of the host does not exist.
func gone(source string) bool {
	if !filepath.IsAbs(source) {
		return false
	}
	_, err := os.Stat(source)
	return errors.Is(err, fs.ErrNotExist)
}
