// Package drivertest has what tests of drivers need: private servers (containerd,
// Postgres, a registry on loopback), images that are made in the process, and the
// suites that all drivers of a kind must pass.
//
// Only tests and the demo import it, the program does not. Everything in this folder
// is for tests.
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

// How long a server may take to answer or to end, and how often it is asked whether
// it answers.
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
			_ = cmd.Wait() // its exit code says nothing: tests kill it
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

// until calls a function until it succeeds, or the server has ended, or the time is
// over.
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
