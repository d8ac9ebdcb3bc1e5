package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// The files that processes read to resolve names.
const (
	resolvFile = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
)

// netns is where the network namespace of a workspace is pinned.
func (d *Driver) netns(workspace string) string {
	return filepath.Join(d.RunDir, "netns", workspace)
}

// network is the part of an OCI spec that depends on the network mode. In mode cni
// the container joins a namespace that is pinned before its task exists.
func (d *Driver) network(s plan.CreateContainer) oci.SpecOpts {
	switch name := s.Spec.Name; s.Spec.Network.Mode {
	case spec.NetworkHost:
		return oci.Compose(oci.WithHostNamespace(specs.NetworkNamespace), oci.WithMounts(hostFiles()))
	case spec.NetworkCNI:
		return oci.Compose(
			oci.WithHostname(name),
			oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: d.netns(name)}),
			oci.WithMounts([]specs.Mount{
				bind(filepath.Join(d.RunDir, "resolv", name), resolvFile, true),
				bind(filepath.Join(d.RunDir, "hosts", s.Set), hostsFile, true),
			}),
			unprivilegedNetwork(),
		)
	}
	return oci.Compose(oci.WithHostname(s.Spec.Name), unprivilegedNetwork())
}

// sysctls let every user of a container bind low ports and send pings, as in docker
// and podman: its network namespace has no ports to protect from it.
var sysctls = map[string]string{
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range":           "0 2147483647",
}

// unprivilegedNetwork is for containers with a network namespace of their own. The
// runtime sets the values at each start, also in a namespace that is kept when a
// container is replaced. A value that the kernel does not have is left out.
func unprivilegedNetwork() oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = map[string]string{}
		}
		for name, value := range sysctls {
			if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err == nil {
				s.Linux.Sysctl[name] = value
			}
		}
		return nil
	}
}

// hostFiles are mounts of the host's own files. A file that it does not have is left
// out.
func hostFiles() []specs.Mount {
	var all []specs.Mount
	for _, file := range []string{resolvFile, hostsFile} {
		if _, err := os.Stat(file); err == nil {
			all = append(all, bind(file, file, true))
		}
	}
	return all
}

// outdated is the file of the host that a process in network mode host has as it was
// when it started: the host has replaced it since, and a mount shows the old one. It
// is "" when there is none. Nothing is opened: what a path of a container leads to is
// up to the container.
func outdated(c state.Instance) string {
	if c.Task.Status != state.TaskRunning || c.Applied == nil || c.Applied.Network.Mode != spec.NetworkHost {
		return ""
	}
	for _, file := range []string{resolvFile, hostsFile} {
		own := slices.ContainsFunc(c.Applied.Mounts, func(m spec.Mount) bool { return m.Target == file || m.Target == filepath.Dir(file) })
		inside, gone := os.Stat(fmt.Sprintf("/proc/%d/root%s", c.Task.PID, file))
		here, missing := os.Stat(file)
		if !own && gone == nil && missing == nil && !os.SameFile(inside, here) {
			return file
		}
	}
	return ""
}

// networkMode is the network mode of a container, by its OCI spec. A namespace that
// carrel did not pin counts as none.
func (d *Driver) networkMode(s specs.Spec) spec.NetworkMode {
	if s.Linux == nil {
		return spec.NetworkHost
	}
	i := slices.IndexFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
	switch {
	case i < 0:
		return spec.NetworkHost
	case strings.HasPrefix(s.Linux.Namespaces[i].Path, d.netns("")+"/"):
		return spec.NetworkCNI
	}
	return spec.NetworkNone
}

// ready checks that the host has the namespaces that a container joins and the files
// that it mounts. The runtime's own error says less.
func (d *Driver) ready(kept typeurl.Any) error {
	if kept == nil {
		return nil
	}
	var s specs.Spec
	if err := json.Unmarshal(kept.GetValue(), &s); err != nil {
		return fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	return d.readyFor(s)
}

func (d *Driver) readyFor(s specs.Spec) error {
	if s.Linux != nil {
		for _, ns := range s.Linux.Namespaces {
			if ns.Path != "" && !isNamespace(ns.Path) {
				return fmt.Errorf("%s namespace %s is gone (apply again)", ns.Type, ns.Path)
			}
		}
	}
	var sources []string
	for _, m := range s.Mounts {
		if m.Type == "bind" {
			sources = append(sources, m.Source)
		}
	}
	return d.present(sources)
}

// isNamespace reports whether a namespace is mounted at a path. After a reboot the
// file may exist without one.
func isNamespace(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Type == unix.NSFS_MAGIC
}

// present checks that the host has the sources of mounts.
func (d *Driver) present(sources []string) error {
	var missing []string
	for _, source := range sources {
		_, err := os.Stat(source)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(source, d.RunDir+"/"):
			return fmt.Errorf("%s is gone (apply again)", source)
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, source)
		case err != nil:
			return fmt.Errorf("mount source: %w", err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("mount source %s does not exist (make it, or correct mounts)", strings.Join(missing, ", "))
	}
	return nil
}
