package containerd

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"carrel/plan"
)

// extensionMade is the extension in which a container keeps the OCI spec that
// carrel made it with: the hash of its text, then the text, compressed. With the
// hash, an observation of many containers decodes none that nobody has changed.
// Containers of earlier versions of carrel do not have it.
const extensionMade = "carrel/made"

const hashSize = 8

// keepMade writes the OCI spec of a new container into its extension. It comes after
// all options that change the OCI spec.
func keepMade(_ context.Context, _ *client.Client, c *containers.Container) error {
	return setMade(c, valueOf(c.Spec))
}

// valueOf is the text of a part of a container; nil when it does not have it.
func valueOf(part typeurl.Any) []byte {
	if part == nil {
		return nil
	}
	return part.GetValue()
}

func setMade(c *containers.Container, text []byte) error {
	packed := bytes.NewBuffer(binary.BigEndian.AppendUint64(nil, xxhash.Sum64(text)))
	w := gzip.NewWriter(packed)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if c.Extensions == nil {
		c.Extensions = map[string]typeurl.Any{}
	}
	c.Extensions[extensionMade] = &anypb.Any{TypeUrl: extensionMade, Value: packed.Bytes()}
	return nil
}

// asMade reports whether a container has the OCI spec that carrel made it with, or
// whether that is not known.
func asMade(c containers.Container) bool {
	kept := valueOf(c.Extensions[extensionMade])
	return len(kept) < hashSize || binary.BigEndian.Uint64(kept) == xxhash.Sum64(valueOf(c.Spec))
}

// made is the OCI spec that carrel made a container with; nil when it does not keep
// that.
func made(c containers.Container) ([]byte, error) {
	kept := valueOf(c.Extensions[extensionMade])
	if len(kept) < hashSize {
		return nil, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(kept[hashSize:]))
	if err != nil {
		return nil, fmt.Errorf("the OCI spec that it was made with cannot be read: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("the OCI spec that it was made with cannot be read: %w", err)
	}
	return text, nil
}

// RestoreDescription gives a container the OCI spec again that carrel made it with.
func (d *Driver) RestoreDescription(ctx context.Context, s plan.RestoreDescription) error {
	container, err := d.client.LoadContainer(ctx, s.Container)
	if err != nil {
		return d.explain(err)
	}
	return d.explain(container.Update(ctx, func(_ context.Context, _ *client.Client, c *containers.Container) error {
		text, err := made(*c)
		if err != nil {
			return err
		}
		if text == nil || c.Spec == nil {
			return fmt.Errorf("container %s does not keep what it was made with (plan again)", c.ID)
		}
		c.Spec = &anypb.Any{TypeUrl: c.Spec.GetTypeUrl(), Value: text}
		return nil
	}))
}
