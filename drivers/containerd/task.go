package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/moby/sys/signal"

	"carrel/drivers/containerd/images"
	"carrel/plan"
	"carrel/plan/state"
)

// killTimeout is how long a task may take to end after SIGKILL.
const killTimeout = 30 * time.Second

// StartTask starts the process of a container. Its output goes to a file that
// the shim writes, so that nothing is lost when carrel ends.
func (d *Driver) StartTask(ctx context.Context, s plan.StartTask) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	task, err := d.task(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	switch task.Status {
	case state.TaskRunning:
		return nil
	case state.TaskPaused:
		_, err := d.client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: s.Container})
		return d.explain(errgrpc.ToNative(err))
	case state.TaskUnknown:
		return fmt.Errorf("the shim of container %s does not answer (look at its process %d)", s.Container, task.PID)
	}
	kept, err := container.Info(ctx, client.WithoutRefreshedMetadata)
	if err != nil {
		return d.explain(err)
	}
	if err := d.ready(kept.Spec); err != nil {
		return err
	}
	if task.Status != state.TaskNone {
		if err := d.clear(ctx, container); err != nil {
			return err
		}
	}
	return d.startAnew(ctx, s, container)
}

// startTimeout limits one attempt to start a task: containerd waits for a shim that
// hangs without a limit.
const startTimeout = 20 * time.Second

// startAnew starts a task that does not exist. It tries several times, because
// leftovers of a run that was killed make the start fail at first. Leftovers in
// the runtime go away with the first attempt. Containerd removes its own, and
// needs time for that: removing them at the same time here can leave more.
func (d *Driver) startAnew(ctx context.Context, s plan.StartTask, container client.Container) error {
	limit := time.After(leftoverTimeout)
	for attempt, wait := 1, leftoverRetry; ; attempt, wait = attempt+1, min(2*wait, leftoverRetryMost) {
		err := d.start(ctx, s, container)
		var refused *runtimeError
		if err == nil || attempt > 1 && errors.As(err, &refused) && !refused.leftover(attempt) {
			return err
		}
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("its root filesystem is gone (apply its spec, which creates the container again and keeps its volume): %w", err)
		}
		if errdefs.IsDeadlineExceeded(err) && ctx.Err() == nil {
			if err := d.killShims(s.Container); err != nil {
				return err
			}
		}
		select {
		case <-time.After(wait):
		case <-limit:
			return fmt.Errorf("%w (tried for %s: see containerd's log, and restart containerd if it keeps what an earlier start left)", err, leftoverTimeout)
		case <-ctx.Done():
			return err
		}
		if attempt < leftoverPatience {
			continue
		}
		if failed := errors.Join(d.clear(ctx, container), d.removeBundle(s.Container, err)); failed != nil {
			return failed
		}
	}
}

func (d *Driver) start(ctx context.Context, s plan.StartTask, container client.Container) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	file, err := d.logFile(s.Workspace)
	if err != nil {
		return err
	}
	d.starts.note(s.Workspace, file)
	task, err := container.NewTask(ctx, cio.LogFile(file))
	if err != nil {
		return inBrief(d.explain(err))
	}
	if err := task.Start(ctx); err != nil {
		images.CleanUp(ctx, func(ctx context.Context) error { return d.clear(ctx, container) })
		return inBrief(d.explain(err))
	}
	return nil
}

// The limits of waiting for containerd to clean up after a run that was killed, or
// after a shim that died.
const (
	leftoverTimeout   = time.Minute
	leftoverRetry     = 50 * time.Millisecond // doubled with each attempt
	leftoverRetryMost = 2 * time.Second
	leftoverPatience  = 4 // attempts before carrel cleans up too
	leftoverUnclear   = 6 // attempts that may fail without a reason before that is the error
)

// clear removes what is left of a task that does not run: it ended, or it was never
// started, or only the task service knows it.
func (d *Driver) clear(ctx context.Context, container client.Container) error {
	limit := time.After(leftoverTimeout)
	for {
		err := d.clearOnce(ctx, container)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(leftoverRetry):
		case <-limit:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

func (d *Driver) clearOnce(ctx context.Context, container client.Container) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	task, err := container.Task(ctx, nil)
	if err == nil {
		_, err = task.Delete(ctx, client.WithProcessKill)
	} else if errdefs.IsNotFound(err) {
		_, err = d.client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: container.ID()})
		err = errgrpc.ToNative(err)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("what is left of the task of %s: %w", container.ID(), d.explain(err))
	}
	return nil
}

