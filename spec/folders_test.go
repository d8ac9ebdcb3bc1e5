package spec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec"
	"carrel/spec/spectest"
)

// The folders to watch are all in which a change can change the set.
func TestFolders(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T)
		paths string
		want  string
	}{
		{"a file", func(t *testing.T) { spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", "")) }, "specs/a.yaml", "$DIR/specs"},
		{"folders", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "specs/below/none/b.txt", "")
			spectest.Write(t, "specs/.git/b.yaml", "")
		}, "specs specs/a.yaml", "$DIR/specs $DIR/specs/below $DIR/specs/below/none"},
		{"a folder behind links", func(t *testing.T) {
			spectest.Write(t, "real/now/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "links/file", "")
			spectest.Link(t, "../real/now/", "links/first")
			spectest.Link(t, "links/../links/first", "specs")
		}, "specs", "$DIR $DIR/links $DIR/real/now"},
		{"a file behind links", func(t *testing.T) {
			spectest.Write(t, "real/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "links/file", "")
			spectest.Link(t, "../real/a.yaml", "links/b.yaml")
			spectest.Link(t, "links/b.yaml", "c.yaml")
		}, "c.yaml", "$DIR $DIR/links $DIR/real"},
		{"a volume of Kubernetes", func(t *testing.T) {
			spectest.Write(t, "specs/..1/a.yaml", spectest.Workspace("a", ""))
			spectest.Write(t, "specs/..1/below/b.yaml", spectest.Workspace("b", ""))
			spectest.Link(t, "..1", "specs/..data")
			spectest.Link(t, "..data/a.yaml", "specs/a.yaml")
			spectest.Link(t, "..data/below", "specs/below")
		}, "specs", "$DIR/specs $DIR/specs/..1 $DIR/specs/..1/below"},
		{"what is not there", func(t *testing.T) {
			spectest.Write(t, "specs/a.yaml", "a: b")
			spectest.Link(t, "loop.yaml", "specs/loop.yaml")
			spectest.Link(t, "../gone/x", "specs/b.yaml")
		}, "specs gone/x/y specs/a.yaml/below", "$DIR $DIR/specs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			c.make(t)
			paths := strings.Fields(c.paths)
			loose := spec.Read(paths...)
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
