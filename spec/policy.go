package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Policy is what a host lets the workspaces on it have. A rule that is nil
// allows everything, an empty list allows nothing.
type Policy struct {
	Images      []string   `json:"images"` // patterns
	HostPaths   []HostPath `json:"hostPaths"`
	Devices     []string   `json:"devices"` // patterns
	HostNetwork *bool      `json:"hostNetwork"`
	HostPorts   *HostPorts `json:"hostPorts"`
	Limits      Limits     `json:"limits"` // the most
	RootUser    *bool      `json:"rootUser"`

	file string
}

// HostPath is a folder of the host whose content may be mounted.
type HostPath struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly"` // for reading only
}

// HostPorts are ports of the host that may be published.
type HostPorts struct {
	From    int      `json:"from"` // 0 is the first there is
	To      int      `json:"to"`   // 0 is the last
	HostIPs []string `json:"hostIPs"`
}

// LoadPolicy reads a policy file. Its error is an Errors with every fault, or
// one for which errors.Is(err, fs.ErrNotExist) holds. Only root, or who runs
// this program, may be able to write the file.
func LoadPolicy(path string) (Policy, error) {
	var faults Errors
	content, err := ownFile(path)
	if err != nil {
		return Policy{}, err
	}
	r := reader{file: path, faults: &faults}
	documents := r.documents(content)
	p := Policy{file: path}
	switch {
	case len(faults) > 0:
	case len(documents) != 1:
		faults.Add(Pos{File: path}, "write one document of kind HostPolicy", "%d documents", len(documents))
	case ofPolicy().valid(documents[0], &faults):
		p.read(documents[0].get("spec"), &faults)
	}
	return p, faults.Err()
}

// ownFile reads a file that nobody but root and this user can change.
func ownFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && int(owner) != os.Geteuid() {
		return nil, fmt.Errorf("policy %s belongs to uid %d, who could change what is allowed (chown root %s)", path, owner, path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("policy %s can be written by others than its owner (chmod go-w %s)", path, path)
	}
	var faults Errors
	found := finder{faults: &faults}
	read := found.read(f, path, path)
	if read == nil {
		return nil, faults.Err()
	}
	return read.content, nil
}

func (p *Policy) read(body *tree, faults *Errors) {
	before := len(*faults)
	limits("spec.limits", body.get("limits"), faults)
	if len(*faults) > before || body.broken {
		return
	}
	if err := body.decode(p); err != nil {
		faults.Add(body.at, "", "%s", err)
	}
	for i := range p.HostPaths {
		p.HostPaths[i].Path = filepath.Clean(p.HostPaths[i].Path)
	}
}

// Check finds what workspaces have and the policy does not allow: an Errors
// with each at its place in the specs, or nil.
func (p Policy) Check(workspaces []Workspace) error {
	var faults Errors
	for _, w := range workspaces {
		c := ruling{p, w, &faults}
		c.image()
		c.paths()
		c.devices()
		c.network()
		c.limits()
		c.user()
	}
	return faults.Err()
}

// ruling is about one workspace.
type ruling struct {
	Policy
	w      Workspace
	faults *Errors
}

func (r ruling) forbid(path, what string, allowed ...string) {
	allows := "nothing of the kind"
	if len(allowed) > 0 {
		allows = strings.Join(allowed, ", ")
	}
	r.faults.Add(r.w.At(path), "the policy of this host, "+r.file+", allows "+allows, "%s", what)
}

func (r ruling) image() {
	if r.Images != nil && !matches(r.Images, r.w.Image) {
		r.forbid("image", "image "+r.w.Image+" is not allowed here", r.Images...)
	}
}

func (r ruling) devices() {
	for i, name := range r.w.Devices {
		if r.Devices != nil && !matches(r.Devices, name) {
			r.forbid(fmt.Sprintf("devices[%d]", i), "device "+name+" is not allowed here", r.Devices...)
		}
	}
}

