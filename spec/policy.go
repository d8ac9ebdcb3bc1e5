package spec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	From    int      `json:"from"`    // 0 is the first there is
	To      int      `json:"to"`      // 0 is the last
	HostIPs []string `json:"hostIPs"` // as a Port has them: "" is every address
}

// LoadPolicy reads a policy file. Its error is an Errors with every fault, or
// one for which errors.Is(err, fs.ErrNotExist) holds. Only root, or who runs
// this program, may be able to write the file.
func LoadPolicy(path string) (Policy, error) {
	if path == "" {
		return Policy{}, errors.New("no policy was named (name a file)")
	}
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
	if err := faults.Err(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// ownFile reads a file that nobody but root and this user can change.
func ownFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("policy %s is no regular file (name the file that has the policy)", path)
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

// read fills the policy from its document, and finds rules that nothing can
// keep to: they are meant to be others.
func (p *Policy) read(body *tree, faults *Errors) {
	if body.broken {
		return
	}
	limits("spec.limits", body.get("limits"), faults)
	patterns("spec.images", body.get("images"), wrongImages, faults)
	patterns("spec.devices", body.get("devices"), wrongDevices, faults)
	if err := body.decode(p); err != nil {
		faults.Add(body.at, "", "%s", err)
		return
	}
	for i := range p.HostPaths {
		path := &p.HostPaths[i].Path
		if strings.Contains(*path+"/", "/../") {
			at := body.get("hostPaths").items[i].get("path").at
			faults.Add(at, "write the path it leads to", "spec.hostPaths[%d].path is %q, which climbs with ..", i, *path)
		}
		*path = filepath.Clean(*path)
	}
	if p.HostPorts != nil {
		p.HostPorts.read(body.get("hostPorts"), faults)
	}
}

func (p *HostPorts) read(body *tree, faults *Errors) {
	if p.To != 0 && p.To < p.From {
		faults.Add(body.get("to").at, "write the last port of the range", "spec.hostPorts.to is %d, and from is %d", p.To, p.From)
	}
	for i, text := range p.HostIPs {
		form, ok := address(text)
		if t := body.get("hostIPs").items[i]; !ok && !t.broken {
			faults.Add(t.at, "write an address such as 127.0.0.1", "spec.hostPorts.hostIPs[%d] is %q", i, text)
		}
		p.HostIPs[i] = form
	}
}

// patterns finds those in a list that stand for nothing that there can be.
func patterns(path string, list *tree, wrong func(string) (hint string), faults *Errors) {
	if list == nil {
		return
	}
	for i, t := range list.items {
		if hint := wrong(t.text()); hint != "" && !t.broken {
			faults.Add(t.at, hint, "%s[%d] is %q, which no workspace can have", path, i, t.text())
		}
	}
}

// wrongImages says how to write a pattern that stands for no image: the loader
// names them in full. No hint is no fault.
func wrongImages(pattern string) (hint string) {
	if archive, ok := strings.CutPrefix(pattern, ArchivePrefix); ok {
		if archive == "" || archive[0] != '/' && archive[0] != '*' {
			return "write an absolute path, such as oci-archive:/srv/images/*"
		}
		return ""
	}
	if strings.Contains(pattern, "**") {
		return ""
	}
	registry, _, _ := strings.Cut(pattern, "/")
	last := pattern[strings.LastIndex(pattern, "/")+1:]
	named := strings.ContainsAny(registry, ".:*") || registry == "localhost" || registry != strings.ToLower(registry)
	if !named || !strings.ContainsAny(last, ":@*") {
		return "write it in full, such as docker.io/library/redis:*"
	}
	return ""
}

func wrongDevices(pattern string) (hint string) {
	if !strings.ContainsAny(pattern, "=*") {
		return "write vendor/class=name, such as nvidia.com/gpu=*"
	}
	return ""
}
