package volumes_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"carrel/drivers/volumes"
	"carrel/plan"
)

// child tells the test binary that it is to copy a volume and be killed.
const child = "CARREL_TEST_COPY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		err := volumes.New(filepath.Join(dir, "state")).CreateVolume(context.Background(), step, filepath.Join(dir, "image"), plan.Owner{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var step = plan.CreateVolume{Workspace: "bot", DataPath: "/data"}

// tree makes data with everything that a file system can hold.
func tree(t testing.TB, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "deep/er"), 0o755))
	must(os.WriteFile(filepath.Join(root, "plain"), []byte("text"), 0o640))
	must(os.Link(filepath.Join(root, "plain"), filepath.Join(root, "deep/hard")))
	must(os.Symlink("../plain", filepath.Join(root, "deep/soft")))
	must(os.Symlink("/etc/passwd", filepath.Join(root, "outside")))
	must(os.WriteFile(filepath.Join(root, "-odd \n näme"), nil, 0o000))
	must(os.WriteFile(filepath.Join(root, "setuid"), []byte("x"), 0o755))
	must(os.Chmod(filepath.Join(root, "setuid"), 0o755|fs.ModeSetuid))
	must(syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	must(syscall.Mknod(filepath.Join(root, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
	must(unix.Setxattr(filepath.Join(root, "plain"), "user.note", []byte("kept"), 0))
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	must(err)
	must(errors.Join(sparse.Truncate(8<<20), sparse.Close()))
	must(os.Lchown(filepath.Join(root, "plain"), 1000, 1001))
	must(os.Chown(root, 1000, 1000))
	must(os.Chmod(root, 0o750))
}

// describe is everything that is to be kept of a tree.
func describe(t testing.TB, root string) string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		stat := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%q %v %d:%d %d rdev %d", name, info.Mode(), stat.Uid, stat.Gid, info.Size(), stat.Rdev)
		if entry.IsDir() {
			line = fmt.Sprintf("%q %v %d:%d", name, info.Mode(), stat.Uid, stat.Gid)
		}
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", strings.Trim(string(text), "\x00"))
			if first, linked := inodes[stat.Ino]; linked {
				line += " is " + first
			}
			inodes[stat.Ino] = name
			note := make([]byte, 16)
			if n, err := unix.Lgetxattr(path, "user.note", note); err == nil {
				line += " note " + string(note[:n])
			}
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestDataThroughItsLife(t *testing.T) {
	dir := t.TempDir()
	image, state := filepath.Join(dir, "image"), filepath.Join(dir, "state")
	tree(t, filepath.Join(image, "data"))
	want := describe(t, filepath.Join(image, "data"))
	d := volumes.New(state)
	live := filepath.Join(d.Dir(), "bot")
	for range 2 {
		if err := d.CreateVolume(t.Context(), step, image, plan.Owner{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, describe(t, live)); diff != "" {
		t.Errorf("the volume (-image +volume):\n%s", diff)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state dir: %v, %v", info.Mode(), err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	for range 2 {
		if err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: at}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := d.Volumes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("volumes after the preserving: %v, %v", all, err)
	}
	kept, err := d.Preserved(t.Context())
	if err != nil || len(kept) != 1 || !kept[0].At.Equal(at) || kept[0].Workspace != "bot" {
		t.Fatalf("preserved: %v, %v", kept, err)
	}
	for range 2 {
		if err := d.RestoreData(t.Context(), plan.RestoreData{Workspace: "bot", At: kept[0].At}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, describe(t, live)); diff != "" {
		t.Errorf("the restored volume (-image +volume):\n%s", diff)
	}
	if kept, err := d.Preserved(t.Context()); err != nil || len(kept) != 0 {
		t.Errorf("preserved after the return: %v, %v", kept, err)
	}
}

func TestTwoOfOneNameAreNotMixed(t *testing.T) {
	dir := t.TempDir()
	d := volumes.New(dir)
	at := time.Now()
	for i := range 2 {
		if err := d.CreateVolume(t.Context(), step, t.TempDir(), plan.Owner{}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: at}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: at}); err == nil {
		t.Error("preserved data was written over")
	}
	if err := d.RestoreData(t.Context(), plan.RestoreData{Workspace: "bot", At: at}); err == nil {
		t.Error("a live volume was written over")
	}
}

func TestDataPathsOfImages(t *testing.T) {
	for _, test := range []struct {
		name  string
		image func(root string) error
		want  string // what the volume has, or the beginning of the error
	}{
		{"none", func(string) error { return nil }, `"." drwxr-xr-x 7:8`},
		{"a link inside", func(root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "real"), 0o700), os.Symlink("/real", filepath.Join(root, "data")))
		}, `"." drwx------ 0:0`},
		{"a link out of the image", func(root string) error {
			return os.Symlink("../../../../../../../etc", filepath.Join(root, "data"))
		}, `"." drwxr-xr-x 7:8`},
		{"a file", func(root string) error { return os.WriteFile(filepath.Join(root, "data"), nil, 0o600) },
			"/data in the image is not a folder (choose another dataPath)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, root := t.TempDir(), t.TempDir()
			if err := test.image(root); err != nil {
				t.Fatal(err)
			}
			d := volumes.New(dir)
			got := ""
			if err := d.CreateVolume(t.Context(), step, root, plan.Owner{UID: 7, GID: 8}); err != nil {
				got = err.Error()
			} else {
				got = describe(t, filepath.Join(d.Dir(), "bot"))
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestNamesAreNotPaths(t *testing.T) {
	d := volumes.New(t.TempDir())
	for _, name := range []string{"", "..", "a/b", "../a", ".", "A", "a\x00"} {
		err := errors.Join(
			d.CreateVolume(t.Context(), plan.CreateVolume{Workspace: name, DataPath: "/data"}, t.TempDir(), plan.Owner{}),
			d.PreserveData(t.Context(), plan.PreserveData{Workspace: name}),
			d.RestoreData(t.Context(), plan.RestoreData{Workspace: name}))
		if n := len(strings.Split(fmt.Sprint(err), "\n")); n != 3 {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir, image := t.TempDir(), t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=100k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	if err := errors.Join(os.Mkdir(filepath.Join(image, "data"), 0o755),
		os.WriteFile(filepath.Join(image, "data/large"), make([]byte, 1<<20), 0o644)); err != nil {
		t.Fatal(err)
	}
	d := volumes.New(dir)
	if err := d.CreateVolume(t.Context(), step, image, plan.Owner{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk is told as: %v", err)
	}
	if all, err := d.Volumes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("volumes: %v, %v", all, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "partial")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStateDirOnTwoFilesystems(t *testing.T) {
	dir := t.TempDir()
	d := volumes.New(dir)
	if err := d.CreateVolume(t.Context(), step, t.TempDir(), plan.Owner{}); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "preserved")
	if err := errors.Join(os.Mkdir(other, 0o700), syscall.Mount("tmpfs", other, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(other, syscall.MNT_DETACH)
	err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "keep the whole state dir on one") {
		t.Errorf("two filesystems are told as: %v", err)
	}
	if all, err := d.Volumes(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("volumes: %v, %v", all, err)
	}
}

func TestKilledWhileCopying(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "image/data")
	tree(t, data)
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprint(i)), []byte("small"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := describe(t, data)
	d := volumes.New(filepath.Join(dir, "state"))
	copying := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	began := time.Now()
	if err := copying().Wait(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	for round := range 20 {
		if err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		cmd := copying()
		timer := time.AfterFunc(whole*time.Duration(round)/20, func() { cmd.Process.Kill() })
		_ = cmd.Wait() // killed or done: what it left is looked at
		timer.Stop()
		all, err := d.Volumes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			if diff := cmp.Diff(want, describe(t, v.Path)); diff != "" {
				t.Fatalf("round %d: the volume is not whole:\n%s", round, diff)
			}
		}
		if err := d.CreateVolume(t.Context(), step, filepath.Join(dir, "image"), plan.Owner{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, describe(t, filepath.Join(d.Dir(), "bot"))); diff != "" {
			t.Fatalf("round %d: after the repair:\n%s", round, diff)
		}
	}
}