// paths checks mounts where they lead to: a symlink may lead out of what is
// allowed.
func (r ruling) paths() {
	if r.HostPaths == nil {
		return
	}
	var allowed []string
	for _, a := range r.HostPaths {
		allowed = append(allowed, a.Path+map[bool]string{true: " (read-only)"}[a.ReadOnly])
	}
	for i, m := range r.w.Mounts {
		at := fmt.Sprintf("mounts[%d].source", i)
		real, err := filepath.EvalSymlinks(m.Source)
		if errors.Is(err, fs.ErrNotExist) {
			real = filepath.Clean(m.Source) // that it is not there is another fault
		} else if err != nil {
			r.faults.Add(r.w.At(at), "", "%s: %s", m.Source, err)
			continue
		}
		within := func(a HostPath) bool {
			return (real == a.Path || a.Path == "/" || strings.HasPrefix(real, a.Path+"/")) && (m.ReadOnly || !a.ReadOnly)
		}
		if !slices.ContainsFunc(r.HostPaths, within) {
			how := "mounting " + m.Source
			if real != filepath.Clean(m.Source) {
				how += ", which is " + real + ","
			}
			if !m.ReadOnly {
				how += " for writing"
			}
			r.forbid(at, how+" is not allowed here", allowed...)
		}
	}
}

func (r ruling) network() {
	if r.HostNetwork != nil && !*r.HostNetwork && r.w.Network.Mode == NetworkHost {
		r.forbid("network.mode", "network mode host is not allowed here", "modes cni and none")
	}
	if r.HostPorts == nil {
		return
	}
	from, to := max(r.HostPorts.From, 1), r.HostPorts.To
	if to == 0 {
		to = 1<<16 - 1
	}
	for i, p := range r.w.Network.Ports {
		at := fmt.Sprintf("network.ports[%d].host", i)
		if p.Host < from || p.Host > to {
			r.forbid(at, fmt.Sprintf("port %d of the host is not allowed here", p.Host), fmt.Sprintf("%d to %d", from, to))
		}
		if r.HostPorts.HostIPs != nil && !slices.Contains(r.HostPorts.HostIPs, p.HostIP) {
			where := "all addresses"
			if p.HostIP != "" {
				where = "address " + p.HostIP
			}
			r.forbid(at, fmt.Sprintf("publishing port %d at %s is not allowed here", p.Host, where), r.HostPorts.HostIPs...)
		}
	}
}

func (r ruling) limits() {
	most, has := r.Limits, r.w.Resources.Limits
	over := func(field string, most, has int64, mostText, hasText string) {
		switch {
		case most == 0 || has != 0 && has <= most:
		case has == 0:
			r.forbid("resources.limits."+field, "no limit of "+field+" is not allowed here", "at most "+mostText)
		default:
			r.forbid("resources.limits."+field, "a limit of "+hasText+" "+field+" is not allowed here", "at most "+mostText)
		}
	}
	over("cpu", int64(most.CPU), int64(has.CPU), most.CPU.String(), has.CPU.String())
	over("memory", int64(most.Memory), int64(has.Memory), most.Memory.String(), has.Memory.String())
	over("pids", most.Pids, has.Pids, fmt.Sprint(most.Pids), fmt.Sprint(has.Pids))
}

// user checks a user as it is written: which one an image has is not known
// here.
func (r ruling) user() {
	if r.RootUser == nil || *r.RootUser {
		return
	}
	name, _, _ := strings.Cut(r.w.User, ":")
	switch strings.TrimLeft(name, "0") {
	case "":
		if name == "" {
			r.forbid("user", "a workspace that names no user may be root, which is not allowed here", "users that are named and not root")
			return
		}
		fallthrough
	case "root":
		r.forbid("user", "user "+r.w.User+" is not allowed here", "users that are not root")
	}
}

// matches reports whether a pattern stands for a word: * for anything within a
// part between slashes, ** for anything.
func matches(patterns []string, word string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(quoted, `\*\*`, `.*`)
		quoted = strings.ReplaceAll(quoted, `\*`, `[^/]*`)
		return regexp.MustCompile(`(?s)\A` + quoted + `\z`).MatchString(word)
	})
}
