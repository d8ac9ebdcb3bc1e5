package main

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/typeurl/v2"

	"carrel/plan/report"
)

// benchWatched is how many workspaces the agent has in BenchmarkMemory.
const benchWatched = 200

// BenchmarkDeath measures how long it takes until a task that died runs again. The
// baseline is a program that deletes, creates and starts the task with bare client
// calls at the same moment.
func BenchmarkDeath(b *testing.B) {
	bed := newBed(b)
	bed.release()
	specs := bed.specs(benchWorkspaces, bed.archive("v1"), "")
	bed.run("apply", specs)
	for b.Loop() {
		agent := bed.watch(specs)
		agent.eventually("it has synced", func(r report.Agent) bool { return !r.SyncedAt.IsZero() && len(r.Working) == 0 })
		var kept []time.Duration
		for i := range benchWorkspaces / 2 {
			kept = append(kept, bed.death(fmt.Sprintf("w%d", i), func(client.Container) {}))
			agent.eventually("it has observed that it runs", func(r report.Agent) bool {
				return len(r.Recent) == i+1 && len(r.Working) == 0 && running(r) == benchWorkspaces
			})
		}
		agent.end()
		var bare []time.Duration
		for i := benchWorkspaces / 2; i < benchWorkspaces; i++ {
			bare = append(bare, bed.death(fmt.Sprintf("w%d", i), bed.again))
		}
		b.ReportMetric(milliseconds(median(kept)), "ms/runs-again")
		b.ReportMetric(milliseconds(median(bare)), "ms/bare")
		b.ReportMetric(float64(median(kept))/float64(median(bare)), "carrel/bare")
		b.ReportMetric(0, "ns/op")
	}
}

// death kills a task, calls then, and gives the time from the end of the task to
// its next start.
func (b *bed) death(name string, then func(client.Container)) time.Duration {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, _ := b.client.Subscribe(ctx, fmt.Sprintf("namespace==%q,topic==%q", b.space, "/tasks/start"))
	container, err := b.client.LoadContainer(ctx, name)
	b.must(err)
	task, err := container.Task(ctx, nil)
	b.must(err)
	exited, err := task.Wait(ctx)
	b.must(err)
	b.must(task.Kill(ctx, syscall.SIGKILL))
	<-exited
	began := time.Now()
	then(container)
	for envelope := range events {
		event, err := typeurl.UnmarshalAny(envelope.Event)
		b.must(err)
		if start, ok := event.(*apievents.TaskStart); ok && start.ContainerID == name {
			break
		}
	}
	return time.Since(began)
}

// again restarts a dead task with bare client calls.
func (b *bed) again(c client.Container) {
	ctx := context.Background()
	dead, err := c.Task(ctx, nil)
	b.must(err)
	_, err = dead.Delete(ctx)
	b.must(err)
	task, err := c.NewTask(ctx, cio.LogFile(filepath.Join(b.dir, c.ID()+".log")))
	b.must(err)
	b.must(task.Start(ctx))
}

// BenchmarkEdit measures the time from a change of a file to the end of its apply
// by an agent. The baseline is carrel apply. The agent waits 200 ms for the file to
// settle.
func BenchmarkEdit(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	grace := func(n int) string { return fmt.Sprintf(", stop: {gracePeriod: %ds}", n) }
	specs := bed.specs(1, image, grace(1))
	bed.run("apply", specs)
	for b.Loop() {
		var byHand, watched []time.Duration
		for i := range 4 * benchRounds {
			bed.specs(1, image, grace(2+i))
			byHand = append(byHand, timed(func() { bed.run("apply", specs) }))
		}
		agent := bed.watch(specs)
		agent.eventually("it has synced", func(r report.Agent) bool { return !r.SyncedAt.IsZero() && len(r.Working) == 0 })
		for i := range 4 * benchRounds {
			watched = append(watched, bed.edit(func() { bed.specs(1, image, grace(100+i)) }))
			agent.eventually("it has ended", func(r report.Agent) bool { return len(r.Recent) == i+1 && len(r.Working) == 0 })
		}
		agent.end()
		b.ReportMetric(milliseconds(median(byHand)), "ms/apply-by-hand")
		b.ReportMetric(milliseconds(median(watched)), "ms/file-to-container")
		b.ReportMetric(0, "ns/op")
	}
}

// edit calls do, and gives the time until a container has changed.
func (b *bed) edit(do func()) time.Duration {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, _ := b.client.Subscribe(ctx, fmt.Sprintf("namespace==%q,topic==%q", b.space, "/containers/update"))
	return timed(func() {
		do()
		<-events
	})
}

// BenchmarkMemory measures the memory of an agent with one and with many workspaces.
func BenchmarkMemory(b *testing.B) {
	bed := newBed(b)
	bed.release()
	image := bed.archive("v1")
	for b.Loop() {
		var resident []float64
		for _, n := range []int{1, benchWatched} {
			agent := bed.watch(bed.specs(n, image, ""))
			agent.eventually("all run", func(r report.Agent) bool { return running(r) == n && len(r.Working) == 0 })
			for range 10 { // so that everything has been allocated more than once
				before := agent.report().SyncedAt
				bed.must(agent.cmd.Process.Signal(syscall.SIGHUP))
				agent.eventually("it has synced again", func(r report.Agent) bool { return r.SyncedAt.After(before) })
			}
			resident = append(resident, agent.metric("process_resident_memory_bytes")/(1<<20))
			agent.end()
		}
		b.ReportMetric(resident[0], "MiB/1-workspace")
		b.ReportMetric(resident[1], fmt.Sprintf("MiB/%d-workspaces", benchWatched))
		b.ReportMetric(0, "ns/op")
	}
}
