package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/spec"
)

// cpuPeriod is the period in microseconds that a CPU limit is a part of: the
// kernel's default.
const cpuPeriod = 100_000

// spec is the OCI spec of a workspace: containerd's defaults, then the image's
// configuration, then the workspace's spec. The order matters: the seccomp profile
// is made from the capabilities.
func (d *Driver) spec(s plan.CreateContainer, image client.Image) []oci.SpecOpts {
	w := s.Spec
	opts := []oci.SpecOpts{
		oci.WithDefaultSpec(),
		oci.WithoutRunMount, // images have folders in /run, which a tmpfs would hide
		withoutRlimits,
		ownGroups(groupRoot),
		known("the user that the image itself names is not in it (correct the image)", command(w, image)),
		oci.WithEnv(environment(w.Env)),
	}
	if w.WorkingDir != "" {
		opts = append(opts, oci.WithProcessCwd(w.WorkingDir))
	}
	if w.User != "" {
		opts = append(opts, known(fmt.Sprintf("user %q is not in the image (write its number, or correct user)", w.User),
			oci.WithUser(w.User), oci.WithAdditionalGIDs(w.User)))
	}
	return append(opts,
		d.network(s),
		oci.WithMounts(d.mounts(w)), // after those of the network: the spec may replace them
		limit(w.Resources.Limits),
		oci.WithDroppedCapabilities([]string{"CAP_NET_RAW"}),
		oci.WithNoNewPrivileges,
		seccomp.WithDefaultProfile(),
	)
}

// known applies options that look up users and groups in the image. When one of
// them is missing, the error is otherwise: that of the library does not name it.
func known(otherwise string, opts ...oci.SpecOpts) oci.SpecOpts {
	return func(ctx context.Context, client oci.Client, c *containers.Container, s *oci.Spec) error {
		err := oci.Compose(opts...)(ctx, client, c, s)
		if errors.Is(err, oci.ErrNoUsersFound) || errors.Is(err, oci.ErrNoGroupsFound) || errors.Is(err, fs.ErrNotExist) {
			return errors.New(otherwise)
		}
		return err
	}
}

// command is the command of the process, by the rules of Kubernetes: a command
// replaces the image's entrypoint and arguments, args replace only the arguments.
func command(w spec.Workspace, image client.Image) oci.SpecOpts {
	switch {
	case len(w.Command) > 0:
		args := append(append([]string{}, w.Command...), w.Args...)
		return oci.Compose(oci.WithImageConfig(image), oci.WithProcessArgs(args...))
	case len(w.Args) > 0:
		return oci.WithImageConfigArgs(image, w.Args)
	}
	return oci.WithImageConfig(image)
}

// withoutRlimits removes the limit of open files that containerd's client adds: 1024,
// which databases exceed. A process gets the limits of the daemon, as those of Docker
// and Kubernetes do.
func withoutRlimits(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Process.Rlimits = nil
	return nil
}

func environment(all []spec.EnvVar) []string {
	pairs := make([]string, len(all))
	for i, v := range all {
		pairs[i] = v.Name + "=" + v.Value
	}
	return pairs
}

// mounts are the volume at the data path and the mounts of the spec. A mount comes
// before those below it: mounted later, it would hide them.
func (d *Driver) mounts(w spec.Workspace) []specs.Mount {
	all := []specs.Mount{bind(d.volume(w.Name), w.DataPath, false)}
	for _, m := range w.Mounts {
		all = append(all, bind(filepath.Clean(m.Source), m.Target, m.ReadOnly))
	}
	depth := func(m specs.Mount) int { return strings.Count(filepath.Clean(m.Destination), "/") }
	slices.SortStableFunc(all, func(a, b specs.Mount) int { return cmp.Compare(depth(a), depth(b)) })
	return all
}

func bind(source, target string, readOnly bool) specs.Mount {
	options := []string{"rbind", "rw"}
	if readOnly {
		options = []string{"rbind", "ro"}
		if recursive() {
			options = append(options, "rro")
		}
	}
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: options}
}

// recursive reports whether the kernel (since 5.12) can make a mount read-only
// together with all mounts below it. Without that, a filesystem that is mounted
// below a read-only source can be written to.
var recursive = sync.OnceValue(func() bool {
	err := unix.MountSetattr(-1, "", 0, &unix.MountAttr{})
	return !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM)
})

// limit writes the limits of a workspace into an OCI spec. It removes those that the
// workspace does not have.
func limit(l spec.Limits) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if s.Linux == nil {
			s.Linux = &specs.Linux{}
		}
		if s.Linux.Resources == nil {
			s.Linux.Resources = &specs.LinuxResources{}
		}
		want := resources(l, countsSwap(groupRoot))
		s.Linux.Resources.CPU, s.Linux.Resources.Memory, s.Linux.Resources.Pids = want.CPU, want.Memory, want.Pids
		return nil
	}
}

// resources are limits in the form of the OCI runtime. All are set, -1 for no limit,
// so that an update removes limits too. Where the kernel counts swap, memory and
// swap together have the limit of memory: a workspace gets no more by swapping. The
// runtime changes the two in the right order.
func resources(l spec.Limits, swap bool) *specs.LinuxResources {
	quota, period, memory, pids := int64(-1), uint64(cpuPeriod), int64(-1), int64(-1)
	if l.CPU > 0 {
		quota = int64(l.CPU) * cpuPeriod / 1000
	}
	if l.Memory > 0 {
		memory = int64(l.Memory)
	}
	if l.Pids > 0 {
		pids = l.Pids
	}
	all := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
		Memory: &specs.LinuxMemory{Limit: &memory},
		Pids:   &specs.LinuxPids{Limit: &pids},
	}
	if swap {
		both := memory // the limit of memory and swap together
		all.Memory.Swap = &both
	}
	return all
}