// StopTask ends a task and removes it: it sends the signal, waits for the grace
// period, then sends SIGKILL to every process of the task.
func (d *Driver) StopTask(ctx context.Context, s plan.StopTask) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return d.explain(err)
	}
	found, err := d.task(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	if found.Status == state.TaskRunning || found.Status == state.TaskPaused {
		if err := d.end(ctx, s, container, found.Status == state.TaskPaused); err != nil && !errdefs.IsNotFound(err) {
			return d.explain(err)
		}
	}
	if found.Status == state.TaskUnknown {
		return fmt.Errorf("the shim of container %s does not answer (look at its process %d)", s.Container, found.PID)
	}
	return d.clear(ctx, container)
}

// end sends the signal, and SIGKILL after the grace period.
func (d *Driver) end(ctx context.Context, s plan.StopTask, container client.Container, paused bool) error {
	task, err := container.Task(ctx, nil)
	if err != nil {
		return err
	}
	sig, err := stopSignal(ctx, s.Signal, container)
	if err != nil {
		return err
	}
	exited, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	if err := task.Kill(ctx, sig); err != nil {
		return err
	}
	if paused {
		if err := task.Resume(ctx); err != nil {
			return err
		}
	}
	if ended, err := within(ctx, exited, time.Duration(s.GracePeriod)); ended || err != nil {
		return err
	}
	if err := task.Kill(ctx, syscall.SIGKILL, client.WithKillAll); err != nil {
		return err
	}
	ended, err := within(ctx, exited, killTimeout)
	if err == nil && !ended {
		err = fmt.Errorf("container %s has not ended %s after SIGKILL (its process may hang in the kernel)", s.Container, killTimeout)
	}
	return err
}

// within waits for the exit of a task, at most so long. It is an error when the
// wait ends because containerd or the shim went away.
func within(ctx context.Context, exited <-chan client.ExitStatus, limit time.Duration) (bool, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case status := <-exited:
		return status.Error() == nil, status.Error()
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// stopSignal is the signal of the spec, or else that of the image, which is in a
// label of the container.
func stopSignal(ctx context.Context, name string, container client.Container) (syscall.Signal, error) {
	if name != "" {
		return signal.ParseSignal(name)
	}
	labels, err := container.Labels(ctx)
	if err != nil {
		return 0, err
	}
	if image := labels[client.StopSignalLabel]; image != "" {
		if sig, err := signal.ParseSignal(image); err == nil {
			return sig, nil
		}
	}
	return syscall.SIGTERM, nil
}

// Exited waits until a task ends or ctx is done, which is no error.
func (d *Driver) Exited(ctx context.Context, container string) (code uint32, exited bool, err error) {
	// Not ctx: its end would be an error of these calls.
	asking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	loaded, err := d.client.LoadContainer(asking, container)
	if err != nil {
		return 0, false, d.explain(err)
	}
	task, err := loaded.Task(asking, nil)
	if err != nil {
		return 0, false, d.explain(err)
	}
	exit, err := task.Wait(asking)
	if err != nil {
		return 0, false, d.explain(err)
	}
	select {
	case status := <-exit:
		return status.ExitCode(), status.Error() == nil, d.explain(status.Error())
	case <-ctx.Done():
		return 0, false, nil
	}
}

// runtimeError is the runtime's error when it cannot start a process. Its text is
// the part that says why. Only the text tells such errors apart: containerd passes
// on what the runtime printed, without a type.
type runtimeError struct {
	text string
	err  error
}

func (e *runtimeError) Error() string {
	return e.text + " (check command, args, mounts and the image)"
}

func (e *runtimeError) Unwrap() error { return e.err }

// leftover reports whether the reason may be a leftover in the runtime, of a run
// that was killed. Either the text says so, or it has no reason: containerd,
// cleaning up late, removes the folder with the file that has the reason. But a
// runtime that is broken gives no reason either, so after a few attempts an error
// without a reason no longer counts.
func (e *runtimeError) leftover(attempt int) bool {
	return strings.Contains(e.text, "already exists") ||
		attempt <= leftoverUnclear && strings.Contains(e.text, "unable to retrieve OCI runtime error")
}

// inBrief makes a runtimeError of an error that the runtime printed.
func inBrief(err error) error {
	for _, mark := range []string{"unable to start container process: ", "runc create failed: ", "OCI runtime create failed: "} {
		if _, text, ok := strings.Cut(err.Error(), mark); ok {
			return &runtimeError{text: strings.TrimSuffix(text, ": unknown"), err: err}
		}
	}
	return err
}
