package cni

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// lateError is a plugin that did not answer in time.
type lateError struct{ after time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }

// killAgain is how often processes are killed that hold the output of a plugin open.
const killAgain = 100 * time.Millisecond

// limited runs plugins for an id with a limit of time: they may wait for a server.
// When the context ends, the library kills the plugin, and waits for all who hold its
// output open: processes that the plugin started, which are killed too.
func (d *Driver) limited(ctx context.Context, id string, fn func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, d.PluginTimeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- fn(within) }()
	select {
	case err := <-ended:
		return late(ctx, within, d.PluginTimeout, err)
	case <-within.Done():
	}
	for {
		select {
		case err := <-ended:
			return late(ctx, within, d.PluginTimeout, err)
		case <-time.After(killAgain):
			killPlugins(id)
		}
	}
}

// late is the error of plugins that may have been stopped.
func late(ctx, within context.Context, limit time.Duration, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case within.Err() != nil:
		return &lateError{limit}
	}
	return err
}

// killPlugins kills the processes that plugins for an id started: they have its
// environment. What cannot be read is of another user, or has ended.
func killPlugins(id string) {
	all, err := procfs.AllProcs()
	if err != nil {
		return
	}
	for _, p := range all {
		if variables, err := p.Environ(); err == nil && slices.Contains(variables, "CNI_CONTAINERID="+id) {
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
	}
}
