package spec

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"

	"carrel/spec/document"
)

// checker finds the errors of a workspace that the schema cannot express, and
// gives values their one form.
type checker struct {
	*Workspace
	fields document.Fields
	set    WorkspaceSet // whose defaults the workspace has
}

func (c checker) check() {
	c.image()
	c.devices()
	c.paths()
	c.user()
	c.env()
	c.process()
	c.network()
	c.signal()
}

// report reports an error of the field at a path, unless its value is unknown.
func (c checker) report(path, hint, format string, args ...any) {
	if !c.unknown(path) {
		c.fields.Report(path, hint, format, args...)
	}
}

// unknown reports whether the value of a field is not the one that was meant: it
// has an error, or it may be in defaults that are unknown.
func (c checker) unknown(path string) bool {
	return c.fields.Wrong(path) || c.set.Unknown && !c.fields.Written(path)
}

// name is the path of a field as messages have it, in the document that it is
// written in.
func (c checker) name(path string) string {
	if c.set.Has(c.fields.Places.At(path)) {
		return "spec.defaults." + path
	}
	return "spec." + path
}

func (c checker) labels(labels *document.Node) {
	if labels == nil {
		return
	}
	if err := labels.Decode(&c.Labels); err != nil {
		c.report("metadata.labels", "", "%s", err)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		value, at := c.Labels[key], "metadata.labels."+key
		for _, problem := range validation.IsQualifiedName(key) {
			c.report(at, short(problem), "label %q is not a valid key", key)
		}
		for _, problem := range validation.IsValidLabelValue(value) {
			c.report(at, short(problem), "label %s has the value %q", key, value)
		}
		if strings.HasPrefix(key, "carrel/") || strings.HasPrefix(key, "containerd.io/") || strings.HasPrefix(key, "io.containerd.") {
			c.report(at, "choose another key", "label %s is reserved", key)
		}
	}
}

// short is a message of Kubernetes about a label, without examples and patterns.
func short(problem string) string {
	problem, _, _ = strings.Cut(problem, " (e.g.")
	return problem
}

// login is a user and a password at the start of an image that is written like a
// URL. Messages leave it out.
var login = regexp.MustCompile(`^([a-z]+://)?[^/@]*:[^/@]*@`)

func (c checker) image() {
	archive, isArchive := strings.CutPrefix(c.Image, ArchivePrefix)
	switch {
	case c.Image == "":
		c.report("image", "add it, here or in the defaults of the set", "spec has no image")
	case isArchive:
		c.archive(archive)
	default:
		named, err := reference.ParseDockerRef(c.Image)
		if err != nil {
			c.report("image", "write it as registry/name:tag, in lower case", "%s is %q: %s", c.name("image"), login.ReplaceAllString(c.Image, "...@"), err)
			return
		}
		c.Image = named.String()
	}
}

