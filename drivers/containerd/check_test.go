package containerd_test

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/containerd"
	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/spec"
)

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink, Mode: 0o777}
}

// TestTheCheckAndTheRuntimeAgree makes each container, too: what the check allows
// starts, and what it refuses does not.
func TestTheCheckAndTheRuntimeAgree(t *testing.T) {
	b := shared(t)
	host := filepath.Join(b.dir, "host")
	b.must(os.MkdirAll(filepath.Join(host, "bin"), 0o755))
	b.must(os.WriteFile(filepath.Join(host, "bin", "text"), []byte("no program"), 0o755))
	b.must(os.WriteFile(filepath.Join(host, "bin", "script"), []byte("#!/guest serve\n"), 0o755))
	b.must(os.Symlink("/guest", filepath.Join(host, "bin", "link")))
	name := b.load(image(t, v1.Config{Env: []string{"PATH=/no/such:/usr/bin:/"}, WorkingDir: "/work"},
		drivertest.Folder("usr", 0o755, 0), drivertest.Folder("usr/bin", 0o755, 0), drivertest.Folder("work", 0o755, 0), drivertest.Folder("etc", 0o755, 0),
		link("bin", "usr/bin"), link("usr/bin/absolute", "/guest"), link("usr/bin/up", "../../guest"), link("usr/bin/around", "around"),
		link("usr/bin/into-mount", "/tools/bin/script"), link("work/near", "../guest"), link("opt", "/made"),
		drivertest.File("usr/bin/script", 0o755, 0, "#! /bin/absolute serve\n"),
		drivertest.File("usr/bin/nested", 0o755, 0, "#!script\n"),
		drivertest.File("etc/passwd", 0o644, 0, "root:x:0:0::/:/\nworker:x:1234:1234::/:/\n"),
		drivertest.File("etc/group", 0o644, 0, "root:x:0:\n"),
	))
	mounted := func(target string, command ...string) func(*spec.Workspace) {
		return func(w *spec.Workspace) {
			w.Command, w.Mounts = command, []spec.Mount{{Source: host, Target: target}}
		}
	}
	runs := func(command ...string) func(*spec.Workspace) { return func(w *spec.Workspace) { w.Command = command } }
	for title, test := range map[string]struct {
		change  func(*spec.Workspace)
		refused string // "" when it starts
	}{
		"in PATH, behind an absolute symlink": {change: runs("absolute", "serve")},
		"behind a relative symlink":           {change: runs("/bin/up", "serve")},
		"relative to the working folder":      {change: runs("./near", "serve")},
		"a script":                            {change: runs("script")},
		"in a mount":                          {change: mounted("/tools", "/tools/bin/script")},
		"in a mount where nothing is":         {change: mounted("/a/b/c", "/a/b/c/bin/script")},
		"a symlink out of a mount":            {change: mounted("/tools", "/tools/bin/link", "serve")},
		"a symlink into a mount":              {change: mounted("/tools", "into-mount")},
		"a user by name":                      {change: func(w *spec.Workspace) { w.User = "worker" }},
		"a mount behind a symlink":            {change: mounted("/opt", "/guest", "serve")},
		"symlinks in a circle":                {change: runs("around"), refused: `command "around" is not in the image (correct command)`},
		"not there":                           {change: runs("/bin/none"), refused: `command "/bin/none" is not in the image (correct command)`},
		"as one text":                         {change: runs("absolute serve"), refused: `(write [absolute, serve])`},
		"of a shell":                          {change: runs("echo $HOME"), refused: "[sh, -c, ...]"},
		"in a mount and not there":            {change: mounted("/tools", "/tools/bin/none"), refused: `command "/tools/bin/none" is not in the image`},
		"in a mount, no program":              {change: mounted("/tools", "/tools/bin/text"), refused: "neither a program nor a script"},
		"through a file":                      {change: runs("/guest/x"), refused: `command "/guest/x" is not in the image`},
		"a mount over a file":                 {change: func(w *spec.Workspace) { w.Mounts = []spec.Mount{{Source: host, Target: "/guest"}} }, refused: "is a folder, and the image has a file at /guest"},
		"a mount of a file over a folder": {
			change: func(w *spec.Workspace) {
				w.Mounts = []spec.Mount{{Source: filepath.Join(host, "bin/text"), Target: "/work"}}
			},
			refused: "is a file, and the image has a folder at /work",
		},
		"a group that is not there": {change: func(w *spec.Workspace) { w.User = "0:none" }, refused: `user "0:none" is not in the image`},
	} {
		t.Run(title, func(t *testing.T) {
			b.t = t
			w := spec.Default()
			w.Name, w.Image, w.Network.Mode = "checked", name, spec.NetworkNone
			test.change(&w)
			make := plan.CreateContainer{Container: w.Name, Set: "s", Host: "h", Image: name, Spec: w}
			refused := b.CheckImage(t.Context(), plan.CheckImage{For: make})
			b.must(os.MkdirAll(filepath.Join(b.dir, "volumes", w.Name), 0o777))
			err := b.CreateContainer(t.Context(), make)
			if err == nil {
				err = b.StartTask(t.Context(), plan.StartTask{Workspace: w.Name, Container: w.Name})
			}
			if err == nil && test.refused != "" { // what the kernel refuses ends as a process
				code, exited, failed := b.Exited(t.Context(), w.Name)
				b.must(failed)
				err = fmt.Errorf("exited: %v, %d", exited, code)
			}
			switch {
			case test.refused == "" && (refused != nil || err != nil):
				t.Errorf("check: %v, start: %v", refused, err)
			case test.refused != "" && (refused == nil || err == nil || !strings.Contains(refused.Error(), test.refused)):
				t.Errorf("check: %v, start: %v, want %q", refused, err, test.refused)
			}
			b.must(b.StopTask(t.Context(), plan.StopTask{Container: w.Name}))
			b.must(b.DeleteContainer(t.Context(), plan.DeleteContainer{Container: w.Name}))
		})
	}
}

