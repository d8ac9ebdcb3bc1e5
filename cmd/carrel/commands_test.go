package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// This file has the commands of scripts for containers and their networks.

func containerOf(ts *testscript.TestScript, name string) client.Container {
	container, err := clientOf(ts).LoadContainer(context.Background(), name)
	ts.Check(err)
	return container
}

func taskOf(ts *testscript.TestScript, name string) client.Task {
	task, err := containerOf(ts, name).Task(context.Background(), nil)
	ts.Check(err)
	return task
}

// freePort is an unused port of the host.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	return port, l.Close()
}

// inside NAME ARG... runs a command in a container that runs.
func inside(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	described, err := containerOf(ts, args[0]).Spec(ctx)
	ts.Check(err)
	process := *described.Process
	process.Args = args[1:]
	var out, errs bytes.Buffer
	running, err := taskOf(ts, args[0]).Exec(ctx, "inside", &process,
		cio.NewCreator(cio.WithStreams(nil, &out, &errs), cio.WithFIFODir(ts.MkAbs("."))))
	ts.Check(err)
	exited, err := running.Wait(ctx)
	ts.Check(err)
	ts.Check(running.Start(ctx))
	status := <-exited
	running.IO().Wait()
	_, err = running.Delete(ctx, client.WithProcessKill)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), out.String())
	if (status.ExitCode() != 0) != neg {
		ts.Fatalf("%v exited %d: %s", args, status.ExitCode(), out.String()+errs.String())
	}
}

// foreign ARCHIVE NAME creates and starts a container as another tool would, with
// its data in its root filesystem.
func foreign(ts *testscript.TestScript, _ bool, args []string) {
	ctx, c := context.Background(), clientOf(ts)
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	imported, err := c.Import(ctx, f, client.WithIndexName("foreign.example/bot:v1"))
	ts.Check(err)
	image := client.NewImage(c, imported[0])
	ts.Check(image.Unpack(ctx, "overlayfs"))
	container, err := c.NewContainer(ctx, args[1], client.WithSnapshotter("overlayfs"), client.WithNewSnapshot(args[1], image),
		client.WithImage(image), client.WithNewSpec(oci.WithImageConfig(image)))
	ts.Check(err)
	task, err := container.NewTask(ctx, cio.LogFile(ts.MkAbs(args[1]+".log")))
	ts.Check(err)
	ts.Check(task.Start(ctx))
	// The data exists when the program has printed this word.
	for log := ""; !strings.Contains(log, "serving"); {
		text, err := os.ReadFile(ts.MkAbs(args[1] + ".log"))
		if err == nil {
			log = string(text)
		}
	}
}

// orphan NAME deletes a container and leaves its root filesystem.
func orphan(ts *testscript.TestScript, _ bool, args []string) {
	ctx, c := context.Background(), clientOf(ts)
	_, err := c.SnapshotService("overlayfs").Update(ctx, snapshots.Info{
		Name: args[0], Labels: map[string]string{"containerd.io/gc.root": "kept"},
	}, "labels.containerd.io/gc.root")
	ts.Check(err)
	_, err = taskOf(ts, args[0]).Delete(ctx, client.WithProcessKill)
	ts.Check(err)
	ts.Check(containerOf(ts, args[0]).Delete(ctx))
}

// lose-root NAME deletes the root filesystem of a container, and leaves the container.
func loseRoot(ts *testscript.TestScript, _ bool, args []string) {
	ctx, c := context.Background(), clientOf(ts)
	_, err := taskOf(ts, args[0]).Delete(ctx, client.WithProcessKill)
	ts.Check(err)
	ts.Check(c.SnapshotService("overlayfs").Remove(ctx, args[0]))
}

// get ADDRESS prints what a TCP server on the host sends.
func get(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := net.Dial("tcp", args[0])
	if (err != nil) != neg {
		ts.Fatalf("get %s: %v", args[0], err)
	}
	if err != nil {
		return
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), string(text))
}

// listen ADDRESS occupies a port of the host until the script ends.
func listen(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}

// pid NAME sets the variable PID_NAME to the process id of a container.
func pidOf(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("PID_"+args[0], strconv.Itoa(int(taskOf(ts, args[0]).Pid())))
}

func unmount(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(unix.Unmount(ts.MkAbs(args[0]), unix.MNT_DETACH))
}

// reboot NAME... removes what a reboot of the host removes: tasks, network
// namespaces and the content of the run dir.
func reboot(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		_, err := taskOf(ts, name).Delete(context.Background(), client.WithProcessKill)
		ts.Check(err)
		unmount(ts, false, []string{filepath.Join("run/netns", name)})
	}
	unmount(ts, false, []string{"run/netns"})
	ts.Check(os.RemoveAll(ts.MkAbs("run")))
}

// wait-log NAME TEXT waits until the output of a workspace contains a text.
func waitLog(ts *testscript.TestScript, _ bool, args []string) {
	for !strings.Contains(ts.ReadFile(filepath.Join("state/logs", args[0]+".log")), args[1]) {
	}
}

// wait-stopped NAME waits until the task of a container has exited.
func waitStopped(ts *testscript.TestScript, _ bool, args []string) {
	exited, err := taskOf(ts, args[0]).Wait(context.Background())
	ts.Check(err)
	status := <-exited
	ts.Check(status.Error())
}
