package policy

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

	"carrel/spec"
)

// LoadSpecs reads specs as spec.Load does, and finds, together with their other
// errors, what the policy does not allow to the workspaces that a host may
// apply; without a host, to all of them.
//
// A mount is checked where it leads to now. Who can write to a folder above its
// source can make it lead elsewhere later.
func (p Policy) LoadSpecs(host string, paths ...string) (spec.Set, error) {
	return spec.LoadChecked(p.For(host), paths...)
}

// For is the check of the workspaces that a host may apply; without a host, of
// all workspaces.
func (p Policy) For(host string) spec.Check {
	return func(w spec.Workspace, report spec.Report) {
		if host == "" || w.Host == "" || w.Host == host {
			p.check(w, report)
		}
	}
}

// Check finds what loaded workspaces have and the policy does not allow: a
// spec.Errors with each at its place in the specs, or nil.
func (p Policy) Check(workspaces []spec.Workspace) error {
	var errs spec.Errors
	for _, w := range workspaces {
		p.check(w, func(path, hint, format string, args ...any) { errs.Add(w.At(path), hint, format, args...) })
	}
	return errs.Err()
}

func (p Policy) check(w spec.Workspace, report spec.Report) {
	r := ruling{p, w, report}
	r.image()
	r.devices()
	r.mounts()
	r.network()
	r.limits()
	r.user()
}

// ruling is about one workspace.
type ruling struct {
	policy Policy
	spec.Workspace
	report spec.Report
}

// maxAllowed is how many items of a long rule a message has.
const maxAllowed = 5

// forbid reports a field that breaks a rule.
func (r ruling) forbid(path, what string, allowed ...string) {
	allows := "nothing of the kind"
	if len(allowed) > maxAllowed {
		allowed = append(slices.Clone(allowed[:maxAllowed]), fmt.Sprintf("and %d more", len(allowed)-maxAllowed))
	}
	if len(allowed) > 0 {
		allows = strings.Join(allowed, ", ")
	}
	r.report(path, "the policy of this host, "+r.policy.file+", allows "+allows, "%s", what)
}

func (r ruling) image() {
	image := r.Image
	if archive, ok := r.Archive(); ok {
		image = spec.ArchivePrefix + archive.File // whichever of its images is meant
	}
	if r.policy.Images != nil && r.Image != "" && !matches(r.policy.Images, image) {
		r.forbid("image", "image "+r.Image+" is not allowed here", r.policy.Images...)
	}
}

func (r ruling) devices() {
	for i, name := range r.Devices {
		if r.policy.Devices != nil && !matches(r.policy.Devices, name) {
			r.forbid(fmt.Sprintf("devices[%d]", i), "device "+name+" is not allowed here", r.policy.Devices...)
		}
	}
}

// mounts checks where mounts lead to: a symlink may lead out of what is allowed.
// The path of a rule is not followed: it may be in a folder that workspaces write
// to, and become a link.
func (r ruling) mounts() {
	if r.policy.HostPaths == nil {
		return
	}
	var allowed []string
	for _, a := range r.policy.HostPaths {
		allowed = append(allowed, a.Path+map[bool]string{true: " (read-only)"}[a.ReadOnly])
	}
	for i, m := range r.Mounts {
		at := fmt.Sprintf("mounts[%d].source", i)
		if what := r.wrongMount(m); what != "" {
			r.forbid(at, what, allowed...)
		}
	}
}

// wrongMount says what about a mount is not allowed; "" when it is.
func (r ruling) wrongMount(m spec.Mount) string {
	source := filepath.Clean(m.Source)
	real, err := leadsTo(source)
	if err != nil {
		return fmt.Sprintf("mounting %s is not allowed here: where it leads is not known (%s)", source, err)
	}
	within := func(a HostPath) bool { return below(real, a.Path) && (m.ReadOnly || !a.ReadOnly) }
	if slices.ContainsFunc(r.policy.HostPaths, within) {
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

// leadsTo is a clean path of this host without symlinks, as far as it exists. A
// link to nothing is an error: its target may exist when it is mounted.
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
	if r.policy.HostNetwork != nil && !*r.policy.HostNetwork && r.Network.Mode == spec.NetworkHost {
		r.forbid("network.mode", "network mode host is not allowed here", "modes cni and none")
	}
	if r.policy.HostPorts == nil {
		return
	}
	from, to := max(r.policy.HostPorts.From, 1), r.policy.HostPorts.To
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

// hostIP checks the address of a port. A rule with every address allows each of
// them.
func (r ruling) hostIP(at string, p spec.Port) {
	ips := r.policy.HostPorts.HostIPs
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
	most, has := r.policy.Limits, r.Resources.Limits
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

// user checks the user as it is written. Which user an image has, or which number
// a name has in it, is not known here.
func (r ruling) user() {
	if r.policy.RootUser == nil || *r.policy.RootUser {
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

// matches reports whether a pattern matches a word: * is anything but a slash,
// ** is anything.
func matches(patterns []string, word string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(quoted, `\*\*`, `.*`)
		quoted = strings.ReplaceAll(quoted, `\*`, `[^/]*`)
		return regexp.MustCompile(`(?s)\A` + quoted + `\z`).MatchString(word)
	})
}
