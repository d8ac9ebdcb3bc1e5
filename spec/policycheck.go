package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// LoadSpecs reads specs as Load does, and finds, together with their other
// faults, what the policy does not allow to the workspaces that a host may
// apply; without a host, to all of them.
//
// A mount is looked at where it leads to now. Who can write to a folder above
// its source can make it lead elsewhere later.
func (p Policy) LoadSpecs(host string, paths ...string) (Set, error) {
	return load(paths, p.judgeOn(host))
}

// judgeOn is the judge of the workspaces that a host may apply.
func (p Policy) judgeOn(host string) func(checker) {
	return func(c checker) {
		if host == "" || c.Host == "" || c.Host == host {
			p.judge(c)
		}
	}
}

// Check finds what loaded workspaces have and the policy does not allow: an
// Errors with each at its place in the specs, or nil.
func (p Policy) Check(workspaces []Workspace) error {
	var faults Errors
	for _, w := range workspaces {
		p.judge(checker{Workspace: &w, faults: &faults})
	}
	faults.once()
	return faults.Err()
}

// ruling is about one workspace.
type ruling struct {
	Policy
	checker
	before Errors // the faults that were there
}

func (p Policy) judge(c checker) {
	r := ruling{p, c, *c.faults}
	r.image()
	r.devices()
	r.paths()
	r.network()
	r.limits()
	r.user()
}

// maxAllowed is how much of a long rule a message has.
const maxAllowed = 5

// forbid reports a field that breaks a rule.
func (r ruling) forbid(path, what string, allowed ...string) {
	if !r.meant(path) {
		return
	}
	allows := "nothing of the kind"
	if len(allowed) > maxAllowed {
		allowed = append(slices.Clone(allowed[:maxAllowed]), fmt.Sprintf("and %d more", len(allowed)-maxAllowed))
	}
	if len(allowed) > 0 {
		allows = strings.Join(allowed, ", ")
	}
	r.faults.Add(r.At(path), "the policy of this host, "+r.file+", allows "+allows, "%s", what)
}

// meant reports whether a field has the value that was meant, for good: one
// with another fault may not.
func (r ruling) meant(path string) bool {
	at, written := r.positions[path]
	faulty := written && slices.ContainsFunc(r.before, func(e Error) bool { return e.Pos == at })
	return r.certain(path) && !faulty
}

func (r ruling) image() {
	if r.Images != nil && r.Image != "" && !matches(r.Images, r.Image) {
		r.forbid("image", "image "+r.Image+" is not allowed here", r.Images...)
	}
}

func (r ruling) devices() {
	for i, name := range r.Workspace.Devices {
		if r.Policy.Devices != nil && !matches(r.Policy.Devices, name) {
			r.forbid(fmt.Sprintf("devices[%d]", i), "device "+name+" is not allowed here", r.Policy.Devices...)
		}
	}
}

// paths checks mounts where they lead to: a symlink may lead out of what is
// allowed. A rule's own path is taken as it is written: it may be in a folder
// that workspaces write to, and become a link.
func (r ruling) paths() {
	if r.HostPaths == nil {
		return
	}
	var allowed []string
	for _, a := range r.HostPaths {
		allowed = append(allowed, a.Path+map[bool]string{true: " (read-only)"}[a.ReadOnly])
	}
	for i, m := range r.Mounts {
		at := fmt.Sprintf("mounts[%d].source", i)
		if m.Source == "" || !r.meant(at) {
			continue
		}
		if what := r.wrongMount(m); what != "" {
			r.forbid(at, what, allowed...)
		}
	}
}

