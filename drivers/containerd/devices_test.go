package containerd_test

import (
	"errors"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"carrel/plan"
	"carrel/spec"
)

func TestDeviceThatVanishedLeavesNothing(t *testing.T) {
	b := shared(t)
	image := b.load(image(t, v1.Config{}))
	gone := errors.New("this host has no device")
	b.Inject = func(*specs.Spec, []string) (map[string]string, error) { return nil, gone }
	w := spec.Default()
	w.Name, w.Image, w.Network.Mode, w.Devices = "bot", image, spec.NetworkNone, []string{"vendor.example/gpu=0"}
	step := plan.CreateContainer{Container: "bot", Set: "s", Host: "h", Image: image, Spec: w}
	if err := b.CreateContainer(t.Context(), step); !errors.Is(err, gone) {
		t.Errorf("error: %v", err)
	}
	if b.see("bot").ID != "" {
		t.Error("a container is left")
	}
	left, _, err := b.Snapshots(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("root filesystems are left: %v %v", left, err)
	}
	b.Inject = func(*specs.Spec, []string) (map[string]string, error) {
		return map[string]string{"vendor.example/gpu=0": "1"}, nil
	}
	b.must(b.CreateContainer(t.Context(), step))
	if got := b.see("bot").Devices["vendor.example/gpu=0"]; got != "1" {
		t.Errorf("what the device resolved to is kept as %q", got)
	}
}
