package containerd_test

import (
	"context"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/containerd"
	"carrel/drivers/drivertest"
	"carrel/plan"
)

func TestEventsTellWhatHappened(t *testing.T) {
	daemon := drivertest.NewContainerd(t)
	b := newBench(t, daemon)
	name := b.load(image(t, v1.Config{}))
	reported := make(chan containerd.Event, 100)
	ended := make(chan error, 1)
	go func() { ended <- b.Events(t.Context(), func(e containerd.Event) { reported <- e }) }()
	expect := func(kind containerd.EventKind, container string) {
		t.Helper()
		for {
			select {
			case e := <-reported:
				if e.Kind == kind && e.Container == container {
					return
				}
				t.Logf("passed over %+v", e)
			case err := <-ended:
				t.Fatalf("no %s: the events ended: %v", kind, err)
			}
		}
	}
	expect(containerd.Connected, "")
	made := b.create("bot", name, nil)
	b.must(b.UpdateLabels(t.Context(), plan.UpdateLabels{Container: "bot", Set: "s", Host: "h", Spec: made.Spec}))
	expect(containerd.ContainerUpdated, "bot")
	b.start("bot")
	container, err := b.raw.LoadContainer(t.Context(), "bot")
	b.must(err)
	task, err := container.Task(t.Context(), nil)
	b.must(err)
	b.must(task.Kill(t.Context(), syscall.SIGKILL))
	expect(containerd.TaskExited, "bot")
	b.must(b.StopTask(t.Context(), plan.StopTask{Container: "bot"}))
	b.must(b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: "bot"}))
	expect(containerd.ContainerDeleted, "bot")
	b.must(b.raw.ImageService().Delete(context.WithoutCancel(t.Context()), name))
	expect(containerd.ImageDeleted, "")

	b.must(daemon.Kill())
	if err := <-ended; err == nil {
		t.Error("a containerd that went away is no error")
	}
	b.must(daemon.Start())
	go func() { ended <- b.Events(t.Context(), func(e containerd.Event) { reported <- e }) }()
	expect(containerd.Connected, "")
}