// wrongMount says what of a mount is not allowed, if anything.
func (r ruling) wrongMount(m Mount) string {
	source := filepath.Clean(m.Source)
	real, err := leadsTo(source)
	if err != nil {
		return fmt.Sprintf("mounting %s is not allowed here: where it leads is not known (%s)", source, err)
	}
	within := func(a HostPath) bool { return below(real, a.Path) && (m.ReadOnly || !a.ReadOnly) }
	if slices.ContainsFunc(r.HostPaths, within) {
		return ""
	}
	how := "mounting " + source
	if real != source {
		how += ", which is " + real + ","
	}
	if !m.ReadOnly {
		how += " for writing"
	}
	return how + " is not allowed here"
}

// leadsTo is a clean path of this host without symlinks, as far as it exists.
// A link to what is not there is an error: it may be there when it is mounted.
func leadsTo(path string) (string, error) {
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		var reason *fs.PathError
		switch _, here := os.Lstat(path); {
		case errors.Is(err, fs.ErrNotExist) && here == nil:
			return "", errors.New(path + " is a link to nothing")
		case errors.Is(err, fs.ErrNotExist) && path != "/":
			path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest)
		case errors.As(err, &reason):
			return "", reason.Err
		default:
			return "", err
		}
	}
}

// below reports whether a path is a folder, or in it.
func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

func (r ruling) network() {
	if r.HostNetwork != nil && !*r.HostNetwork && r.Network.Mode == NetworkHost {
		r.forbid("network.mode", "network mode host is not allowed here", "modes cni and none")
	}
	if r.HostPorts == nil {
		return
	}
	from, to := max(r.HostPorts.From, 1), r.HostPorts.To
	if to == 0 {
		to = 1<<16 - 1
	}
	for i, p := range r.Network.Ports {
		at := fmt.Sprintf("network.ports[%d]", i)
		if p.Host < from || p.Host > to {
			r.forbid(at+".host", fmt.Sprintf("port %d of the host is not allowed here", p.Host), fmt.Sprintf("%d to %d", from, to))
		}
		r.hostIP(at+".hostIP", p)
	}
}

// hostIP checks the address of a port. Who may publish at every address may at
// each of them.
func (r ruling) hostIP(at string, p Port) {
	ips := r.HostPorts.HostIPs
	if ips == nil || slices.Contains(ips, "") || slices.Contains(ips, p.HostIP) {
		return
	}
	where := "all addresses"
	if p.HostIP != "" {
		where = "address " + p.HostIP
	}
	r.forbid(at, fmt.Sprintf("publishing port %d at %s is not allowed here", p.Host, where), ips...)
}

func (r ruling) limits() {
	most, has := r.Policy.Limits, r.Resources.Limits
	r.limit("cpu", amount{int64(most.CPU), most.CPU.String()}, amount{int64(has.CPU), has.CPU.String()})
	r.limit("memory", amount{int64(most.Memory), most.Memory.String()}, amount{int64(has.Memory), has.Memory.String()})
	r.limit("pids", amount{most.Pids, fmt.Sprint(most.Pids)}, amount{has.Pids, fmt.Sprint(has.Pids)})
}

// amount is a limit and its text; zero is none.
type amount struct {
	number int64
	text   string
}

func (r ruling) limit(field string, most, has amount) {
	switch {
	case most.number == 0 || has.number != 0 && has.number <= most.number:
	case has.number == 0:
		r.forbid("resources.limits."+field, "no limit of "+field+" is not allowed here", "at most "+most.text)
	default:
		r.forbid("resources.limits."+field, "a limit of "+has.text+" "+field+" is not allowed here", "at most "+most.text)
	}
}

// user checks a user as it is written: which one an image has, or which number
// a name has there, is not known here.
func (r ruling) user() {
	if r.RootUser == nil || *r.RootUser {
		return
	}
	name, _, _ := strings.Cut(r.User, ":")
	number, err := strconv.Atoi(name) // as containerd reads it: 00 and +0 are root too
	switch {
	case name == "":
		r.forbid("user", "a workspace that names no user may be root, which is not allowed here", "users that are named and not root")
	case name == "root", err == nil && number == 0:
		r.forbid("user", "user "+r.User+" is not allowed here", "users that are not root")
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
