package containerd_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/spec"
)

func TestContainersAreConfined(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	// The fourteen of Docker less NET_RAW.
	const bounding = "00000000a80405fb"
	for _, test := range []struct{ name, user, caps string }{
		{"root", "", bounding}, {"other", "1000:1000", "0000000000000000"},
	} {
		b.create(test.name, name, func(w *spec.Workspace) { w.User = test.user })
		b.start(test.name)
		text := b.output(test.name, "serving")
		for _, want := range []string{
			"CapInh:\t0000000000000000", "CapPrm:\t" + test.caps, "CapEff:\t" + test.caps, "CapBnd:\t" + bounding, "CapAmb:\t0000000000000000",
			"Seccomp:\t2", "NoNewPrivs:\t1",
			" /data ", " /proc/keys tmpfs ", " /proc/timer_list tmpfs ", " /sys/firmware tmpfs ro",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: from inside there is no %q:\n%s", test.name, want, text)
			}
		}
	}
	container, err := b.raw.LoadContainer(t.Context(), "root")
	b.must(err)
	oci, err := container.Spec(t.Context())
	b.must(err)
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"} {
		if !slices.Contains(oci.Linux.MaskedPaths, path) {
			t.Errorf("%s is not masked", path)
		}
		// A kernel may do without one.
		if text, err := b.outputOf("root", "/guest", "read", path); text != "" && !strings.Contains(text, "no such file") {
			t.Errorf("%s can be read: %q, %v", path, text, err)
		}
	}
	b.wantRefused("root", "read-only file system", "/guest", "write", "/proc/sys/kernel/hostname")
	b.wantRefused("root", "read-only file system", "/guest", "write", "/sys/kernel/profiling")
}

func TestReadOnlyMounts(t *testing.T) {
	b := shared(t)
	source := filepath.Join(b.dir, "source")
	below := filepath.Join(source, "below")
	b.must(os.MkdirAll(below, 0o755))
	b.must(unix.Mount("tmpfs", below, "tmpfs", 0, ""))
	t.Cleanup(func() {
		if err := unix.Unmount(below, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.create("reader", b.load(image(t, v1.Config{})), func(w *spec.Workspace) {
		w.Mounts = []spec.Mount{
			{Source: source, Target: "/reading", ReadOnly: true},
			{Source: source, Target: "/writing"},
		}
	})
	b.start("reader")
	b.wantRefused("reader", "read-only file system", "/guest", "write", "/reading/file")
	b.wantRefused("reader", "read-only file system", "/guest", "write", "/reading/below/file")
	b.must(b.exec("reader", "/guest", "write", "/writing/file"))
	b.must(b.exec("reader", "/guest", "write", "/writing/below/file"))
	if text, err := b.outputOf("reader", "/guest", "read", "/reading/below/file"); text != "written" || err != nil {
		t.Errorf("what was written is read as %q, %v", text, err)
	}
}

func TestUsersAreLookedUpInTheImage(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}, drivertest.Folder("etc", 0o755, 0),
		drivertest.File("etc/passwd", 0o644, 0, "root:x:0:0::/:/\nworker:x:1234:1235::/:/\n"),
		drivertest.File("etc/group", 0o644, 0, "root:x:0:\nworker:x:1235:\ngames:x:60:worker\n")))
	for _, test := range []struct{ name, user, want string }{
		{"name", "worker", "uid 1234 gid 1235 "},
		{"number", "1234", "uid 1234 gid 1235 "},
		{"stranger", "77", "uid 77 gid 0 "},
		{"group", "worker:games", "uid 1234 gid 60 "},
		{"numbers", "1234:7", "uid 1234 gid 7 "},
	} {
		b.create(test.name, name, func(w *spec.Workspace) { w.User = test.user })
		b.start(test.name)
		if text := b.output(test.name, "serving"); !strings.Contains(text, test.want) {
			t.Errorf("user %q is observed as\n%s", test.user, text)
		}
	}
	if text := b.output("name", "serving"); !strings.Contains(text, "Groups:\t60 ") {
		t.Errorf("the groups of a user are missing:\n%s", text)
	}
}

// wantRefusal tries to make a container that must be refused, and checks that
// nothing of it is left.
func (b *bench) wantRefusal(image, want string, change func(*spec.Workspace)) {
	b.t.Helper()
	w := spec.Default()
	w.Name, w.Image, w.Network.Mode = "refused", image, spec.NetworkNone
	change(&w)
	err := b.CreateContainer(b.t.Context(), plan.CreateContainer{Container: w.Name, Set: "s", Host: "h", Image: image, Spec: w})
	if err == nil || err.Error() != want {
		b.t.Errorf("the error is %v\nwant: %s", err, want)
	}
	if c := b.see(w.Name); c.ID != "" {
		b.t.Errorf("the container was made: %+v", c)
	}
	if _, err := b.raw.SnapshotService("overlayfs").Stat(b.t.Context(), w.Name); err == nil {
		b.t.Error("a root filesystem is left")
	}
	b.wantNothingHeld()
}

func TestUnknownUsers(t *testing.T) {
	b := shared(t)
	users := b.load(image(t, v1.Config{}, drivertest.Folder("etc", 0o755, 0),
		drivertest.File("etc/passwd", 0o644, 0, "root:x:0:0::/:/\n"), drivertest.File("etc/group", 0o644, 0, "root:x:0:\n")))
	none := b.load(image(t, v1.Config{}))
	wrong := b.load(image(t, v1.Config{User: "nobody-here"}))
	for _, test := range []struct{ image, user, want string }{
		{users, "nobody-here", `user "nobody-here" is not in the image (write its number, or correct user)`},
		{users, "root:nogroup", `user "root:nogroup" is not in the image (write its number, or correct user)`},
		{none, "worker", `user "worker" is not in the image (write its number, or correct user)`},
		{wrong, "", "the user that the image itself names is not in it (correct the image)"},
	} {
		b.wantRefusal(test.image, test.want, func(w *spec.Workspace) { w.User = test.user })
	}
}

func TestMountSourcesMustExist(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	one, two := filepath.Join(b.dir, "one"), filepath.Join(b.dir, "two")
	b.wantRefusal(name, "mount source "+one+", "+two+" does not exist (make it, or correct mounts)", func(w *spec.Workspace) {
		w.Mounts = []spec.Mount{{Source: one, Target: "/one"}, {Source: b.dir, Target: "/there"}, {Source: two, Target: "/two", ReadOnly: true}}
	})
	b.must(os.Mkdir(one, 0o755))
	b.create("lasting", name, func(w *spec.Workspace) { w.Mounts = []spec.Mount{{Source: one, Target: "/one"}} })
	b.must(os.Remove(one)) // between two starts
	err := b.StartTask(t.Context(), plan.StartTask{Workspace: "lasting", Container: "lasting"})
	if want := "mount source " + one + " does not exist (make it, or correct mounts)"; err == nil || err.Error() != want {
		t.Errorf("the start says %v, want %s", err, want)
	}
	for _, path := range []string{one, two} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}
