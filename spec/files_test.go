package spec_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec"
	"carrel/spec/spectest"
)

// names are the workspaces that a load gives, or its errors.
func names(paths ...string) string {
	set, err := spec.Load(paths...)
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, w := range set.Workspaces {
		names = append(names, w.Name)
	}
	return strings.Join(names, " ")
}

func TestFilesThatAreFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T)
		paths string
		want  string
	}{
		{"a file twice", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "a.yaml", "specs/b.yaml")
		}, "specs specs/a.yaml ./specs/../specs", "a"},
		{"a volume of Kubernetes", func(t *testing.T) {
			spectest.Write(t, "specs/..1/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "specs/..1/below/b.yaml", spectest.Workspace("b", ""))
			spectest.Link(t, "..1", "specs/..data")
			spectest.Link(t, "..data/a.yaml", "specs/a.yaml")
			spectest.Link(t, "..data/below", "specs/below")
		}, "specs", "a b"},
		{"a link to the folder", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, ".", "specs/self")
			spectest.Link(t, "..", "specs/.hidden")
		}, "specs", "a"},
		{"a folder that is a link", func(t *testing.T) {
			spectest.Write(t, "real/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "real", "specs")
		}, "specs", "a"},
		{"hidden files, editors' files", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			for _, name := range []string{".a.yaml", ".git/a.yaml", "a.yaml~", "#a.yaml#", "a.yaml.swp", "a.json"} {
				spectest.Write(t, "specs/"+name, "no spec")
			}
		}, "specs", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			c.make(t)
			if diff := cmp.Diff(c.want, names(strings.Fields(c.paths)...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T)
		path string
		want string
	}{
		{"a file out of the tree", func(t *testing.T) {
			spectest.Write(t, "secret.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "../secret.yaml", "specs/b.yaml")
		}, "specs", "specs/b.yaml: this link leads out of the folder that is loaded, to $DIR/secret.yaml (copy it into the folder)"},
		{"a folder out of the tree", func(t *testing.T) {
			spectest.Write(t, "specs-old/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "../specs-old", "specs/old")
		}, "specs", "specs/old: this link leads out of the folder that is loaded, to $DIR/specs-old (copy it into the folder)"},
		{"a link to nothing", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "gone.yaml", "specs/b.yaml")
		}, "specs", "specs/b.yaml: no such file or directory (check the path)"},
		{"a link to itself", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Link(t, "b.yaml", "specs/b.yaml")
		}, "specs", "specs/b.yaml: too many links"},
		{"a pipe", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			if err := syscall.Mkfifo("specs/b.yaml", 0o600); err != nil {
				t.Fatal(err)
			}
		}, "specs", "specs/b.yaml: not a file that can be read as a spec (write - to load from standard input)"},
		{"too large", func(t *testing.T) {
			spectest.Write(t, "a.yaml", spectest.Workspace("a", "")+strings.Repeat("#\n", 1<<19))
		}, "a.yaml", "a.yaml: larger than 1 MiB (split it into several files)"},
		{"a name with a line break", func(t *testing.T) {
			spectest.Write(t, "specs/a\nb.yaml", "a: b\n")
		}, "specs", `specs/a\x0ab.yaml:1:1: this document is not a carrel spec (begin it with apiVersion: carrel/v1 and kind: Workspace)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			c.make(t)
			if diff := cmp.Diff(c.want, strings.ReplaceAll(names(c.path), dir, "$DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// stdin makes a text the standard input of the test.
func stdin(t *testing.T, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() {
		os.Stdin = before
		r.Close()
	})
	if _, err := w.WriteString(text); err != nil { // it fits into the pipe
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStandardInput(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{spectest.Workspace("a", "") + "---\n" + spectest.Workspace("b", ""), "a b"},
		{spectest.Workspace("a", "  imag: x\n"), `-:6:3: unknown field "imag" in spec (did you mean "image"?)`},
		{"", "-: no spec was found: nothing is deleted (write a document of kind Workspace or WorkspaceSet)"},
	} {
		stdin(t, c.text)
		if diff := cmp.Diff(c.want, names("-", "-")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNoPath(t *testing.T) {
	if diff := cmp.Diff("no spec was named (name a file, a folder, or - for standard input)", names()); diff != "" {
		t.Error(diff)
	}
}

func TestCovers(t *testing.T) {
	set := spec.Set{Sources: []string{"/specs/", "/one.yaml", "-"}}
	for source, want := range map[string]bool{
		"/specs/a.yaml": true, "/specs/below/a.yaml": true, "/one.yaml": true,
		"/specs-old/a.yaml": false, "/one.yaml/a": false, "/two.yaml": false, "-": false,
	} {
		if got := set.Covers(source); got != want {
			t.Errorf("Covers(%q) is %v", source, got)
		}
	}
}
