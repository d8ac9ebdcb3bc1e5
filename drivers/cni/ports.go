package cni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"carrel/plan"
	"carrel/spec"
)

// free refuses a port on which something on the host listens. Plugins do not check
// that: their rules would take the connections of that listener, without an error.
func free(ctx context.Context, ports []spec.Port) error {
	for _, p := range ports {
		address := net.JoinHostPort(p.HostIP, strconv.Itoa(p.Host))
		listener, err := listen(ctx, p.Protocol, address)
		switch {
		case err == nil:
			err = listener.Close()
		case errors.Is(err, unix.EADDRNOTAVAIL):
			err = nil // the host may get this address later
		case errors.Is(err, unix.EADDRINUSE):
			err = &busyError{p}
		}
		var busy *busyError
		if err != nil && !errors.As(err, &busy) {
			err = fmt.Errorf("port %s/%s: %w", address, p.Protocol, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// busyError is a port on which something listens.
type busyError struct{ port spec.Port }

func (e *busyError) Error() string {
	return fmt.Sprintf("port %s is taken on this host (choose another, or stop what listens there)", e.port.OnHost())
}

// portsLock is a file that all carrels of a host lock while they look for a port and
// take it: they may have several state dirs, which share the ports.
const portsLock = "/run/carrel-ports.lock"

// withPorts runs fn while no other carrel of this host takes ports, if there are any.
func withPorts(ports []spec.Port, fn func() error) error {
	if len(ports) == 0 {
		return fn()
	}
	lock := flock.New(portsLock, flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return errors.Join(fn(), lock.Unlock())
}

// published refuses a port that another container of the host publishes. A second
// rule for the same port would have no effect, without an error.
func (d *Driver) published(ctx context.Context, s plan.AttachNetwork) error {
	taken, err := d.TakenPorts(ctx, map[string][]spec.Port{s.Workspace: s.Ports})
	if err != nil || len(taken) == 0 {
		return err
	}
	return fmt.Errorf("port %s is taken on this host: %s (choose another, or stop that)", taken[0].OnHost(), taken[0].By)
}

func listen(ctx context.Context, protocol, address string) (io.Closer, error) {
	var config net.ListenConfig
	if protocol == "udp" {
		return config.ListenPacket(ctx, protocol, address)
	}
	return config.Listen(ctx, protocol, address)
}
