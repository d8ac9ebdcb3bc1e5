package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"carrel/drivers/containerd/images"
	"carrel/plan"
	"carrel/spec"
)

// CheckImage makes the OCI spec of a container as CreateContainer does, over the
// root filesystem of the image, which is mounted for reading, and looks in both for
// what the runtime would refuse.
func (d *Driver) CheckImage(ctx context.Context, s plan.CheckImage) error {
	w := s.For.Spec
	if err := d.present(sources(w)); err != nil {
		return err
	}
	return d.View(ctx, s.For.Image, func(root string, image images.View) error {
		made, err := d.specOver(ctx, root, s.For, image.Image)
		if err != nil {
			return d.explain(err)
		}
		t := newTree(root, made.Mounts, d.VolumesDir)
		return together(append(checkMounts(t, w), checkProcess(t, *made.Process, commandOf(w, image.Config)), checkHooks(*made)))
	})
}

// specOver is the OCI spec of a container over a root filesystem. The options look
// up users and groups there, since the container has no root filesystem yet.
func (d *Driver) specOver(ctx context.Context, root string, s plan.CreateContainer, image client.Image) (*oci.Spec, error) {
	inject, _ := d.devices(s.Spec.Devices)
	opts := slices.Insert(d.spec(s, image), 1, oci.WithRootFSPath(root)) // over the defaults, before users are looked up
	ctx = namespaces.WithNamespace(ctx, d.Namespace)                     // a part of the path of its control group
	return oci.GenerateSpec(ctx, d.client, &containers.Container{ID: s.Container}, append(opts, inject)...)
}

func sources(w spec.Workspace) []string {
	var all []string
	for _, m := range w.Mounts {
		all = append(all, m.Source)
	}
	return all
}

// checkMounts finds mounts of a file over a folder, or of a folder over a file.
func checkMounts(t tree, w spec.Workspace) (errs []error) {
	for _, m := range w.Mounts {
		source, err := os.Stat(m.Source)
		if err != nil {
			return append(errs, fmt.Errorf("mount source: %w", err))
		}
		over, err := t.without(m.Target).find(m.Target)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && over.info == nil:
		case err != nil:
			errs = append(errs, fmt.Errorf("mount target %s: %w (correct target)", m.Target, err))
		case over.info.IsDir() != source.IsDir():
			errs = append(errs, fmt.Errorf("mount source %s is a %s, and the image has a %s at %s (correct mounts)",
				m.Source, kindOf(source), kindOf(over.info), m.Target))
		}
	}
	return errs
}

func kindOf(info fs.FileInfo) string {
	if info.IsDir() {
		return "folder"
	}
	return "file"
}

// checkHooks finds hooks, which only devices have, whose program is gone.
func checkHooks(s specs.Spec) error {
	if s.Hooks == nil {
		return nil
	}
	//lint:ignore SA1019 a vendor may still use the old kind of hooks
	for _, hook := range slices.Concat(s.Hooks.Prestart, s.Hooks.CreateRuntime, s.Hooks.CreateContainer, s.Hooks.StartContainer, s.Hooks.Poststart, s.Hooks.Poststop) {
		if info, err := os.Stat(hook.Path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("its devices need the program %s, which this host does not have (install it again, or generate the CDI file again)", hook.Path)
		}
	}
	return nil
}

// CheckContainer checks that the host still has what a container mounts, joins and
// was given as devices. The network and the volume are made before its start.
func (d *Driver) CheckContainer(ctx context.Context, s plan.CheckContainer) error {
	kept, err := d.client.ContainerService().Get(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	if kept.Spec == nil {
		return nil
	}
	var made specs.Spec
	if err := json.Unmarshal(kept.Spec.GetValue(), &made); err != nil {
		return fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	later := func(path string) bool {
		return strings.HasPrefix(path, d.RunDir+"/") || path == d.volume(s.Workspace)
	}
	made.Mounts = slices.DeleteFunc(made.Mounts, func(m specs.Mount) bool { return later(m.Source) })
	if made.Linux != nil {
		made.Linux.Namespaces = slices.DeleteFunc(made.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return later(ns.Path) })
	}
	devices, err := resolvedDevices(kept)
	if err != nil {
		return err
	}
	for name := range devices {
		if _, err := d.Inject(&specs.Spec{}, []string{name}); err != nil {
			return err
		}
	}
	return together(append(d.sameKinds(ctx, s.Container, made.Mounts), d.readyFor(made), checkHooks(made)))
}

// sameKinds finds mounts whose source was a folder when the process was started and is
// a file now, or the reverse: the runtime would refuse them. The process still has what
// was mounted then.
func (d *Driver) sameKinds(ctx context.Context, container string, mounts []specs.Mount) (errs []error) {
	task, err := d.task(ctx, container)
	if err != nil {
		return []error{d.explain(err)}
	}
	for _, m := range mounts {
		source, gone := os.Stat(m.Source)
		inside, unknown := os.Lstat(fmt.Sprintf("/proc/%d/root%s", task.PID, m.Destination))
		if m.Type != "bind" || gone != nil || unknown != nil || source.IsDir() == inside.IsDir() {
			continue // what is gone is reported by others
		}
		errs = append(errs, fmt.Errorf("mount source %s is a %s now, and was a %s when the process was started (bring that back, or correct mounts)",
			m.Source, kindOf(source), kindOf(inside)))
	}
	return errs
}

// together puts several errors into one line.
func together(errs []error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}