// TestLoaders checks programs that need a loader, as those of most distributions do.
func TestLoaders(t *testing.T) {
	b := shared(t)
	program, err := os.ReadFile("/bin/true")
	b.must(err)
	name := b.load(image(t, v1.Config{Entrypoint: []string{"/true"}}, drivertest.File("true", 0o755, 0, string(program))))
	w := spec.Default()
	w.Name, w.Image, w.Network.Mode = "checked", name, spec.NetworkNone
	err = b.CheckImage(t.Context(), plan.CheckImage{For: plan.CreateContainer{Container: w.Name, Image: name, Spec: w}})
	if err == nil || !strings.Contains(err.Error(), `command "/true" needs "/lib`) || !strings.Contains(err.Error(), "which is not in the image (correct the image, or set command)") {
		t.Errorf("error: %v", err)
	}
}

func TestEmulatorsAreKnown(t *testing.T) {
	const arm = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: F\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	program := "\x7fELF\x02\x01\x01\x03" + strings.Repeat("\x00", 8) + "\x03\x00\xb7\x00" + strings.Repeat("\x00", 40)
	for entry, want := range map[string]bool{
		arm: true, strings.Replace(arm, "enabled", "disabled", 1): false, strings.Replace(arm, "b700", "f300", 1): false,
		"enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n": true, "enabled\n": false, "": false,
	} {
		if got := containerd.Matches(entry, []byte(program), "/x.jar"); got != want {
			t.Errorf("an emulator is found: %v, by\n%s", got, entry)
		}
	}
}

func TestLastOutput(t *testing.T) {
	b := shared(t)
	name := b.load(image(t, v1.Config{}))
	step := plan.StartTask{Workspace: "ends", Container: "ends"}
	b.create("ends", name, func(w *spec.Workspace) { w.Command = []string{"/guest", "exit", "many\nlines\x1b\n\nof output"} })
	for range 2 { // the second output follows the first one in the file
		b.start("ends")
		if code, exited, err := b.Exited(t.Context(), "ends"); err != nil || !exited || code != 1 {
			t.Fatalf("exit %d, %v, %v", code, exited, err)
		}
		got := b.LastOutput(t.Context(), step)
		if len(got) != 1 || !strings.Contains(got[0], "invalid syntax") {
			t.Errorf("the last output is %q", got)
		}
	}
	if got := b.LastOutput(t.Context(), plan.StartTask{Workspace: "none"}); len(got) > 0 {
		t.Errorf("the last output of none is %q", got)
	}
}
