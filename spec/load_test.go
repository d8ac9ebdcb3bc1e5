package spec_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
	"carrel/spec/spectest"
)

// TestLoad loads the files of each archive in testdata. Its comment names the
// paths after "load:"; its last file has the errors, or the set as JSON, with
// "show: all" in the comment also the fields that have their default.
func TestLoad(t *testing.T) {
	spectest.Golden(t, "testdata", func(archive *txtar.Archive) string {
		return load(strings.Contains(string(archive.Comment), "show: all"), toLoad(archive)...)
	})
}

func toLoad(archive *txtar.Archive) []string {
	for line := range strings.Lines(string(archive.Comment)) {
		if paths, ok := strings.CutPrefix(line, "load:"); ok {
			return strings.Fields(paths)
		}
	}
	return []string{"."}
}

// load is what Load gives as a text: the errors, or the set.
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
