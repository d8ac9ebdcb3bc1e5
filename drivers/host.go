// Package drivers opens, observes and closes the drivers of one host together.
//
// It changes nothing: what it opened is changed by package apply.
package drivers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// Config says which host, and where it keeps what.
type Config struct {
	Host        string // its name in records and specs
	StateDir    string
	Store       string // a URL; "" is SQLite in the state dir
	Address     string // of containerd's socket
	Namespace   string // containerd's
	Snapshotter string
	HostsDir    string // registries' hosts.toml folders
	RunDir      string // of what ends with the boot: network namespaces
	CNIConfDir  string
	CNIBinDirs  []string
	Subnet      string // of the built-in network
	CDISpecDirs []string

	// DeviceWait is how long to wait for the CDI files of vendors that have
	// none yet, as at boot. Waiting is told of it, once.
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

// Open opens all drivers for changing the host.
func Open(ctx context.Context, c Config) (*Host, error) {
	h, err := open(ctx, c, records.Open)
	if err != nil {
		return nil, err
	}
	owner := filepath.Join(c.StateDir, ownerFile)
	if gone(owner) {
		err = os.WriteFile(owner, []byte(c.Namespace+"\n"), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// ownerFile says which containerd namespace a state dir belongs to: with
// another, two containers would have one volume.
const ownerFile = "namespace"

func owned(c Config) error {
	text, err := os.ReadFile(filepath.Join(c.StateDir, ownerFile))
	owner := strings.TrimSpace(string(text))
	if err != nil || owner == c.Namespace {
		return nil // what cannot be read is told by what needs it
	}
	return fmt.Errorf("state dir %s belongs to containerd namespace %s, not %s (pass --namespace %s, or another --state-dir)", c.StateDir, owner, c.Namespace, owner)
}

// OpenReadOnly opens all drivers for looking only: nothing is made or migrated.
func OpenReadOnly(ctx context.Context, c Config) (*Host, error) {
	return open(ctx, c, records.OpenReadOnly)
}

func open(ctx context.Context, c Config, store func(context.Context, string) (*records.Store, error)) (*Host, error) {
	if err := owned(c); err != nil {
		return nil, err
	}
	h := &Host{
		Name: c.Host, config: c, Volumes: volumes.New(c.StateDir), Devices: cdi.New(c.CDISpecDirs...),
		Network: cni.New(cni.Config{
			ConfDir: c.CNIConfDir, BinDirs: c.CNIBinDirs, RunDir: c.RunDir, StateDir: c.StateDir, Namespace: c.Namespace, Subnet: c.Subnet,
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

// Close closes what is open.
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

// Observe reads everything at the same time. What is wanted says only which
// images to ask their registries about.
func (h *Host) Observe(ctx context.Context, want spec.Set) (state.State, error) {
	var sources map[string]state.Source
	var asking sync.WaitGroup
	asking.Go(func() { sources = h.Runtime.Sources(ctx, want.Here(h.Name)) })
	now, err := h.Look(ctx, want)
	asking.Wait()
	now.Ask(sources)
	return now, err
}

// Look is Observe without asking registries.
func (h *Host) Look(ctx context.Context, want spec.Set) (state.State, error) {
	now := state.State{Host: h.Name, Time: time.Now().UTC(), VolumesDir: h.Volumes.Dir()}
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
		now.Snapshots, err = h.Runtime.Snapshots(ctx)
		return err
	})
	group.Go(func() (err error) {
		now.Networks, err = h.Network.Attachments(ctx)
		now.CNI = h.Network.Description()
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
	return now, group.Wait()
}

// devices waits for the devices of workspaces whose vendors are not here yet,
// then says what there is.
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

// absent are the mount sources that the host does not have.
func absent(want []spec.Workspace) map[string]bool {
	missing := map[string]bool{}
	for _, w := range want {
		for _, m := range w.Mounts {
			if gone(m.Source) {
				missing[m.Source] = true
			}
		}
	}
	return missing
}

// gone reports whether a path of the host is known to lead to nothing.
func gone(source string) bool {
	if !filepath.IsAbs(source) {
		return false
	}
	_, err := os.Stat(source)
	return errors.Is(err, fs.ErrNotExist)
}
