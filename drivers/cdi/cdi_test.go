package cdi_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"carrel/drivers/cdi"
)

const vendor = `{"cdiVersion": "0.6.0", "kind": "vendor.example/gpu", "devices": [
	{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}], "env": ["GPU=0"]}},
	{"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}]}}],
	"containerEdits": {"env": ["DRIVER=1"]}}`

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	d := cdi.New(dir, filepath.Join(dir, "none"))
	put(t, dir, "vendor.json", vendor)
	put(t, dir, "broken.json", "{")
	put(t, dir, "old.json", strings.ReplaceAll(strings.ReplaceAll(vendor, "0.6.0", "9.9.9"), "vendor.example", "old.example"))
	found, err := d.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Found) != 2 || found.Found["vendor.example/gpu=0"] == "" || found.Found["vendor.example/gpu=all"] == "" {
		t.Errorf("found %v", found.Found)
	}
	if len(found.Warnings) != 2 || !strings.Contains(found.Warnings[0], "broken.json") || !strings.Contains(found.Warnings[1], "old.json") {
		t.Errorf("warnings: %q", found.Warnings)
	}
}

func TestDigestSaysWhatADeviceResolvesTo(t *testing.T) {
	dir := t.TempDir()
	d := cdi.New(dir)
	digest := func(text string) string {
		t.Helper()
		put(t, dir, "vendor.json", text)
		found, err := d.Devices(t.Context())
		if err != nil || len(found.Warnings) > 0 || found.Found["vendor.example/gpu=0"] == "" {
			t.Fatalf("%+v %v", found, err)
		}
		return found.Found["vendor.example/gpu=0"]
	}
	seen := []string{digest(vendor)}
	if again := digest(strings.ReplaceAll(vendor, `"path": "/dev/gpu0", "hostPath": "/dev/null"`, `"hostPath": "/dev/null", "path": "/dev/gpu0"`)); again != seen[0] {
		t.Error("the order of keys changes the digest")
	}
	for old, other := range map[string]string{
		"DRIVER=1": "DRIVER=2", "GPU=0": "GPU=1", "/dev/null": "/dev/zero", `"path": "/dev/gpu0"`: `"path": "/dev/gpu1"`,
		`"env": ["GPU=0"]`: `"env": ["GPU=0"], "mounts": [{"hostPath": "/lib", "containerPath": "/lib2"}]`,
		`"env": ["DRIVER`:  `"hooks": [{"hookName": "createContainer", "path": "/bin/true"}], "env": ["DRIVER`,
	} {
		now := digest(strings.ReplaceAll(vendor, old, other))
		if slices.Contains(seen, now) {
			t.Errorf("%s for %s does not change the digest", other, old)
		}
		seen = append(seen, now)
	}
}

func TestLaterFoldersWin(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	d := cdi.New(first, second)
	put(t, first, "vendor.json", vendor)
	put(t, second, "vendor.json", strings.ReplaceAll(vendor, "GPU=0", "GPU=second"))
	var spec specs.Spec
	if _, err := d.Inject(&spec, []string{"vendor.example/gpu=0"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DRIVER=1", "GPU=second"}, slices.Sorted(slices.Values(spec.Process.Env))); diff != "" {
		t.Error(diff)
	}
	put(t, second, "again.json", vendor)
	found, err := d.Devices(t.Context())
	if err != nil || len(found.Found) != 0 || len(found.Warnings) == 0 {
		t.Errorf("two files of one folder with one device: %+v %v", found, err)
	}
}

func TestUnknownDevice(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "vendor.json", vendor)
	_, err := cdi.New(dir).Inject(&specs.Spec{}, []string{"vendor.example/gpu=1"})
	want := `this host has no device "vendor.example/gpu=1" (the nearest is vendor.example/gpu=0; searched ` + dir + ")"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestNodeThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "vendor.json", strings.ReplaceAll(vendor, "/dev/null", "/dev/none"))
	d := cdi.New(dir)
	if _, err := d.Inject(&specs.Spec{}, []string{"vendor.example/gpu=0"}); err == nil || !strings.Contains(err.Error(), "/dev/none") {
		t.Errorf("error: %v", err)
	}
	before, err := d.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "vendor.json", vendor)
	after, err := d.Devices(t.Context())
	if err != nil || before.Found["vendor.example/gpu=0"] == after.Found["vendor.example/gpu=0"] {
		t.Errorf("a node that came does not change the digest: %v %v %v", before, after, err)
	}
}

func TestWait(t *testing.T) {
	dir := t.TempDir()
	d := cdi.New(dir)
	name := []string{"vendor.example/gpu=0"}
	// The file appears when it is waited for.
	reported := ""
	err := d.Wait(t.Context(), name, time.Hour, func(missing string) {
		reported = missing
		put(t, dir, "vendor.json", vendor)
	})
	if err != nil || reported != "vendor.example/gpu" {
		t.Errorf("reported %q, %v", reported, err)
	}
	never := func(missing string) { t.Errorf("it waits for %s", missing) }
	if err := d.Wait(t.Context(), []string{"vendor.example/gpu=7"}, time.Hour, never); err != nil {
		t.Error(err)
	}
	if err := d.Wait(t.Context(), []string{"other.example/gpu=0"}, time.Nanosecond, nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Wait(ctx, []string{"other.example/gpu=0"}, time.Hour, func(string) { cancel() }); err == nil {
		t.Error("a wait that was interrupted went well")
	}
}
