package spec

import (
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/sys/signal"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxGrace bounds the time that a task may take to end.
const maxGrace = time.Hour

// quantities checks what is written as a quantity or a time, and gives it the
// form that is decoded: YAML may have read it as a number.
func quantities(body *tree, faults *Errors) {
	for _, name := range []string{"cpu", "memory"} {
		amount := body.get("resources", "limits", name)
		if amount == nil {
			continue
		}
		amount.scalar = fmt.Sprint(amount.scalar)
		q, err := resource.ParseQuantity(amount.text())
		switch {
		case err != nil:
			faults.Add(amount.at, `write a Kubernetes quantity, such as "500m", "2" or "4Gi"`, "resources.limits.%s is %q", name, amount.text())
		case q.Sign() <= 0:
			faults.Add(amount.at, "leave it out for no limit", "resources.limits.%s is %q, and must be more than nothing", name, amount.text())
		case name == "memory" && q.Value() < minMemory:
			faults.Add(amount.at, "did you forget a unit, such as Mi?", "resources.limits.memory is %q: too little for any process", amount.text())
		}
	}
	if user := body.get("user"); user != nil {
		user.scalar = fmt.Sprint(user.scalar)
	}
	if grace := body.get("stop", "gracePeriod"); grace != nil {
		d, err := time.ParseDuration(grace.text())
		if err != nil || d < 0 || d > maxGrace {
			faults.Add(grace.at, `write a time such as "10s" or "2m", at most 1h`, "stop.gracePeriod is %q", grace.text())
		}
	}
}

// minMemory is the least that the runtime itself needs to start a process.
const minMemory = 4 << 20

// check finds what the schema cannot say, and gives values their one form.
func check(w *Workspace, base string, faults *Errors) {
	c := checker{w, faults}
	c.labels()
	c.image(base)
	c.devices()
	c.paths()
	c.env()
	c.network()
	if w.Stop.Signal != "" {
		if _, err := signal.ParseSignal(w.Stop.Signal); err != nil {
			c.fault("stop.signal", "write a name such as SIGTERM or SIGINT", "stop.signal is %q, which is no signal", w.Stop.Signal)
		} else if name := strings.ToUpper(w.Stop.Signal); name[0] > '9' {
			w.Stop.Signal = "SIG" + strings.TrimPrefix(name, "SIG")
		}
	}
}

type checker struct {
	*Workspace
	faults *Errors
}

func (c checker) fault(path, hint, format string, args ...any) {
	c.faults.Add(c.At(path), hint, format, args...)
}

func (c checker) labels() {
	for key, value := range c.Labels {
		at := "metadata.labels." + key
		for _, problem := range validation.IsQualifiedName(key) {
			c.fault(at, problem, "label %q is not a valid key", key)
		}
		for _, problem := range validation.IsValidLabelValue(value) {
			c.fault(at, problem, "label %s has the value %q", key, value)
		}
		if strings.HasPrefix(key, "carrel/") || strings.HasPrefix(key, "containerd.io/") || strings.HasPrefix(key, "io.containerd.") {
			c.fault(at, "choose another key", "label %s is reserved", key)
		}
	}
}

func (c checker) image(base string) {
	if c.Image == "" {
		c.fault("", "add it, here or in the defaults of the set", "spec has no image")
		return
	}
	if archive, ok := strings.CutPrefix(c.Image, ArchivePrefix); ok {
		if archive == "" {
			c.fault("image", "write oci-archive:./file.tar", "image names no archive")
			return
		}
		if !filepath.IsAbs(archive) {
			archive = filepath.Join(base, archive)
		}
		if absolute, err := filepath.Abs(archive); err == nil {
			archive = absolute
		}
		c.Image = ArchivePrefix + archive
		return
	}
	named, err := reference.ParseDockerRef(c.Image)
	if err != nil {
		c.fault("image", "write it as registry/name:tag, in lower case", "image is %q: %s", c.Image, err)
		return
	}
	c.Image = named.String()
}

// device is the form of a fully qualified CDI name: vendor/class=name.
var device = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]?/[A-Za-z][A-Za-z0-9_.-]*=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`)

func (c checker) devices() {
	seen := map[string]bool{}
	for i, name := range c.Devices {
		at := fmt.Sprintf("devices[%d]", i)
		if !device.MatchString(name) {
			c.fault(at, "write vendor/class=name, such as nvidia.com/gpu=0", "%q is not the full name of a CDI device", name)
		}
		if seen[name] {
			c.fault(at, "keep one of them", "device %s is here twice", name)
		}
		seen[name] = true
	}
}

func (c checker) paths() {
	c.DataPath = c.clean("dataPath", c.DataPath)
	if c.WorkingDir != "" {
		c.WorkingDir = c.clean("workingDir", c.WorkingDir)
	}
	c.notSystem("dataPath", c.DataPath)
	seen := map[string]string{c.DataPath: "dataPath"}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		source, target := fmt.Sprintf("mounts[%d].source", i), fmt.Sprintf("mounts[%d].target", i)
		m.Source = c.clean(source, m.Source)
		m.Target = c.clean(target, m.Target)
		c.notSystem(target, m.Target)
		if other, twice := seen[m.Target]; twice {
			c.fault(target, "choose another path", "%s is %s, which is %s already", target, m.Target, other)
		}
		seen[m.Target] = target
	}
}

// clean is a path without dots and doubled slashes. One that climbs is refused:
// what it means is easily misread.
func (c checker) clean(at, value string) string {
	if strings.ContainsRune(value, 0) {
		c.fault(at, "take it out", "%s has a NUL byte", at)
	}
	for part := range strings.SplitSeq(value, "/") {
		if part == ".." {
			c.fault(at, "write the path it leads to", "%s is %q, which climbs with ..", at, value)
		}
	}
	return path.Clean(value)
}

func (c checker) notSystem(at, value string) {
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if value == "/" || value == system || strings.HasPrefix(value, system+"/") {
			c.fault(at, "choose a path such as /data", "%s is %s, which belongs to the system", at, value)
			return
		}
	}
}

func (c checker) env() {
	seen := map[string]bool{}
	for i, v := range c.Env {
		at := fmt.Sprintf("env[%d].name", i)
		if seen[v.Name] {
			c.fault(at, "keep one of them", "environment variable %s is here twice", v.Name)
		}
		if strings.ContainsRune(v.Value, 0) {
			c.fault(at, "take it out", "the value of environment variable %s has a NUL byte", v.Name)
		}
		seen[v.Name] = true
	}
}

func (c checker) network() {
	for i := range c.Network.Ports {
		p := &c.Network.Ports[i]
		at := fmt.Sprintf("network.ports[%d]", i)
		if p.Protocol == "" {
			p.Protocol = "tcp"
		}
		if p.HostIP != "" {
			if ip, err := netip.ParseAddr(p.HostIP); err != nil {
				c.fault(at+".hostIP", "write an address such as 127.0.0.1", "%s.hostIP is %q", at, p.HostIP)
			} else {
				p.HostIP = ip.String()
			}
		}
		if c.Network.Mode != NetworkCNI {
			c.fault(at, "take it out, or set network.mode to cni", "ports are published by network mode cni, and this is %s", c.Network.Mode)
		}
	}
}

// checkPorts finds ports of a host that two workspaces want, or one twice.
// Workspaces that name different hosts do not meet.
func checkPorts(workspaces []Workspace, faults *Errors) {
	type port struct {
		number   int
		protocol string
	}
	type owner struct {
		w  *Workspace
		at string
		ip string
	}
	taken := map[port][]owner{}
	for i := range workspaces {
		w := &workspaces[i]
		for j, p := range w.Network.Ports {
			key, at := port{p.Host, p.Protocol}, fmt.Sprintf("network.ports[%d].host", j)
			for _, o := range taken[key] {
				apart := o.w.Host != "" && w.Host != "" && o.w.Host != w.Host || o.ip != "" && p.HostIP != "" && o.ip != p.HostIP
				if !apart {
					faults.Add(w.At(at), "choose another port", "port %d/%s of the host is wanted by %s too, at %s", p.Host, p.Protocol, o.w.Name, o.w.At(o.at))
				}
			}
			taken[key] = append(taken[key], owner{w, at, p.HostIP})
		}
	}
}
