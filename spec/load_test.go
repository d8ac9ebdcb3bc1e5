package spec_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
)

var update = flag.Bool("update", false, "write what Load gives into the archives of testdata")

// result is the archive's file with what Load must give.
const result = "want"

// TestLoad loads the files of each archive in testdata. Its comment names the
// paths after "load:"; its last file has the faults, or the set as JSON, with
// "show: all" in the comment also the fields that have their default.
func TestLoad(t *testing.T) {
	golden(t, "testdata", func(archive *txtar.Archive) string {
		return load(strings.Contains(string(archive.Comment), "show: all"), toLoad(archive)...)
	})
}

// golden compares what the files of each archive in a folder give with the
// last file of the archive.
func golden(t *testing.T, folder string, give func(*txtar.Archive) string) {
	for _, path := range archives(t, folder) {
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
				t.Errorf("-want +got (go test ./spec -update writes it):\n%s", diff)
			}
		})
	}
}

func archives(t testing.TB, folder string) []string {
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
		if f.Name == result {
			want = &archive.Files[i]
			continue
		}
		write(t, f.Name, string(f.Data))
	}
	if want == nil {
		archive.Files = append(archive.Files, txtar.File{Name: result})
		want = &archive.Files[len(archive.Files)-1]
	}
	return want
}

func toLoad(archive *txtar.Archive) []string {
	for line := range strings.Lines(string(archive.Comment)) {
		if paths, ok := strings.CutPrefix(line, "load:"); ok {
			return strings.Fields(paths)
		}
	}
	return []string{"."}
}

// load is what Load gives as a text: the faults, or the set.
func load(all bool, paths ...string) string {
	set, err := spec.Load(paths...)
	if err != nil {
		return err.Error() + "\n"
	}
	workspaces := make([]map[string]any, len(set.Workspaces))
	plain := fields(spec.Default())
	for i, w := range set.Workspaces {
		workspaces[i] = fields(w)
		maps.DeleteFunc(workspaces[i], func(key string, value any) bool { return !all && cmp.Equal(value, plain[key]) })
	}
	text, err := json.MarshalIndent(map[string]any{"set": set.Name, "sources": set.Sources, "workspaces": workspaces}, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text) + "\n"
}

func fields(w spec.Workspace) (fields map[string]any) {
	text, err := json.Marshal(w)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		panic(err)
	}
	return fields
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// workspace is a spec document with more fields of its spec.
func workspace(name, more string) string {
	return "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: " + name + "}\nspec:\n  image: python:3.12\n" + more
}
