package spec_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/spec"
	"carrel/spec/spectest"
)

// A field stands where it is written, or where its nearest parent is.
func TestAt(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/set.yaml", "apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: s}\nspec:\n  defaults:\n    dataPath: /d\n")
	spectest.Write(t, "specs/a.yaml", "# a comment\n---\n"+spectest.Workspace("a", `  network:
    ports:
      - {host: 1, container: 2}
  devices: [a.b/c=d]
  env: &e
    - name: A
  resources: {limits: {}}
`))
	set, err := spec.Load("specs")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range []string{"", "metadata.name", "image", "dataPath", "network.ports[0].host", "network.ports[0].hostIP",
		"network.mode", "devices[0]", "env[0].name", "env", "resources.limits.cpu", "host"} {
		got[path] = set.Workspaces[0].At(path).String()
	}
	want := map[string]string{
		"":                        "specs/a.yaml:3:1",
		"metadata.name":           "specs/a.yaml:5:18",
		"image":                   "specs/a.yaml:7:10",
		"dataPath":                "specs/set.yaml:6:15",
		"network.ports[0].host":   "specs/a.yaml:10:16",
		"network.ports[0].hostIP": "specs/a.yaml:10:9",
		"network.mode":            "specs/a.yaml:9:5",
		"devices[0]":              "specs/a.yaml:11:13",
		"env[0].name":             "specs/a.yaml:13:13",
		"env":                     "specs/a.yaml:12:8",
		"resources.limits.cpu":    "specs/a.yaml:14:23",
		"host":                    "specs/a.yaml:3:1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The JSON form of a workspace is read back as it was, and what an older form
// lacks has its default.
func TestJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "a.yaml", spectest.Workspace("a", "  autoStart: false\n  resources: {limits: {cpu: 1500m, memory: 1.5Gi}}\n  stop: {gracePeriod: 0s}\n"))
	set, err := spec.Load("a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(set.Workspaces[0])
	if err != nil {
		t.Fatal(err)
	}
	var again, old spec.Workspace
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	ignore := cmp.Options{cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.IgnoreFields(spec.Workspace{}, "Source")}
	if diff := cmp.Diff(set.Workspaces[0], again, ignore); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte("{}"), &old); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec.Default(), old, ignore); diff != "" {
		t.Error(diff)
	}
}
