package containerd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/spec"
)

type object = map[string]any

// edges are values at the edges of what a spec can have, by field. Most of them are
// just inside or just outside of a limit.
func edges(source string) map[string][]any {
	repeated := func(n int) string { return strings.Repeat("x", n) }
	deep := func(n int) string { return strings.Repeat("/"+repeated(99), n/100) + "/" + repeated(n%100) }
	mounts := func(targets ...string) (all []object) {
		for _, target := range targets {
			all = append(all, object{"source": source, "target": target})
		}
		return all
	}
	variables := func(values ...string) (all []object) {
		for i, value := range values {
			all = append(all, object{"name": fmt.Sprintf("V%d", i), "value": value})
		}
		return all
	}
	grown := []string{repeated(1 << 10)}
	for i := range 8 {
		grown = append(grown, fmt.Sprintf("$(V%d)$(V%d)", i, i))
	}
	return map[string][]any{
		"metadata.name":   {"a", "0", "a-b", "a--b", "a---b", "xn--a", repeated(63), repeated(64), "localhost"},
		"metadata.labels": {object{repeated(63): repeated(63)}, object{strings.Repeat("a.", 126) + "a/" + repeated(63): repeated(63)}, object{"a": ""}},
		"user": {0, -1, 1, 65534, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1, 1 << 32, "18446744073709551616", "007", "+5", "0:0",
			"1:2147483647", "1:2147483648", "2147483648:1", "1:-1", "root:root", "1:+5"},
		"workingDir": {"/", "/proc", "/proc/x", "/proc/self", "/sys", "/sys/x", "/dev", "/dev/x", "/dev/shm/x", "/dev/null", "/dev/pts/x", "/dev/mqueue/x", "/data/x", "/run/x",
			"/a\nb", "/ü", "/" + repeated(255), "/" + repeated(256), deep(3 << 10), deep(3<<10 + 1), deep(4000), "/a\x00b"},
		"dataPath": {"/", "/proc/x", "/sys", "/dev/shm", "/etc", "/etc/hosts", "/etc/hosts/x", "/etc/resolv.conf", "/run", "/run/x", "/tmp",
			"/a\nb", "/a b", "/a,b:c", `/a\b"c`, "/ü", "/" + repeated(255), "/" + repeated(256), deep(3 << 10), deep(3<<10 + 1), deep(4090)},
		"mounts": {mounts("/a", "/a/b", "/a/b/c"), mounts("/a/b/c", "/a/b", "/a"), mounts("/data/a"), mounts("/data"), mounts("/x", "/x"), mounts("/a", "/ab"),
			mounts("/dev/shm"), mounts("/dev/x"), mounts("/proc/x"), mounts("/"), mounts("/etc"), mounts("/etc/hosts/x"), mounts("/run"), mounts("/" + repeated(256)),
			[]object{{"source": "/", "target": "/host", "readOnly": true}}, []object{{"source": "/proc", "target": "/host"}}},
		"command": {[]string{""}, []string{"/guest", ""}, []string{"/guest", "a\x00b"}, []string{"/guest", "$(A) $$ $("}},
		"args": {[]string{}, []string{""}, []string{repeated(128<<10 - 1)}, []string{repeated(128 << 10)}, []string{"serve", "a\nb\x01\x7f"},
			slices.Repeat([]string{repeated(100<<10 - 9)}, 19), slices.Repeat([]string{repeated(100 << 10)}, 20), slices.Repeat([]string{repeated(91)}, 19600), slices.Repeat([]string{repeated(91)}, 19700)},
		"env": {variables(""), variables(repeated(128<<10 - 4)), variables(repeated(128<<10 - 3)), variables("a\nb"), variables("a\x00b"),
			variables(grown[:8]...), variables(grown...), []object{{"name": "a.b-c"}}, []object{{"name": "PATH", "value": ""}}, []object{{"name": "A=B"}}, []object{{"name": ""}}},
		"resources.limits.cpu":    {"1n", "1m", "9m", "10m", "1e-3", 64, 1_000_000, 1_000_001, "1E"},
		"resources.limits.memory": {1, "1Mi", "4Mi", "6Mi", "8Mi", "4194303", "4194305", "6291457", "6291455", "1P", "4E", "7E", "8E", "9223372036854775807", "9223372036854775808"},
		"resources.limits.pids":   {0, 1, 2, 8, 15, 16, 4194304, 4194305, -1},
		"stop.signal":             {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGRTMIN", "SIGRTMAX", "SIGRTMIN+1", "0", "1", "64", "65", "-1", ""},
		"stop.gracePeriod":        {"0s", "1ns", "1h", "60m0.1s", "-1s"},
	}
}

// document is a spec with these fields.
func document(fields object) []byte {
	whole := object{
		"apiVersion": "carrel/v1", "kind": "Workspace", "metadata": object{"name": "edge"},
		"spec": object{"image": "x", "network": object{"mode": "none"}},
	}
	for path, value := range fields {
		at, keys := whole["spec"].(object), strings.Split(path, ".")
		if keys[0] == "metadata" {
			at, keys = whole["metadata"].(object), keys[1:]
		}
		for _, key := range keys[:len(keys)-1] {
			if at[key] == nil {
				at[key] = object{}
			}
			at = at[key].(object)
		}
		at[keys[len(keys)-1]] = value
	}
	text, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	return text
}

// What the loader accepts can be created and started. Each value at an edge that it
// accepts is in one container, together with values of the other fields.
func TestWhatIsAcceptedCanBeCreated(t *testing.T) {
	b := shared(t)
	image := b.load(image(t, v1.Config{}, drivertest.Folder("etc", 0o755, 0),
		drivertest.File("etc/passwd", 0o644, 0, "root:x:0:0::/:/\n"), drivertest.File("etc/group", 0o644, 0, "root:x:0:\n")))
	accepted := edges(b.dir)
	for field, values := range accepted {
		total := len(values)
		accepted[field] = slices.DeleteFunc(values, func(value any) bool { return b.loaded(object{field: value}) == nil })
		if n := len(accepted[field]); n == 0 || n == total && field != "metadata.labels" {
			t.Errorf("of %s, %d of %d values are accepted", field, n, total)
		}
	}
	// Limits in containers of their own: with large arguments, little memory is too little.
	limits := map[string][]any{}
	for _, field := range slices.Collect(maps.Keys(accepted)) {
		if strings.HasPrefix(field, "resources.") {
			limits[field] = accepted[field]
			delete(accepted, field)
		}
	}
	for _, some := range []map[string][]any{accepted, limits} {
		for len(some) > 0 {
			b.makes(image, b.takes(some))
		}
	}
}

// takes takes one value of as many fields as the loader accepts together.
func (b *bench) takes(pending map[string][]any) object {
	b.t.Helper()
	chosen := object{}
	for _, field := range slices.Sorted(maps.Keys(pending)) {
		chosen[field] = pending[field][0]
		if b.loaded(chosen) == nil {
			delete(chosen, field)
			continue
		}
		if pending[field] = pending[field][1:]; len(pending[field]) == 0 {
			delete(pending, field)
		}
	}
	return chosen
}

// loaded is what the loader makes of a spec with these fields; nil when it refuses it.
func (b *bench) loaded(fields object) *spec.Workspace {
	b.t.Helper()
	path := filepath.Join(b.dir, "edge.yaml")
	b.must(os.WriteFile(path, document(fields), 0o600))
	set, err := spec.Load(path)
	if err != nil {
		return nil
	}
	return &set.Workspaces[0]
}

// makes creates and starts a workspace with these fields.
func (b *bench) makes(image string, fields object) {
	b.t.Helper()
	w, ctx := b.loaded(fields), b.t.Context()
	w.Image = image
	b.must(os.MkdirAll(filepath.Join(b.dir, "volumes", w.Name), 0o777))
	err := b.CreateContainer(ctx, plan.CreateContainer{Container: w.Name, Set: "s", Host: "h", Image: image, Spec: *w})
	if err == nil {
		err = b.StartTask(ctx, plan.StartTask{Workspace: w.Name, Container: w.Name})
	}
	if err != nil {
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			b.t.Logf("%s: %.100q", field, fmt.Sprint(fields[field]))
		}
		b.t.Errorf("the loader accepts this, and the host does not: %.500s", err)
	}
	b.must(b.StopTask(ctx, plan.StopTask{Container: w.Name}))
	b.must(b.DeleteContainer(ctx, plan.DeleteContainer{Container: w.Name}))
}
