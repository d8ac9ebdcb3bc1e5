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
	"carrel/plan/state"
)

// child tells the test binary that it is to copy a volume and be killed: how,
// and in which folder.
const child = "CARREL_TEST_COPY"

// copies are the ways in which a volume of bot comes from the folder image, or
// from the archive of it.
var copies = map[string]func(ctx context.Context, d *volumes.Driver, dir string) error{
	"create": func(ctx context.Context, d *volumes.Driver, dir string) error {
		return d.CreateVolume(ctx, step, filepath.Join(dir, "image"), state.Owner{})
	},
	"migrate": func(ctx context.Context, d *volumes.Driver, dir string) error {
		return d.MigrateData(ctx, plan.MigrateData{Workspace: "bot", DataPath: "/data"}, filepath.Join(dir, "image"))
	},
	"import": func(ctx context.Context, d *volumes.Driver, dir string) error {
		err := d.ExtractData(ctx, plan.ExtractData{Workspace: "bot", File: filepath.Join(dir, "archive")})
		return errors.Join(err, d.PlaceData(ctx, plan.PlaceData{Workspace: "bot"}))
	},
}

func TestMain(m *testing.M) {
	if kind, dir, is := strings.Cut(os.Getenv(child), ":"); is {
		if err := copies[kind](context.Background(), volumes.New(filepath.Join(dir, "state")), dir); err != nil {
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
	_, err = sparse.WriteAt([]byte("island"), 5<<20)
	must(errors.Join(err, sparse.Truncate(8<<20), sparse.Close()))
	must(os.WriteFile(filepath.Join(root, "\xff\xfe"), []byte("no UTF-8"), 0o600))
	must(os.WriteFile(filepath.Join(root, ".wh.plain"), []byte("no whiteout"), 0o600))
	must(unix.Setxattr(filepath.Join(root, "setuid"), "security.capability", capability, 0))
	must(unix.Setxattr(filepath.Join(root, "deep"), "user.note", []byte("folder"), 0))
	must(os.MkdirAll(filepath.Join(root, "closed/inner"), 0o500))
	must(os.Lchown(filepath.Join(root, "plain"), 1000, 1001))
	must(os.Chown(root, 1000, 1000))
	must(os.Chmod(root, 0o750))
	old := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	for _, name := range []string{"deep/er", "deep", "plain", "null", "."} {
		must(os.Chtimes(filepath.Join(root, name), old, old))
	}
}

// capability is cap_net_raw+ep as the kernel keeps it.
var capability = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

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
		line += " of " + info.ModTime().UTC().Format(time.RFC3339Nano)
		if 2*512*stat.Blocks < info.Size() {
			line += " with holes"
		}
		for _, attribute := range []string{"user.note", "security.capability"} {
			value := make([]byte, 32)
			if n, err := unix.Lgetxattr(path, attribute, value); err == nil {
				line += fmt.Sprintf(" %s=%q", attribute, value[:n])
			}
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
	image, stateDir := filepath.Join(dir, "image"), filepath.Join(dir, "state")
	tree(t, filepath.Join(image, "data"))
	want := describe(t, filepath.Join(image, "data"))
	d := volumes.New(stateDir)
	live := filepath.Join(d.Dir(), "bot")
	for range 2 {
		if err := d.CreateVolume(t.Context(), step, image, state.Owner{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, describe(t, live)); diff != "" {
		t.Errorf("the volume (-image +volume):\n%s", diff)
	}
	if info, err := os.Stat(stateDir); err != nil || info.Mode().Perm() != 0o700 {
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
		if err := d.CreateVolume(t.Context(), step, t.TempDir(), state.Owner{}); err != nil {
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
			"/data in the root filesystem is not a folder (choose another dataPath)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, root := t.TempDir(), t.TempDir()
			if err := test.image(root); err != nil {
				t.Fatal(err)
			}
			d := volumes.New(dir)
			got := ""
			if err := d.CreateVolume(t.Context(), step, root, state.Owner{UID: 7, GID: 8}); err != nil {
				got = err.Error()
			} else {
				got = describe(t, filepath.Join(d.Dir(), "bot"))
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestNamesAreNotPaths(t *testing.T) {
	d := volumes.New(t.TempDir())
	for _, name := range []string{"", "..", "a/b", "../a", ".", "A", "a\x00"} {
		err := errors.Join(
			d.CreateVolume(t.Context(), plan.CreateVolume{Workspace: name, DataPath: "/data"}, t.TempDir(), state.Owner{}),
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
	if err := d.CreateVolume(t.Context(), step, image, state.Owner{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: the error is %v", err)
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
	if err := d.CreateVolume(t.Context(), step, t.TempDir(), state.Owner{}); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "preserved")
	if err := errors.Join(os.Mkdir(other, 0o700), syscall.Mount("tmpfs", other, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(other, syscall.MNT_DETACH)
	err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", At: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "keep the whole state dir on one") {
		t.Errorf("two filesystems: the error is %v", err)
	}
	if all, err := d.Volumes(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("volumes: %v, %v", all, err)
	}
}

// killRounds is how often each copy is killed, later each time.
const killRounds = 6

func TestKilledWhileCopying(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "image/data")
	tree(t, data)
	many(t, data, 300)
	want := describe(t, data)
	pack(t, data, filepath.Join(dir, "archive"))
	for kind, whole := range copies {
		t.Run(kind, func(t *testing.T) {
			d := volumes.New(filepath.Join(dir, "state"))
			began := time.Now()
			if err := copying(t, kind, dir).Wait(); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			for round := range killRounds {
				setAside(t, d)
				cmd := copying(t, kind, dir)
				timer := time.AfterFunc(took*time.Duration(round)/killRounds, func() { cmd.Process.Kill() })
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
				setAside(t, d)
				if err := whole(t.Context(), d, dir); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, describe(t, filepath.Join(d.Dir(), "bot"))); diff != "" {
					t.Fatalf("round %d: after the repair:\n%s", round, diff)
				}
			}
			setAside(t, d)
		})
	}
}

// copying starts a process that copies a volume.
func copying(t *testing.T, kind, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+kind+":"+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// setAside takes the volume of bot away, if there is one.
func setAside(t *testing.T, d *volumes.Driver) {
	t.Helper()
	err := errors.Join(d.DiscardData(t.Context(), plan.DiscardData{Workspace: "bot", At: time.Now()}),
		d.EmptyTrash(t.Context(), plan.EmptyTrash{Workspace: "bot"}))
	if err != nil {
		t.Fatal(err)
	}
}

// many adds small files.
func many(t *testing.T, root string, n int) {
	t.Helper()
	for i := range n {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), []byte("small"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pack exports a folder, by way of a state dir that has it as a volume.
func pack(t *testing.T, folder, file string) {
	t.Helper()
	d := volumes.New(t.TempDir())
	f, err := os.Create(file)
	if err == nil {
		err = d.MigrateData(t.Context(), plan.MigrateData{Workspace: "bot", Folder: folder, DataPath: "/"}, folder)
	}
	if err == nil {
		_, err = d.Export(t.Context(), "bot", f, nil)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
