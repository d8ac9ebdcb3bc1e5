// Package spectest is for the tests of spec and of the packages below it: files
// of specs, archives with the expected result, and examples in schemas.
package spectest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the results into the archives of testdata")

// Result is the file of an archive that has the expected result.
const Result = "want"

// Golden compares what the files of each archive in a folder give with the
// last file of the archive.
func Golden(t *testing.T, folder string, give func(*txtar.Archive) string) {
	for _, path := range Archives(t, folder) {
		absolute, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(absolute)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			t.Chdir(dir)
			want := unpack(t, archive)
			got := strings.ReplaceAll(give(archive), dir, "$DIR")
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(absolute, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("-want +got (go test with -update writes it):\n%s", diff)
			}
		})
	}
}

// Archives are the paths of the archives in a folder.
func Archives(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(folder + "/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal(folder+" has no archives", err)
	}
	return paths
}

// unpack writes the files of an archive below the working directory, and
// returns the one with the result.
func unpack(t *testing.T, archive *txtar.Archive) (want *txtar.File) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name == Result {
			want = &archive.Files[i]
			continue
		}
		Write(t, f.Name, string(f.Data))
	}
	if want == nil {
		archive.Files = append(archive.Files, txtar.File{Name: Result})
		want = &archive.Files[len(archive.Files)-1]
	}
	return want
}

// Write writes a file, and makes its folder.
func Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Workspace is a spec document with more fields of its spec.
func Workspace(name, more string) string {
	return "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: " + name + "}\nspec:\n  image: python:3.12\n" + more
}

// Link makes a symlink.
func Link(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
