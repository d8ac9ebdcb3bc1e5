package containerd

import (
	"bytes"
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/anypb"

	"carrel/drivers/containerd/images"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// runtime is the shim that every containerd since 1.4 has.
const runtime = "io.containerd.runc.v2"

// CreateContainer makes a container and its root filesystem. When it fails, neither
// is left. It succeeds when the container exists already and keeps the same spec.
func (d *Driver) CreateContainer(ctx context.Context, s plan.CreateContainer) error {
	kept, err := state.EncodeSpec(s.Spec)
	if err != nil {
		return err
	}
	// What is kept and compared is what is written.
	if s.Spec, err = s.Spec.Expanded(); err != nil {
		return err
	}
	existing, err := d.client.ContainerService().Get(ctx, s.Container)
	switch {
	case err == nil && bytes.Equal(valueOf(existing.Extensions[extensionApplied]), kept):
		return nil
	case err == nil:
		return fmt.Errorf("container %s exists and has another spec (plan again)", s.Container)
	case !errdefs.IsNotFound(err):
		return d.explain(err)
	}
	if err := d.present(sources(s.Spec)); err != nil {
		return err
	}
	return d.WithImage(ctx, s.Image, func(ctx context.Context, image client.Image, pinned string) error {
		return d.create(ctx, s, kept, image, pinned)
	})
}

// create makes a container from an image. A root filesystem that has its name already
// is replaced.
func (d *Driver) create(ctx context.Context, s plan.CreateContainer, kept []byte, image client.Image, pinned string) error {
	err := d.newContainer(ctx, s, kept, image, pinned)
	if errdefs.IsAlreadyExists(err) {
		// No container has this id, so the snapshot with its key is a leftover of
		// a run that was killed.
		if err := d.removeSnapshot(ctx, s.Container); err != nil {
			return err
		}
		err = d.newContainer(ctx, s, kept, image, pinned)
	}
	return err
}

func (d *Driver) newContainer(ctx context.Context, s plan.CreateContainer, kept []byte, image client.Image, pinned string) error {
	inject, keep := d.devices(s.Spec.Devices)
	_, err := d.client.NewContainer(ctx, s.Container,
		client.WithRuntime(runtime, nil),
		client.WithContainerLabels(d.labels(s.Spec, s.Set, s.Host, d.volume(s.Spec.Name))),
		client.WithImageStopSignal(image, "SIGTERM"),
		client.WithContainerExtension(extensionApplied, applied(kept)),
		client.WithSnapshotter(d.Snapshotter),
		client.WithNewSnapshot(s.Container, image),
		client.WithImageName(pinned),                            // after the snapshot, which sets the tag
		client.WithNewSpec(append(d.spec(s, image), inject)...), // last: nodes belong to the user
		keep,
		keepMade,
	)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		images.CleanUp(ctx, func(ctx context.Context) error { return d.removeSnapshot(ctx, s.Container) })
	}
	return d.explain(err)
}

// labels are the labels of the spec, and those by which carrel knows a container.
func (d *Driver) labels(w spec.Workspace, set, host, volume string) map[string]string {
	labels := map[string]string{labelWorkspace: w.Name, labelSet: set, labelHost: host}
	if volume != "" {
		labels[labelVolume] = volume
	}
	for key, value := range w.Labels {
		labels[key] = value
	}
	return labels
}

// applied is the extension in which a container keeps its spec.
func applied(kept []byte) *anypb.Any {
	return &anypb.Any{TypeUrl: extensionApplied, Value: kept}
}

// DeleteContainer deletes a container, what is left of its task, and its root
// filesystem. It succeeds when they do not exist.
func (d *Driver) DeleteContainer(ctx context.Context, s plan.DeleteContainer) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if errdefs.IsNotFound(err) {
		return d.removeSnapshot(ctx, s.Container)
	}
	if err != nil {
		return d.explain(err)
	}
	task, err := d.task(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	if task.Alive() {
		return fmt.Errorf("its task is %s (stop it first)", task.Status)
	}
	if err := d.clear(ctx, container); err != nil {
		return err
	}
	if err := container.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return d.explain(err)
	}
	return nil
}
