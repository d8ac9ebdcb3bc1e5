package cni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

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
			if p.HostIP == "" {
				address = strconv.Itoa(p.Host)
			}
			return fmt.Errorf("port %s/%s is taken on this host (choose another, or stop what listens there)", address, p.Protocol)
		}
		if err != nil {
			return fmt.Errorf("port %s/%s: %w", address, p.Protocol, err)
		}
	}
	return nil
}

func listen(ctx context.Context, protocol, address string) (io.Closer, error) {
	var config net.ListenConfig
	if protocol == "udp" {
		return config.ListenPacket(ctx, protocol, address)
	}
	return config.Listen(ctx, protocol, address)
}
