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
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/spec"
)

// record is one attachment: what its ADD was given, and what it returned. It is
// on the disk before the ADD runs and until after the DEL.
type record struct {
	Version   int             `json:"version"`
	Workspace string          `json:"workspace"`
	Set       string          `json:"set"`
	ID        string          `json:"id"`        // by which plugins know the workspace
	Interface string          `json:"interface"` // inside the namespace
	Netns     string          `json:"netns"`
	Ports     []spec.Port     `json:"ports,omitempty"`
	Network   string          `json:"network"`
	Config    json.RawMessage `json:"config"` // the configuration list; a DEL gets the one of its ADD
	Addresses []string        `json:"addresses,omitempty"`
	Links     []link          `json:"links,omitempty"`  // on the host's side
	Result    json.RawMessage `json:"result,omitempty"` // nil until the ADD returned
}

// link is an interface. The index tells one from another that was made later
// under the same name.
type link struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

const (
	recordVersion = 1
	interfaceName = "eth0"
	recordSuffix  = ".json"
)

// damaged is a record that cannot be understood.
type damaged struct {
	path string
	err  error
}

func (e *damaged) Error() string { return fmt.Sprintf("%s is damaged: %s", e.path, oneLine(e.err)) }
func (e *damaged) Unwrap() error { return e.err }

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

// read gives the record of a workspace, nil when there is none.
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
		return nil, &damaged{path, err}
	}
	if r.Version > recordVersion {
		return nil, fmt.Errorf("%s has version %d, this carrel knows %d (use the newer carrel)", path, r.Version, recordVersion)
	}
	if r.Workspace != workspace || r.ID == "" || r.Interface == "" || len(r.Config) == 0 {
		return nil, &damaged{path, errors.New("fields are missing")}
	}
	return &r, nil
}

// write puts a record on the disk, whole or not at all.
func (d *Driver) write(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.networks(), 0o700); err != nil {
		return err
	}
	temp := filepath.Join(d.networks(), "."+r.Workspace+".new")
	save := writeSynced
	if r.Result != nil {
		// What a power cut may bring back, or damage, is enough for a DEL: there
		// is the plugins' own cache of results too.
		save = func(path string, text []byte) error { return os.WriteFile(path, text, 0o600) }
	}
	if err := save(temp, text); err != nil {
		return errors.Join(err, gone(os.Remove(temp)))
	}
	if err := os.Rename(temp, d.recordFile(r.Workspace)); err != nil {
		return err
	}
	if r.Result != nil {
		return nil
	}
	return syncDir(d.networks())
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return nil
}

// workspaces are the names that have a record.
func (d *Driver) workspaces() ([]string, error) { return names(d.networks(), recordSuffix) }

// names are the workspaces that have a file in a folder, sorted. Files of other
// names are not ours.
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

// returned notes what the ADD returned.
func (r *record) returned(result *types100.Result) error {
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

// reachable refuses a port on an address of another family than those that the
// workspace got: plugins leave it closed without a word.
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

// result is what the ADD returned.
func (r *record) result() (*types100.Result, error) {
	var result types100.Result
	err := json.Unmarshal(r.Result, &result)
	return &result, err
}

// list is the configuration that the ADD had.
func (r *record) list() (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes(r.Config)
	if err != nil {
		return nil, fmt.Errorf("recorded configuration of %s: %w", r.Workspace, err)
	}
	return list, nil
}

// serves reports whether the attachment is what is asked for.
func (r *record) serves(asked *record) bool {
	return r.Result != nil && r.Set == asked.Set && r.Network == asked.Network &&
		r.ID == asked.ID && r.Netns == asked.Netns && slices.Equal(r.Ports, asked.Ports)
}

// works reports whether the attachment is as its ADD left it.
func (r *record) works() bool {
	if r.fault(inode(r.Netns), nil) != "" {
		return false
	}
	inside := addressesIn(r.Netns, r.Interface)
	return !slices.ContainsFunc(r.Addresses, func(a string) bool { return !slices.Contains(inside, a) })
}

// fault says why the attachment does not work, as far as it can be seen from
// outside its namespace. Links are those of the host by name; one that is not
// among them is asked for by name, because a list that is made while
// interfaces come and go may leave some out.
func (r *record) fault(netns uint64, links map[string]int) string {
	if r.Result == nil {
		return "an attach was cut short"
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
			return fmt.Sprintf("interface %s was made anew", l.Name)
		}
	}
	return ""
}
