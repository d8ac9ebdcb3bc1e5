// Package drivertest gives tests real servers of their own: a private
// containerd, a private Postgres, a registry on loopback, and images made in
// the process. It also has the suites that every driver of a kind passes.
//
// It is for tests and for the demo; the program does not import it.
package drivertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// How long a server may take to answer or to end, and how often it is asked.
const (
	serverTimeout = 30 * time.Second
	serverPoll    = 10 * time.Millisecond
)

// process is a server that ends with the program that started it.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts a server. The kernel ends it when the thread that started it
// ends, so that thread waits for it.
func start(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is asked of nobody: tests kill it
			close(p.ended)
		}
	}()
	return p, <-started
}

// gone reports whether the server has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end sends a signal and waits until the server is gone.
func (p *process) end(sig syscall.Signal) error {
	if p.gone() {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(serverTimeout):
		return fmt.Errorf("%s has not ended %s after %s", p.cmd.Path, serverTimeout, sig)
	}
}

// until asks again and again until the answer is good or the server has ended.
func (p *process) until(ready func() error) error {
	limit := time.After(serverTimeout)
	tick := time.NewTicker(serverPoll)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w", p.cmd.Path, err)
		case <-limit:
			return fmt.Errorf("%s does not answer after %s: %w", p.cmd.Path, serverTimeout, err)
		case <-tick.C:
		}
	}
}
