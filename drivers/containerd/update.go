package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"carrel/plan"
	"carrel/spec"
)

// UpdateLabels writes labels and the kept spec of a container in one go.
func (d *Driver) UpdateLabels(ctx context.Context, s plan.UpdateLabels) error {
	return d.keep(ctx, s.Container, s.Set, s.Host, s.Spec)
}

// AdoptContainer gives a container our labels and the spec it amounts to.
func (d *Driver) AdoptContainer(ctx context.Context, s plan.AdoptContainer) error {
	return d.keep(ctx, s.Container, s.Set, s.Host, s.Spec)
}

func (d *Driver) keep(ctx context.Context, id, set, host string, w spec.Workspace) error {
	kept, err := plan.EncodeSpec(w)
	if err != nil {
		return err
	}
	container, err := d.client.LoadContainer(ctx, id)
	if err != nil {
		return d.explain(err)
	}
	return d.explain(container.Update(ctx, func(_ context.Context, _ *client.Client, c *containers.Container) error {
		labels := d.labels(w, set, host, c.Labels[labelVolume])
		for key, value := range c.Labels {
			if containerds(key) {
				labels[key] = value
			}
		}
		c.Labels = labels
		if c.Extensions == nil {
			c.Extensions = map[string]typeurl.Any{}
		}
		c.Extensions[extensionApplied] = applied(kept)
		return nil
	}))
}

// UpdateResources changes the limits of a container, so that its next task has
// them, and of the task that runs.
func (d *Driver) UpdateResources(ctx context.Context, s plan.UpdateResources) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	oci, err := container.Spec(ctx)
	if err != nil {
		return d.explain(err)
	}
	if err := limit(s.To)(ctx, nil, nil, oci); err != nil {
		return err
	}
	if err := container.Update(ctx, client.UpdateContainerOpts(client.WithSpec(oci))); err != nil {
		return d.explain(err)
	}
	task, err := container.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return d.explain(err)
	}
	if err := task.Update(ctx, client.WithResources(resources(s.To))); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("limits of the running task: %w", d.explain(err))
	}
	return nil
}
