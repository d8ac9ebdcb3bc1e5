package spec_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec"
)

// The folders to watch are all in which a change can change the set.
func TestFolders(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T)
		paths string
		want  string
	}{
		{"a file", func(t *testing.T) { write(t, "specs/a.yaml", workspace("a", "")) }, "specs/a.yaml", "$DIR/specs"},
		{"folders", func(t *testing.T) {
			write(t, "specs/a.yaml", workspace("a", ""))
			write(t, "specs/below/none/b.txt", "")
			write(t, "specs/.git/b.yaml", "")
		}, "specs specs/a.yaml", "$DIR/specs $DIR/specs/below $DIR/specs/below/none"},
		{"a folder behind links", func(t *testing.T) {
			write(t, "real/now/a.yaml", workspace("a", ""))
			write(t, "links/file", "")
			link(t, "../real/now/", "links/first")
			link(t, "links/../links/first", "specs")
		}, "specs", "$DIR $DIR/links $DIR/real/now"},
		{"a file behind links", func(t *testing.T) {
			write(t, "real/a.yaml", workspace("a", ""))
			write(t, "links/file", "")
			link(t, "../real/a.yaml", "links/b.yaml")
			link(t, "links/b.yaml", "c.yaml")
		}, "c.yaml", "$DIR $DIR/links $DIR/real"},
		{"a volume of Kubernetes", func(t *testing.T) {
			write(t, "specs/..1/a.yaml", workspace("a", ""))
			write(t, "specs/..1/below/b.yaml", workspace("b", ""))
			link(t, "..1", "specs/..data")
			link(t, "..data/a.yaml", "specs/a.yaml")
			link(t, "..data/below", "specs/below")
		}, "specs", "$DIR/specs $DIR/specs/..1 $DIR/specs/..1/below"},
		{"what is not there", func(t *testing.T) {
			write(t, "specs/a.yaml", "a: b")
			link(t, "loop.yaml", "specs/loop.yaml")
			link(t, "../gone/x", "specs/b.yaml")
		}, "specs gone/x/y specs/a.yaml/below", "$DIR $DIR/specs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			c.make(t)
			paths := strings.Fields(c.paths)
			var memory spec.Memory
			loose, _, _ := memory.Load(spec.Policy{}, "", paths...)
			got := strings.ReplaceAll(strings.Join(loose.Folders, " "), dir, "$DIR")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			strict, err := spec.Load(paths...)
			if diff := cmp.Diff(loose.Folders, strict.Folders); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDoubts(t *testing.T) {
	set := spec.Set{Faulty: []string{"/specs/a.yaml", "/specs/below/", "/vanished", "/vanished/"}}
	for source, want := range map[string]bool{
		"/specs/a.yaml": true, "/specs/below/a.yaml": true, "/vanished": true, "/vanished/a.yaml": true,
		"/specs/b.yaml": false, "/specs/a.yaml/b": false, "/specs/below": false, "/vanished.yaml": false, "-": false,
	} {
		if got := set.Doubts(source); got != want {
			t.Errorf("Doubts(%q) is %v", source, got)
		}
	}
}

// Files that come and go while they are read never end the program, and are
// never taken as deleted for good.
func TestMemoryOfAFolderThatMoves(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "one/below/a.yaml", workspace("a", ""))
	write(t, "one/set.yaml", said("set:bots"))
	link(t, "one", "specs")
	done := make(chan error)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			for _, move := range [][2]string{{"one", "two"}, {"two", "one"}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	var memory spec.Memory
	known := false
	for range 300 {
		set, _, ok := memory.Load(spec.Policy{}, "", "specs")
		if known && (!ok || len(set.Workspaces) != 1) {
			t.Errorf("%v %v", ok, set.Workspaces)
		}
		known = known || ok && len(set.Workspaces) == 1
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
