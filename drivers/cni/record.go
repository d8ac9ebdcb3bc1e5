package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/renameio/v2"

	"carrel/plan"
	"carrel/spec"
)

// record is what is kept of an attachment: what its ADD was given, so that the DEL
// is given the same, and what the ADD returned. It is on the disk from before the
// ADD until after the DEL.
type record struct {
	Version   int             `json:"version"`
	Workspace string          `json:"workspace"`
	Set       string          `json:"set"`
	ID        string          `json:"id"`        // by which plugins know the workspace
	Interface string          `json:"interface"` // inside the namespace
	Netns     string          `json:"netns"`     // the path that the namespace is pinned at
	Ports     []spec.Port     `json:"ports,omitempty"`
	Network   string          `json:"network"`
	Config    json.RawMessage `json:"config"` // the configuration list
	Addresses []string        `json:"addresses,omitempty"`
	Links     []link          `json:"links,omitempty"`     // interfaces of the host that the ADD made or used
	Result    json.RawMessage `json:"result,omitempty"`    // nil until the ADD returned
	Detaching bool            `json:"detaching,omitempty"` // a DEL was begun: some of it may be done
	Part      bool            `json:"part,omitempty"`      // its configuration has only the plugins that are not undone
}

// link is an interface of the host. The index tells it from one that was made
// later with the same name.
type link struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

const (
	recordVersion   = 1
	interfacePrefix = "eth"
	interfaceName   = interfacePrefix + "0"
	recordSuffix    = ".json"
)

// damagedError is a record that cannot be read: it was cut short, or changed by
// something else.
type damagedError struct {
	path string
	err  error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s", e.path, oneLine(e.err))
}
func (e *damagedError) Unwrap() error { return e.err }

func (d *Driver) networks() string { return filepath.Join(d.StateDir, networksDir) }

func (d *Driver) recordFile(workspace string) string {
	return filepath.Join(d.networks(), workspace+recordSuffix)
}

func (d *Driver) newRecord(s plan.AttachNetwork, n *network) *record {
	return &record{
		Version: recordVersion, Workspace: s.Workspace, Set: s.Set,
		ID: d.id(s.Workspace), Interface: interfaceName, Netns: d.netns(s.Workspace),
		Ports: s.Ports, Network: n.list.Name, Config: n.list.Bytes,
	}
}

// read reads the record of a workspace. It is nil when there is none.
func (d *Driver) read(workspace string) (*record, error) {
	path := d.recordFile(workspace)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, &damagedError{path, err}
	}
	if r.Version > recordVersion {
		return nil, fmt.Errorf("%s has version %d, this carrel knows %d (use the newer carrel)", path, r.Version, recordVersion)
	}
	if r.Workspace != workspace || r.ID == "" || r.Interface == "" || len(r.Config) == 0 {
		return nil, &damagedError{path, errors.New("fields are missing")}
	}
	return &r, nil
}

// write writes a record, whole or not at all. What the ADD is given is on the disk
// when write returns: a power cut must not lose what the DEL needs.
func (d *Driver) write(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.networks(), 0o700); err != nil {
		return err
	}
	path := d.recordFile(r.Workspace)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(d.networks()), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Cleanup())
	}
	if r.Result != nil {
		// Not synced, as renameio would: that takes as long as a plugin, and a power
		// cut may lose the result. The DEL does not need it.
		return errors.Join(f.Close(), os.Rename(f.Name(), path))
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return errors.Join(err, f.Cleanup())
	}
	return syncDir(d.networks()) // renameio syncs the file only
}

// syncDir makes sure that the names in a folder are on the disk.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// workspaces are the workspaces that have a record, sorted.
func (d *Driver) workspaces() ([]string, error) { return names(d.networks(), recordSuffix) }

// names are the names of the files in a folder, without the suffix, sorted. Files
// with names that carrel does not give are left out.
func names(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if ok && valid("workspace", name) == nil && !e.IsDir() {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all, err
}

// complete adds to the record what the ADD returned.
func (r *record) complete(result *types100.Result) error {
	for _, ip := range result.IPs {
		r.Addresses = append(r.Addresses, ip.Address.IP.String())
	}
	if len(r.Addresses) == 0 {
		return fmt.Errorf("network %s gave %s no address (its configuration needs an ipam part)", r.Network, r.Workspace)
	}
	if err := r.reachable(); err != nil {
		return err
	}
	for _, i := range result.Interfaces {
		if index := linkIndex(i.Name); i.Sandbox == "" && index != 0 {
			r.Links = append(r.Links, link{i.Name, index})
		}
	}
	text, err := json.Marshal(result)
	r.Result = text
	return err
}

// reachable refuses a port on an address of another family than the addresses of
// the workspace: plugins would ignore it without an error.
func (r *record) reachable() error {
	for _, p := range r.Ports {
		six := strings.Contains(p.HostIP, ":")
		same := slices.ContainsFunc(r.Addresses, func(a string) bool { return strings.Contains(a, ":") == six })
		if p.HostIP != "" && !same {
			return fmt.Errorf("port %d/%s cannot be published on %s: network %s has only %s for %s (choose a hostIP of the same family)",
				p.Host, p.Protocol, p.HostIP, r.Network, strings.Join(r.Addresses, ", "), r.Workspace)
		}
	}
	return nil
}

// list decodes the configuration that the ADD was given.
func (r *record) list() (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes(r.Config)
	if err != nil {
		return nil, fmt.Errorf("recorded configuration of %s: %w", r.Workspace, err)
	}
	return list, nil
}

// matches reports whether the attachment is the one that is asked for.
func (r *record) matches(asked *record) bool {
	return r.Result != nil && r.Set == asked.Set && r.Network == asked.Network &&
		r.ID == asked.ID && r.Netns == asked.Netns && slices.Equal(r.Ports, asked.Ports)
}

// works reports whether the attachment is as its ADD left it.
func (r *record) works() bool {
	if r.broken(inode(r.Netns), nil) != "" {
		return false
	}
	inside := addressesIn(r.Netns, r.Interface)
	return !slices.ContainsFunc(r.Addresses, func(a string) bool { return !slices.Contains(inside, a) })
}

// broken says why the attachment does not work, "" when it does, as far as that
// can be observed from outside its namespace. Links are the indexes of the host's
// interfaces by name. An interface that is not among them is asked for by name: a
// list that was read while interfaces come and go may be incomplete.
func (r *record) broken(netns uint64, links map[string]int) string {
	if r.Result == nil {
		return "an attach was cut short"
	}
	if r.Detaching {
		return "a detach was cut short"
	}
	if netns == 0 {
		return "its network namespace is gone (a reboot?)"
	}
	for _, l := range r.Links {
		index := links[l.Name]
		if index == 0 {
			index = linkIndex(l.Name)
		}
		if index == 0 {
			return fmt.Sprintf("interface %s is gone", l.Name)
		}
		if index != l.Index {
			return fmt.Sprintf("interface %s was replaced", l.Name)
		}
	}
	return ""
}
