package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// signals are those that end the program early, as they are received. A command
// adds to them which ones: see interruptible and finishFirst.
var signals = make(chan os.Signal, 8)

// interruption is why a program ends early.
type interruption string

const (
	interrupted    interruption = "interrupted"
	terminalIsGone interruption = "interrupted: the terminal is gone"
	outputIsClosed interruption = "interrupted: its output was closed"
)

func (i interruption) Error() string { return string(i) }

// sameInterrupt is how long after the first interrupt another one counts as the
// same: both the terminal and the parent process may send it.
const sameInterrupt = 500 * time.Millisecond

// interruptible is a context that the first signal cancels; its cause is an
// interruption. A second interrupt by a person ends the program at once; the next
// run completes the work.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		var first time.Time // of a person, or of what a person uses
		for {
			var received os.Signal
			select {
			case received = <-signals:
			case <-done:
				return
			}
			if received == syscall.SIGPIPE && !outputClosed() {
				continue // a connection was closed: whoever writes to it has the error
			}
			cancel(reasonOf(received))
			switch {
			case received == syscall.SIGHUP, received == syscall.SIGPIPE: // nobody asks for anything
			case first.IsZero():
				first = time.Now()
				signal.Reset(syscall.SIGQUIT) // a second one prints what the program is doing, and ends it
			case time.Since(first) > sameInterrupt:
				os.Exit(exitKilled)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

func reasonOf(s os.Signal) interruption {
	switch s {
	case syscall.SIGHUP:
		return terminalIsGone
	case syscall.SIGPIPE:
		return outputIsClosed
	}
	return interrupted
}

// outputClosed reports whether nobody can read standard output or standard error.
func outputClosed() bool {
	outputs := []unix.PollFd{{Fd: int32(syscall.Stdout)}, {Fd: int32(syscall.Stderr)}}
	if _, err := unix.Poll(outputs, 0); err != nil {
		return true // unknown: the signal says so
	}
	return (outputs[0].Revents|outputs[1].Revents)&(unix.POLLERR|unix.POLLHUP) != 0
}

// finishFirst makes a lost terminal and a closed output interrupt the program, and
// not end it: what it has begun to change is finished. A command that only reads
// ends, as other programs do. With nohup, a lost terminal changes nothing.
func finishFirst() {
	signal.Notify(signals, syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
}

// surviveClosedOutput makes the program go on when nobody reads its output, as an
// agent has to whose log ends. The signal is not ignored: programs that it starts
// would ignore it, too.
func surviveClosedOutput() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// unheard is the error of a run that nobody may have seen the end of: its terminal
// or its output was lost.
func unheard(ctx context.Context) error {
	if why := context.Cause(ctx); why == terminalIsGone || why == outputIsClosed {
		return why
	}
	return nil
}
