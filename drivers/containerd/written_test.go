package containerd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/containerd"
	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
)

func TestWhatWasWrittenIsTold(t *testing.T) {
	b := shared(t)
	config := v1.Config{Volumes: map[string]struct{}{"/var/lib/db": {}, "/data": {}}}
	b.create("bot", b.load(drivertest.Image(t, config, drivertest.Folder("var/lib/db", 0o755, 0), drivertest.File("etc/motd", 0o644, 0, "hello"))), nil)
	b.start("bot")
	b.output("bot", "serving")
	told := func() state.Written {
		return b.Written(t.Context(), []plan.Root{{Key: "bot", Container: "bot"}})["bot"]
	}
	if w := told(); !w.Nothing() {
		t.Errorf("before anything was written, it is %+v", w)
	}
	root := fmt.Sprintf("/proc/%d/root", b.see("bot").Task.PID)
	for file, size := range map[string]int{"var/lib/db/a/1": 10, "var/lib/db/b/2": 20, "etc/one": 1, "etc/two": 2, "data/kept": 100, "opt/x/y/1": 5, "opt/x/y/z/2": 5} {
		b.must(os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
		b.must(os.WriteFile(filepath.Join(root, file), make([]byte, size), 0o600))
	}
	b.must(os.Remove(filepath.Join(root, "etc/motd")))
	b.must(os.Symlink("/etc", filepath.Join(root, "opt/x/y/link")))
	want := state.Written{Paths: []state.WrittenPath{
		{Path: "/var/lib/db", Files: 2, Bytes: 30, Volume: true},
		{Path: "/opt/x/y", Files: 3, Bytes: 10},
		{Path: "/etc", Files: 2, Bytes: 3, Deleted: 1},
	}}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	missing := b.Written(t.Context(), []plan.Root{{Key: "other"}})["other"]
	if missing.Err == "" {
		t.Errorf("of a root filesystem that is not there, it is %+v", missing)
	}
}

func TestLookingAtWhatWasWrittenIsLimited(t *testing.T) {
	upper := t.TempDir()
	for i := range 50 {
		folder := filepath.Join(upper, "srv", fmt.Sprint(i))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "f"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(upper, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := containerd.WrittenBelow(upper, nil, nil, 1000)
	if err != nil || all.More || all.Paths[len(all.Paths)-1].Path != "/fifo" || len(all.Paths) != 51 {
		t.Errorf("all of it is %+v, %v", all, err)
	}
	some, err := containerd.WrittenBelow(upper, nil, nil, 60)
	if err != nil || !some.More || len(some.Paths) == 0 {
		t.Errorf("a part of it is %+v, %v", some, err)
	}
}
