package containerd_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
)

var execs atomic.Int64

// exec runs a command beside the process of a container's task. Its error has
// the exit code and the output.
func (b *bench) exec(name string, args ...string) error {
	b.t.Helper()
	_, err := b.outputOf(name, args...)
	return err
}

// outputOf is what a command beside the process of a container's task prints.
func (b *bench) outputOf(name string, args ...string) (string, error) {
	b.t.Helper()
	ctx := b.t.Context()
	container, err := b.raw.LoadContainer(ctx, name)
	b.must(err)
	oci, err := container.Spec(ctx)
	b.must(err)
	task, err := container.Task(ctx, nil)
	b.must(err)
	process := *oci.Process
	process.Args = args
	var out, errs bytes.Buffer
	running, err := task.Exec(ctx, fmt.Sprintf("exec-%d", execs.Add(1)), &process,
		cio.NewCreator(cio.WithStreams(nil, &out, &errs), cio.WithFIFODir(b.dir)))
	b.must(err)
	exited, err := running.Wait(ctx)
	b.must(err)
	b.must(running.Start(ctx))
	status := <-exited
	running.IO().Wait()
	_, err = running.Delete(ctx, client.WithProcessKill)
	b.must(err)
	if status.Error() != nil || status.ExitCode() != 0 {
		return out.String(), fmt.Errorf("%s exited with %d: %s", strings.Join(args, " "), status.ExitCode(), out.String()+errs.String())
	}
	return out.String(), nil
}
