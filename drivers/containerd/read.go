package containerd

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/distribution/reference"
	"golang.org/x/sync/errgroup"

	"carrel/plan/state"
)

// The labels by which carrel knows its containers, and the extension that has the
// spec that a container was made from.
const (
	labelPrefix    = "carrel/"
	labelWorkspace = labelPrefix + "workspace"
	labelSet       = labelPrefix + "set"
	labelHost      = labelPrefix + "host"
	labelVolume    = labelPrefix + "volume" // the host folder mounted at the data path

	extensionApplied = "carrel/applied"
)

// The limits of asking for single tasks.
const (
	asked      = 16              // at the same time
	askTimeout = 3 * time.Second // then the shim counts as not answering
)

// Containers are all containers of the namespace with their tasks.
func (d *Driver) Containers(ctx context.Context) ([]state.Instance, error) {
	var found []containers.Container
	var running map[string]state.Task
	group, listing := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found, err = d.client.ContainerService().List(listing)
		return err
	})
	group.Go(func() (err error) {
		running, err = d.tasks(listing)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("list containers: %w", d.explain(err))
	}
	all := make([]state.Instance, len(found))
	asking, taskCtx := errgroup.WithContext(ctx)
	asking.SetLimit(asked)
	for i, c := range found {
		all[i] = d.container(ctx, c)
		asking.Go(func() (err error) {
			task, listed := running[c.ID]
			if !listed {
				task, err = d.task(taskCtx, c.ID)
			}
			all[i] = d.measured(all[i], task)
			all[i] = compared(all[i], c)
			all[i].Outdated = outdated(all[i])
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, fmt.Errorf("list tasks: %w", d.explain(err))
	}
	return all, nil
}

// tasks are the tasks that containerd lists, by container.
func (d *Driver) tasks(ctx context.Context) (map[string]state.Task, error) {
	listed, err := d.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	byID := make(map[string]state.Task, len(listed.Tasks))
	for _, process := range listed.Tasks {
		byID[process.ID] = taskOf(process)
	}
	return byID, nil
}

// task asks for the task of one container. A task that is not listed may exist: lists
// leave out a shim that does not answer.
func (d *Driver) task(ctx context.Context, container string) (state.Task, error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	got, err := d.client.TaskService().Get(asking, &tasks.GetRequest{ContainerID: container})
	err = errgrpc.ToNative(err)
	switch {
	case err == nil:
		return taskOf(got.Process), nil
	case errdefs.IsNotFound(err):
		return state.Task{}, nil
	case ctx.Err() == nil && (asking.Err() != nil || errdefs.IsDeadlineExceeded(err)):
		return state.Task{Status: state.TaskUnknown}, nil
	}
	return state.Task{}, err
}

func taskOf(process *tasktypes.Process) state.Task {
	task := state.Task{PID: process.Pid}
	switch process.Status {
	case tasktypes.Status_CREATED:
		task.Status = state.TaskCreated
	case tasktypes.Status_RUNNING:
		task.Status = state.TaskRunning
	case tasktypes.Status_STOPPED:
		task.Status = state.TaskStopped
		task.ExitCode = process.ExitStatus
		task.ExitedAt = process.ExitedAt.AsTime()
	case tasktypes.Status_PAUSED, tasktypes.Status_PAUSING:
		task.Status = state.TaskPaused
	default:
		task.Status = state.TaskUnknown
	}
	return task
}

// container makes an instance of containerd's description of a container. The OCI
// spec of one that carrel made is not decoded: it is large, and the labels and the
// kept spec say the same.
func (d *Driver) container(ctx context.Context, c containers.Container) state.Instance {
	found := state.Instance{
		ID:        c.ID,
		Workspace: c.Labels[labelWorkspace],
		Set:       c.Labels[labelSet],
		Host:      c.Labels[labelHost],
		Volume:    c.Labels[labelVolume],
		Snapshot:  c.SnapshotKey,
		Image:     c.Image,
		Digest:    digestOf(c.Image),
		CreatedAt: c.CreatedAt,
		Labels:    maps.Clone(c.Labels),
	}
	if found.Labels == nil {
		found.Labels = map[string]string{}
	}
	maps.DeleteFunc(found.Labels, func(key, _ string) bool {
		return strings.HasPrefix(key, labelPrefix) || isContainerds(key)
	})
	resolved, err := resolvedDevices(c)
	if err != nil {
		found.Unreadable = err.Error()
	}
	found.Devices = resolved
	if kept, ok := c.Extensions[extensionApplied]; ok {
		applied, err := state.DecodeSpec(kept.GetValue())
		if err != nil {
			found.Unreadable = err.Error()
		}
		found.Applied = applied
		if applied != nil {
			d.identify(&found, c)
		}
		return found
	}
	from, volume, err := d.found(ctx, c)
	if err != nil {
		found.Unreadable = err.Error()
	}
	found.Found, found.Volume = from, volume
	return found
}

// identify says of a container that keeps its spec whose it is and where its data is,
// whatever somebody did to its labels. One that says that it is another workspace says
// nothing: its record knows it.
func (d *Driver) identify(found *state.Instance, c containers.Container) {
	volume, err := d.volumeOf(c, *found.Applied)
	if err != nil {
		found.Unreadable = err.Error()
	}
	found.Volume, found.Drift = volume, changedLabels(c, found.Applied.Name, volume)
	if found.Workspace != found.Applied.Name {
		found.Workspace = ""
	}
	for key, value := range found.Applied.Labels {
		if isContainerds(key) { // containerd may write its own over that of a spec
			found.Labels[key] = value
		}
	}
}

// compared adds to an instance what of its OCI spec was changed on the host.
func compared(found state.Instance, c containers.Container) state.Instance {
	changed, started, err := redescribed(c, found.Task)
	if err != nil {
		found.Unreadable = err.Error()
	}
	found.Drift, found.Task.Drifted = append(found.Drift, changed...), started
	return found
}

// isContainerds reports whether a label is containerd's own.
func isContainerds(label string) bool {
	return strings.HasPrefix(label, "containerd.io/") || strings.HasPrefix(label, "io.containerd.")
}

// digestOf is the digest in the name of an image, "" when it has none.
func digestOf(name string) string {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return ""
	}
	if digested, ok := named.(reference.Digested); ok {
		return digested.Digest().String()
	}
	return ""
}
