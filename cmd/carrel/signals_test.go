package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/creack/pty"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
)

// replacing is a bed with two workspaces, of which the first one ends only when the
// test kills it. Its specs have another image now: a replace waits for that.
func replacing(t *testing.T) (b *bed, specs string) {
	t.Helper()
	b = newBed(t)
	deaf := filepath.Join(b.dir, "deaf.tar")
	drivertest.Archive(t, deaf, drivertest.Image(t, v1.Config{Entrypoint: []string{"/guest", "deaf"}}))
	b.run("apply", b.specs(2, "oci-archive:"+deaf, ", stop: {gracePeriod: 1h}"))
	return b, b.specs(2, b.archive("v2"), "")
}

// endProcess kills the process of a workspace.
func (b *bed) endProcess(name string) {
	b.t.Helper()
	ctx := context.Background()
	container, err := b.client.LoadContainer(ctx, name)
	b.must(err)
	task, err := container.Task(ctx, nil)
	b.must(err)
	b.must(task.Kill(ctx, syscall.SIGKILL, client.WithKillAll))
}

// readUntil reads lines up to the first one that has a text. The plan, which comes
// first, names steps that have not begun.
func readUntil(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) && !strings.HasPrefix(lines.Text(), `{"type":"plan"`) {
			return
		}
	}
	t.Fatalf("the output ended without %q: %v", text, lines.Err())
}

// outputs are the lines of the two outputs of a program.
func outputs(t *testing.T, cmd *exec.Cmd) (out, errs *bufio.Scanner) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	stderr, failed := cmd.StderrPipe()
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(stdout), bufio.NewScanner(stderr)
}

// wantExit waits for the end of a program that was not ended by a signal.
func wantExit(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		t.Errorf("carrel ended with %v, want exit code %d", err, code)
	}
}

// wantImages checks that the workspaces run, each from an image with a text in its
// name.
func (b *bed) wantImages(images ...string) {
	b.t.Helper()
	lines := strings.Split(b.run("status"), "\n")[1:]
	for i, image := range images {
		if !strings.Contains(lines[i], " running ") || !strings.Contains(lines[i], image) {
			b.t.Errorf("workspace w%d is not running from %s:\n%s", i, image, strings.Join(lines, "\n"))
		}
	}
}

// delivered makes programs that this one starts get signals, even if this one was
// started with them ignored.
func delivered(t *testing.T, all ...os.Signal) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, all...)
	t.Cleanup(func() { signal.Stop(received) })
}

func TestASignalEndsNoChangeInTheMiddle(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(s.String(), func(t *testing.T) {
			delivered(t, s, syscall.SIGHUP)
			b, specs := replacing(t)
			cmd := b.command("apply", specs, "--parallelism", "1", "-o", "json")
			events, messages := outputs(t, cmd)
			b.must(cmd.Start())
			readUntil(t, events, `"step":"CheckImage"`)
			b.must(cmd.Process.Signal(s))
			readUntil(t, messages, "finishing the changes that have started")
			b.must(cmd.Process.Signal(syscall.SIGHUP)) // asks for nothing more
			b.endProcess("w0")
			readUntil(t, events, `"notBegun":1`)
			wantExit(t, cmd, exitError)
			b.wantImages("v2.tar", "deaf.tar")
		})
	}
}

func TestASecondInterruptEndsTheProgramAtOnce(t *testing.T) {
	b, specs := replacing(t)
	cmd := b.command("apply", specs, "--parallelism", "1", "-o", "json")
	events, _ := outputs(t, cmd)
	b.must(cmd.Start())
	readUntil(t, events, `"step":"CheckImage"`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wantExit(t, cmd, exitKilled)
	}()
	for {
		select {
		case <-ended:
			b.endProcess("w0")
			b.endProcess("w1")
			b.run("apply", specs)
			b.wantImages("v2.tar", "v2.tar")
			return
		case <-time.After(askAgain):
			_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended
		}
	}
}

// TestAClosedOutputEndsNoChangeInTheMiddle closes the output while the first
// workspace is down.
func TestAClosedOutputEndsNoChangeInTheMiddle(t *testing.T) {
	for form, step := range map[string]string{"json": `"step":"CheckImage"`, "text": "w0: check image"} {
		t.Run(form, func(t *testing.T) {
			b, specs := replacing(t)
			cmd := b.command("apply", specs, "--parallelism", "1", "-o", form)
			out, in, err := os.Pipe()
			b.must(err)
			cmd.Stdout, cmd.Stderr = in, in
			b.must(cmd.Start())
			b.must(in.Close())
			readUntil(t, bufio.NewScanner(out), step)
			b.must(out.Close())
			b.endProcess("w0")
			wantExit(t, cmd, exitError)
			lines := b.run("status")
			if strings.Count(lines, " running ") != 2 || !strings.Contains(lines, "v2.tar") {
				t.Errorf("after its output was closed:\n%s", lines)
			}
		})
	}
}