// device is the form of a fully qualified CDI name: vendor/class=name.
var device = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]?/[A-Za-z][A-Za-z0-9_.-]*=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`)

func (c checker) devices() {
	seen := map[string]bool{}
	for i, name := range c.Devices {
		at := fmt.Sprintf("devices[%d]", i)
		if !device.MatchString(name) {
			c.report(at, "write vendor/class=name, such as nvidia.com/gpu=0", "%s is %q, which is not the full name of a CDI device", c.name(at), name)
		}
		if seen[name] && name != "" {
			c.report(at, "keep one of them", "%s is %s, which is in the list already", c.name(at), name)
		}
		seen[name] = true
	}
}

func (c checker) paths() {
	c.DataPath = c.clean("dataPath", c.DataPath)
	if c.WorkingDir != "" {
		c.WorkingDir = c.clean("workingDir", c.WorkingDir)
		if c.WorkingDir != "/dev/shm" && !strings.HasPrefix(c.WorkingDir, "/dev/shm/") {
			c.notBelow("workingDir", c.WorkingDir, "/proc", "/sys", "/dev") // where the runtime cannot make it
		}
	}
	c.notSystem("dataPath", c.DataPath)
	c.notIn("dataPath", c.DataPath, resolveFiles...)
	seen := map[string]string{c.DataPath: "dataPath"} // what is mounted there
	for i := range c.Mounts {
		m := &c.Mounts[i]
		source, target := fmt.Sprintf("mounts[%d].source", i), fmt.Sprintf("mounts[%d].target", i)
		m.Source = c.clean(source, m.Source)
		m.Target = c.clean(target, m.Target)
		c.notSystem(target, m.Target)
		c.notBelow(target, m.Target, resolveFiles...)
		if other, twice := seen[m.Target]; twice && !c.unknown(other) {
			c.report(target, "choose another path", "%s is %s, which is %s already", c.name(target), m.Target, c.name(other))
		}
		seen[m.Target] = target
	}
}

// The longest paths that Linux resolves, and their parts. The runtime puts the path of
// the root filesystem before those of a container.
const (
	maxPath = 3 << 10
	maxPart = 255
)

// clean is a path without dots and doubled slashes. A path with .. is an error:
// people misread what it means.
func (c checker) clean(at, value string) string {
	for part := range strings.SplitSeq(value, "/") {
		switch {
		case part == "..":
			c.report(at, "write the path it leads to", "%s is %q, which climbs with ..", c.name(at), value)
		case len(part) > maxPart:
			c.report(at, "shorten it", "%s has a part of %d bytes, and must have at most %d in each", c.name(at), len(part), maxPart)
		}
	}
	if len(value) > maxPath {
		c.report(at, "shorten it", "%s has %d bytes, and must have at most %d", c.name(at), len(value), maxPath)
	}
	return path.Clean(value)
}

func (c checker) notSystem(at, value string) {
	if value == "/" {
		c.ofSystem(at, value)
	}
	c.notIn(at, value, "/proc", "/sys", "/dev")
}

// resolveFiles are files that carrel mounts into containers.
var resolveFiles = []string{"/etc/resolv.conf", "/etc/hosts"}

// notIn reports a path that is one of those of the system, or below one.
func (c checker) notIn(at, value string, reserved ...string) {
	if slices.Contains(reserved, value) {
		c.ofSystem(at, value)
	}
	c.notBelow(at, value, reserved...)
}

func (c checker) notBelow(at, value string, reserved ...string) {
	for _, path := range reserved {
		if strings.HasPrefix(value, path+"/") {
			c.ofSystem(at, value)
		}
	}
}

func (c checker) ofSystem(at, value string) {
	c.report(at, "choose a path such as /data", "%s is %s, which belongs to the system", c.name(at), value)
}

// user is a name or number of a user, and perhaps of a group.
var user = regexp.MustCompile(`^[^:\s\pC-]([^:\s\pC]*)(:[^:\s\pC-][^:\s\pC]*)?$`)

// maxUser is the highest number of a user or group that containerd and runc accept.
const maxUser = math.MaxInt32

func (c checker) user() {
	if c.User != "" && !user.MatchString(c.User) {
		c.report("user", "write user or user:group, by names or numbers", "%s is %q", c.name("user"), c.User)
	}
	for part := range strings.SplitSeq(c.User, ":") {
		number, err := strconv.ParseInt(part, 10, 64)
		if errors.Is(err, strconv.ErrRange) || err == nil && number > maxUser {
			c.report("user", "choose a lower number", "%s is %q, and numbers of users and groups end at %d", c.name("user"), c.User, maxUser)
		}
	}
}

func (c checker) env() {
	seen := map[string]bool{}
	for i, v := range c.Env {
		at := fmt.Sprintf("env[%d]", i)
		if seen[v.Name] {
			c.report(at+".name", "keep one of them", "environment variable %s is here twice", v.Name)
		}
		seen[v.Name] = true
	}
}

// process checks what the process is started with.
func (c checker) process() {
	if len(c.Command) > 0 && c.Command[0] == "" {
		c.report("command[0]", "write the path of a program", "%s is empty", c.name("command[0]"))
	}
	var large TooLarge
	if _, err := c.Expanded(); errors.As(err, &large) {
		for _, field := range large {
			c.report(field.Path, "put it into a file, and mount that", "%s %s", c.name(field.Path), field.What)
		}
	}
}

// signal gives the signal its one name.
func (c checker) signal() {
	if c.Stop.Signal == "" {
		return
	}
	name := signalName(c.Stop.Signal)
	if name == "" {
		c.report("stop.signal", "write a name such as SIGTERM or SIGINT", "%s is %q, which is not a signal", c.name("stop.signal"), c.Stop.Signal)
		return
	}
	c.Stop.Signal = name
}

// signalName is the name of a signal that is written as a name, with or without
// SIG, or as a number; "" when there is no such signal.
func signalName(text string) string {
	number, err := signal.ParseSignal(text)
	if err != nil || !signal.ValidSignalForPlatform(number) {
		return ""
	}
	if name := unix.SignalName(number); name != "" {
		return name
	}
	for name, other := range signal.SignalMap {
		if other == number {
			return "SIG" + name // the real-time signals have one name each
		}
	}
	return ""
}

func (c checker) network() {
	for i := range c.Network.Ports {
		p := &c.Network.Ports[i]
		at := fmt.Sprintf("network.ports[%d]", i)
		if p.Protocol == "" {
			p.Protocol = "tcp"
		}
		if p.HostIP != "" {
			c.hostIP(at+".hostIP", p)
		}
		if c.Network.Mode != NetworkCNI {
			c.report(at, "take it out, or set spec.network.mode to cni", "%s is for network mode cni only, and this is %s", c.name(at), c.Network.Mode)
		}
	}
}

// hostIP gives an address its one form.
func (c checker) hostIP(at string, p *Port) {
	form, ok := HostIP(p.HostIP)
	if ip, err := netip.ParseAddr(p.HostIP); err == nil && ip.Is6() && ip.IsUnspecified() {
		c.report(at, "take it out for every address that the network of the host has: the built-in one is IPv4 only", "%s is %q, and ports are not published at IPv6 addresses alone", c.name(at), p.HostIP)
		return
	}
	if !ok {
		c.report(at, "write an address such as 127.0.0.1", "%s is %q", c.name(at), p.HostIP)
		return
	}
	p.HostIP = form
}

// HostIP is the one form of an address of a host that ports are published at. An
// unspecified address is every address of the host, whose form is "".
func HostIP(text string) (form string, ok bool) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return "", false
	}
	if ip.Unmap().IsUnspecified() {
		return "", true
	}
	return ip.Unmap().String(), true
}
