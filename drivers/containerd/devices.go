package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// extensionDevices is the extension in which a container keeps what each of its
// devices resolved to when the container was made.
const extensionDevices = "carrel/devices"

// devices are the two options that give a container its devices. Inject adds them to
// the OCI spec; keep, which comes after it, writes what they resolved to into the
// container.
func (d *Driver) devices(names []string) (inject oci.SpecOpts, keep client.NewContainerOpts) {
	var resolved map[string]string
	inject = func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) (err error) {
		if len(names) == 0 {
			return nil
		}
		if d.Inject == nil {
			return errors.New("devices are not supported here")
		}
		resolved, err = d.Inject(s, names)
		return err
	}
	keep = func(_ context.Context, _ *client.Client, c *containers.Container) error {
		if len(resolved) == 0 {
			return nil
		}
		text, err := json.Marshal(resolved)
		if err != nil {
			return err
		}
		if c.Extensions == nil {
			c.Extensions = map[string]typeurl.Any{}
		}
		c.Extensions[extensionDevices] = &anypb.Any{TypeUrl: extensionDevices, Value: text}
		return nil
	}
	return inject, keep
}

// resolvedDevices is what the devices of a container resolved to when it was made.
func resolvedDevices(c containers.Container) (map[string]string, error) {
	kept, ok := c.Extensions[extensionDevices]
	if !ok {
		return nil, nil
	}
	var resolved map[string]string
	if err := json.Unmarshal(kept.GetValue(), &resolved); err != nil {
		return nil, fmt.Errorf("its devices cannot be read: %w", err)
	}
	return resolved, nil
}
