package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"carrel/spec"
)

// found describes a container that carrel did not make as a workspace, by its OCI
// spec, and gives the host folder that is mounted at the default data path. What is
// the same in the image's configuration counts as coming from the image.
func (d *Driver) found(ctx context.Context, c containers.Container) (*spec.Workspace, string, error) {
	if c.Spec == nil {
		return nil, "", nil
	}
	var oci specs.Spec
	if err := json.Unmarshal(c.Spec.GetValue(), &oci); err != nil {
		return nil, "", fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	config, err := d.imageConfig(ctx, c.Image)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, "", err
	}
	w := spec.Default()
	w.Name, w.Image = c.ID, c.Image
	w.Resources.Limits = limitsOf(oci)
	w.Network.Mode = d.networkMode(oci)
	if oci.Process != nil {
		process(&w, *oci.Process, config)
	}
	volume := ""
	for _, m := range oci.Mounts {
		switch {
		case m.Type != "bind" || m.Destination == resolvFile || m.Destination == hostsFile:
		case m.Destination == w.DataPath:
			volume = m.Source
		default:
			w.Mounts = append(w.Mounts, spec.Mount{
				Source: m.Source, Target: m.Destination, ReadOnly: slices.Contains(m.Options, "ro"),
			})
		}
	}
	w = w.Escaped()
	return &w, volume, nil
}

// process adds to a workspace what the process of a container has and its image has
// not.
func process(w *spec.Workspace, p specs.Process, config ocispec.ImageConfig) {
	switch {
	case slices.Equal(p.Args, append(slices.Clone(config.Entrypoint), config.Cmd...)):
	case len(config.Entrypoint) > 0 && len(p.Args) >= len(config.Entrypoint) && slices.Equal(p.Args[:len(config.Entrypoint)], config.Entrypoint):
		w.Args = p.Args[len(config.Entrypoint):]
	default:
		w.Command = p.Args
	}
	if p.Cwd != config.WorkingDir && p.Cwd != "/" {
		w.WorkingDir = p.Cwd
	}
	if config.User == "" && (p.User.UID != 0 || p.User.GID != 0) {
		w.User = fmt.Sprintf("%d:%d", p.User.UID, p.User.GID)
	}
	for _, pair := range p.Env {
		name, value, _ := strings.Cut(pair, "=")
		if name != "PATH" && !slices.Contains(config.Env, pair) {
			w.Env = append(w.Env, spec.EnvVar{Name: name, Value: value})
		}
	}
}

func limitsOf(oci specs.Spec) spec.Limits {
	var l spec.Limits
	if oci.Linux == nil || oci.Linux.Resources == nil {
		return l
	}
	r := oci.Linux.Resources
	if r.CPU != nil && r.CPU.Quota != nil && *r.CPU.Quota > 0 {
		period := uint64(cpuPeriod)
		if r.CPU.Period != nil && *r.CPU.Period > 0 {
			period = *r.CPU.Period
		}
		l.CPU = spec.CPU(*r.CPU.Quota * 1000 / int64(period))
	}
	if r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0 {
		l.Memory = spec.Bytes(*r.Memory.Limit)
	}
	if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0 {
		l.Pids = *r.Pids.Limit
	}
	return l
}

// imageConfig is the configuration of an image that containerd has.
func (d *Driver) imageConfig(ctx context.Context, name string) (ocispec.ImageConfig, error) {
	image, err := d.client.GetImage(ctx, name)
	if err != nil {
		return ocispec.ImageConfig{}, err
	}
	whole, err := image.Spec(ctx)
	return whole.Config, err
}
