package containerd_test

import (
	"context"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/anypb"

	"carrel/spec"
)

// foreign makes a container like another, as someone else would.
func (b *bench) foreign(id, like string) {
	b.t.Helper()
	container, err := b.raw.ContainerService().Get(b.t.Context(), like)
	b.must(err)
	container.ID, container.SnapshotKey = id, ""
	container.Labels, container.Extensions = map[string]string{"owner": "someone"}, nil
	_, err = b.raw.ContainerService().Create(b.t.Context(), container)
	b.must(err)
}

// fromTheFuture gives a container a kept spec that a later carrel wrote.
func fromTheFuture(_ context.Context, _ *client.Client, c *containers.Container) error {
	c.Extensions["carrel/applied"] = &anypb.Any{TypeUrl: "carrel/applied", Value: []byte(`{"version":99}`)}
	return nil
}

func diffSpecs(want, got spec.Workspace) string {
	got.Resources, want.Resources = spec.Resources{}, spec.Resources{}
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.EquateEmpty())
}
