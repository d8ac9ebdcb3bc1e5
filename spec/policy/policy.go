// Package policy reads what a host allows, and finds what specs have that it does
// not allow.
//
// It judges only what is written in specs: which user an image has, for example,
// is not known here.
package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"carrel/schema"
	"carrel/spec"
	"carrel/spec/document"
)

// policies is the schema of the documents that policies have.
var policies = sync.OnceValue(func() document.Schema {
	return document.NewSchema("carrel policy", schema.Policy, "HostPolicy")
})

// Policy is what a host allows its workspaces. A rule that is nil allows
// everything, an empty list allows nothing.
type Policy struct {
	Images      []string    `json:"images"` // patterns
	HostPaths   []HostPath  `json:"hostPaths"`
	Devices     []string    `json:"devices"` // patterns
	HostNetwork *bool       `json:"hostNetwork"`
	HostPorts   *HostPorts  `json:"hostPorts"`
	Limits      spec.Limits `json:"limits"` // the most
	RootUser    *bool       `json:"rootUser"`

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

// Load reads a policy file. Its error is a spec.Errors with every error, or one
// for which errors.Is(err, fs.ErrNotExist) holds. Only root, or who runs this
// program, may be able to write the file.
func Load(path string) (Policy, error) {
	if path == "" {
		return Policy{}, errors.New("no policy was named (name a file)")
	}
	content, err := readOwn(path)
	if err != nil {
		return Policy{}, err
	}
	var errs spec.Errors
	documents, _ := document.Parse(path, content, &errs)
	p := Policy{file: path}
	switch {
	case len(errs) > 0:
	case len(documents) != 1:
		errs.Add(spec.Pos{File: path}, "write one document of kind HostPolicy", "%d documents", len(documents))
	case policies().Check(documents[0], &errs):
		p.read(documents[0].Get("spec"), &errs)
	}
	if err := errs.Err(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// readOwn reads a file that nobody but root and this user can change.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a pipe would wait
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("policy %s is not a regular file (name the file that has the policy)", path)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && int(owner) != os.Geteuid() {
		return nil, fmt.Errorf("policy %s belongs to uid %d, who could change what is allowed (chown root %s)", path, owner, path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("policy %s can be written by others than its owner (chmod go-w %s)", path, path)
	}
	return spec.ReadFile(f, path)
}

// read fills the policy from its document, and finds rules that no workspace can
// keep to.
func (p *Policy) read(body *document.Node, errs *spec.Errors) {
	if body.Wrong() {
		return
	}
	spec.CheckLimits("spec.limits", body.Get("limits"), errs)
	if err := body.Decode(p); err != nil {
		errs.Add(body.At(), "", "%s", err)
		return
	}
	fields := document.NewFields(errs)
	fields.Add("", body)
	checkPatterns(fields, "images", p.Images, wrongImages)
	checkPatterns(fields, "devices", p.Devices, wrongDevices)
	for i := range p.HostPaths {
		path := &p.HostPaths[i].Path
		if strings.Contains(*path+"/", "/../") {
			at := fmt.Sprintf("hostPaths[%d].path", i)
			fields.Report(at, "write the path it leads to", "spec.%s is %q, which climbs with ..", at, *path)
		}
		*path = filepath.Clean(*path)
	}
	if p.HostPorts != nil {
		p.HostPorts.check(fields)
	}
}

func (p *HostPorts) check(fields document.Fields) {
	if p.To != 0 && p.To < p.From {
		fields.Report("hostPorts.to", "write the last port of the range", "spec.hostPorts.to is %d, and from is %d", p.To, p.From)
	}
	for i, text := range p.HostIPs {
		form, ok := spec.HostIP(text)
		if !ok {
			at := fmt.Sprintf("hostPorts.hostIPs[%d]", i)
			fields.Report(at, "write an address such as 127.0.0.1", "spec.%s is %q", at, text)
		}
		p.HostIPs[i] = form
	}
}

// checkPatterns reports the patterns of a list that no name can match.
func checkPatterns(fields document.Fields, list string, patterns []string, wrong func(string) (hint string)) {
	for i, pattern := range patterns {
		if hint := wrong(pattern); hint != "" {
			at := fmt.Sprintf("%s[%d]", list, i)
			fields.Report(at, hint, "spec.%s is %q, which no workspace can have", at, pattern)
		}
	}
}

// wrongImages says how to write a pattern that matches no image: specs are loaded
// with the full names of images. The hint is empty when the pattern is right.
func wrongImages(pattern string) (hint string) {
	if archive, ok := strings.CutPrefix(pattern, spec.ArchivePrefix); ok {
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