func TestALostTerminalEndsNoChangeInTheMiddle(t *testing.T) {
	delivered(t, syscall.SIGHUP)
	b, specs := replacing(t)
	cmd := b.command("apply", specs, "--parallelism", "1")
	terminal, err := pty.Start(cmd)
	b.must(err)
	readUntil(t, bufio.NewScanner(terminal), "w0: check image")
	b.must(terminal.Close())
	b.endProcess("w0")
	wantExit(t, cmd, exitError)
	lines := b.run("status")
	if strings.Count(lines, " running ") != 2 || !strings.Contains(lines, "v2.tar") {
		t.Errorf("after the terminal was lost:\n%s", lines)
	}
}

func TestALostTerminalIsNoApproval(t *testing.T) {
	delivered(t, syscall.SIGHUP)
	b := newBed(t)
	cmd := b.command("apply", b.specs(1, b.archive("v1"), ""), "--auto-approve=false")
	terminal, err := pty.Start(cmd)
	b.must(err)
	asked := make([]byte, 0, 4096)
	for !strings.Contains(string(asked), "Only 'yes' is accepted") {
		part := make([]byte, 512)
		n, err := terminal.Read(part)
		b.must(err)
		asked = append(asked, part[:n]...)
	}
	_, err = io.WriteString(terminal, "yes") // and no end of the line
	b.must(err)
	b.must(terminal.Close())
	wantExit(t, cmd, exitError)
	if text := b.run("status"); !strings.Contains(text, "no workspaces") {
		t.Errorf("after the terminal was lost:\n%s", text)
	}
}

func TestAnInterruptGivesUpAPull(t *testing.T) {
	delivered(t, syscall.SIGHUP)
	b := newBed(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // a registry that never answers
	b.must(err)
	defer silent.Close()
	cmd := b.command("apply", b.specs(1, silent.Addr().String()+"/bot:v1", ""), "-o", "json")
	events, _ := outputs(t, cmd)
	b.must(cmd.Start())
	readUntil(t, events, `"step":"PullImage"`)
	b.must(cmd.Process.Signal(syscall.SIGHUP))
	readUntil(t, events, `"notBegun":1`)
	wantExit(t, cmd, exitError)
	if text := b.run("status"); !strings.Contains(text, "no workspaces") {
		t.Errorf("after the interrupt:\n%s", text)
	}
}

// closed is an output that nobody reads.
func closed(t *testing.T) *os.File {
	out, in, err := os.Pipe()
	if err = errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func TestReadingEndsQuietlyWhenNobodyReadsTheOutput(t *testing.T) {
	b := newBed(t)
	specs := b.specs(1, b.archive("v1"), "")
	for _, args := range [][]string{{"plan", specs}, {"status"}, {"history"}, {"validate", specs}, {"schema"}} {
		var errs strings.Builder
		cmd := b.command(args...)
		cmd.Stdout, cmd.Stderr = closed(t), &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE || errs.Len() > 0 {
			t.Errorf("carrel %v: %v, %s", args, err, errs.String())
		}
	}
}

func TestAPlanThatNobodySeesIsNotApplied(t *testing.T) {
	b := newBed(t)
	cmd := b.command("apply", b.specs(1, b.archive("v1"), ""))
	cmd.Stdout = closed(t)
	b.must(cmd.Start())
	wantExit(t, cmd, exitError)
	if text := b.run("status"); !strings.Contains(text, "no workspaces") {
		t.Errorf("after a plan that nobody saw:\n%s", text)
	}
}

// TestAnAgentOutlivesItsLog has the reader of its log end.
func TestAnAgentOutlivesItsLog(t *testing.T) {
	b := newBed(t)
	cmd := b.command("watch", b.specs(1, b.archive("v1"), ""), "--listen", "none", "--resync", "1s")
	log, err := cmd.StderrPipe()
	b.must(err)
	b.must(cmd.Start())
	readUntil(t, bufio.NewScanner(log), "watching")
	b.must(log.Close())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for _, version := range []string{"v1", "v2"} {
		b.specs(1, b.archive(version), "")
		for !strings.Contains(b.run("status"), version+".tar") {
			select {
			case err := <-ended:
				t.Fatalf("the agent ended: %v", err)
			default:
			}
		}
	}
	b.must(cmd.Process.Signal(syscall.SIGTERM))
	if err := <-ended; err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}
