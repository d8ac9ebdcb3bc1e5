package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"carrel/drivers/containerd/images"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// UpdateLabels writes the labels and the kept spec of a container in one call.
func (d *Driver) UpdateLabels(ctx context.Context, s plan.UpdateLabels) error {
	return d.keep(ctx, s, nil)
}

// AdoptContainer writes carrel's labels into a container, and the spec that
// describes it as it is.
func (d *Driver) AdoptContainer(ctx context.Context, s plan.AdoptContainer) error {
	return d.keep(ctx, plan.UpdateLabels{Container: s.Container, Set: s.Set, Host: s.Host, Spec: s.Spec}, &s.Volume)
}

// keep writes what carrel keeps in a container. When volume is nil the container
// keeps the one that it has.
func (d *Driver) keep(ctx context.Context, s plan.UpdateLabels, volume *string) error {
	kept, err := state.EncodeSpec(s.Spec)
	if err != nil {
		return err
	}
	container, err := d.client.LoadContainer(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	return d.explain(container.Update(ctx, func(_ context.Context, _ *client.Client, c *containers.Container) error {
		was, err := appliedTo(*c)
		if err != nil {
			return err
		}
		if volume == nil {
			found, err := d.volumeOf(*c, was)
			if err != nil {
				return err
			}
			volume = &found
		} else if err := setMade(c, valueOf(c.Spec)); err != nil { // what was found is what is applied
			return err
		}
		labels := d.labels(s.Spec, s.Set, s.Host, *volume)
		for key, value := range c.Labels {
			_, own := was.Labels[key]
			_, set := labels[key]
			others := !own && !set && !strings.HasPrefix(key, labelPrefix)
			if others || isContainerds(key) {
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

// appliedTo is the spec that a container keeps; the zero value when it keeps none.
func appliedTo(c containers.Container) (spec.Workspace, error) {
	kept, ok := c.Extensions[extensionApplied]
	if !ok {
		return spec.Workspace{}, nil
	}
	was, err := state.DecodeSpec(kept.GetValue())
	if err != nil {
		return spec.Workspace{}, err
	}
	return *was, nil
}

// UpdateResources changes the limits of the running task, then those of the
// container, which its next task gets. When the task refuses, both stay as they were.
func (d *Driver) UpdateResources(ctx context.Context, s plan.UpdateResources) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	described, err := container.Spec(ctx)
	if err != nil {
		return d.explain(err)
	}
	was := limitsOf(*described)
	if err := d.limitTask(ctx, container, s.To); err != nil {
		return err
	}
	err = container.Update(ctx, func(ctx context.Context, _ *client.Client, c *containers.Container) error {
		return describeLimits(ctx, c, s.To)
	})
	if err != nil {
		images.CleanUp(ctx, func(ctx context.Context) error { return d.limitTask(ctx, container, was) })
		return d.explain(err)
	}
	return nil
}

// describeLimits changes the limits in the OCI spec of a container, and in the one
// that it was made with, which it keeps.
func describeLimits(ctx context.Context, c *containers.Container, to spec.Limits) error {
	kept, err := made(*c)
	if err != nil {
		return err
	}
	if kept != nil {
		if kept, err = withLimits(ctx, kept, to); err == nil {
			err = setMade(c, kept)
		}
		if err != nil {
			return err
		}
	}
	text, err := withLimits(ctx, valueOf(c.Spec), to)
	if err != nil {
		return err
	}
	c.Spec = &anypb.Any{TypeUrl: c.Spec.GetTypeUrl(), Value: text}
	return nil
}

func withLimits(ctx context.Context, text []byte, to spec.Limits) ([]byte, error) {
	var described oci.Spec
	if err := json.Unmarshal(text, &described); err != nil {
		return nil, fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	if err := limit(to)(ctx, nil, nil, &described); err != nil {
		return nil, err
	}
	return json.Marshal(described)
}

// limitTask changes the limits of a task, if it runs.
func (d *Driver) limitTask(ctx context.Context, container client.Container, to spec.Limits) error {
	found, err := d.task(ctx, container.ID())
	if err != nil {
		return d.explain(err)
	}
	switch found.Status {
	case state.TaskNone, state.TaskStopped:
		return nil
	case state.TaskUnknown:
		return fmt.Errorf("the shim of container %s does not answer (look at its process)", container.ID())
	}
	// Version 2 of control groups would kill a process to free memory.
	if used := d.usedMemory(container.ID()); to.Memory > 0 && used > to.Memory {
		return fmt.Errorf("memory limit %s is less than the %s in use (stop it first, or allow more)", to.Memory, roundUp(used))
	}
	task, err := container.Task(ctx, nil)
	if err == nil {
		err = task.Update(ctx, client.WithResources(resources(to, countsSwap(groupRoot))))
	}
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if again, failed := d.task(ctx, container.ID()); failed == nil && !again.Alive() {
		return nil // it ended meanwhile
	}
	return fmt.Errorf("limits of the running task: %w", updateError{d.explain(err)})
}

// updateError is the runtime's error when it refuses limits. Its text is the part
// that says why, in one line.
type updateError struct{ error }

func (e updateError) Error() string {
	text := e.error.Error()
	if _, why, ok := strings.Cut(text, "exit status 1: "); ok {
		text = strings.TrimSuffix(strings.TrimSpace(why), ": unknown")
	}
	return strings.Join(strings.Fields(text), " ")
}

func (e updateError) Unwrap() error { return e.error }
