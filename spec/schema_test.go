package spec_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/schema"
	"carrel/spec"
	"carrel/spec/spectest"
)

type node = spectest.Node

func definitions(t *testing.T) node {
	t.Helper()
	var document node
	if err := json.Unmarshal(schema.Workspace, &document); err != nil {
		t.Fatal(err)
	}
	return document["$defs"].(node)
}

// TestSchemaExamples loads each example of each field of the schema in a
// document that has nothing else.
func TestSchemaExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Examples(t, definitions(t)["spec"].(node), func(name string, body node) {
		if body["image"] == nil {
			body["image"] = "python"
		}
		text, err := json.Marshal(node{"apiVersion": "carrel/v1", "kind": "Workspace", "metadata": node{"name": "a"}, "spec": body})
		if err != nil {
			t.Fatal(err)
		}
		spectest.Write(t, "a.yaml", string(text))
		if _, err := spec.Load("a.yaml"); err != nil {
			t.Errorf("the example of spec.%s: %v", name, err)
		}
	})
}

// Every part of the schema that people write is described.
func TestSchemaDescriptions(t *testing.T) {
	for _, kind := range []string{"Workspace", "WorkspaceSet"} {
		spectest.EachField(nil, definitions(t)[kind].(node), func(path []string, field node) {
			if ref, ok := field["$ref"].(string); ok && field["description"] == nil {
				field = definitions(t)[strings.TrimPrefix(ref, "#/$defs/")].(node)
			}
			if field["description"] == nil || field["examples"] == nil {
				t.Errorf("%s %s has no description or no examples", kind, strings.Join(path, "."))
			}
		})
	}
}

// The fields of the schema are those of the Go types.
func TestSchemaFields(t *testing.T) {
	inGo := spectest.Tags("", reflect.TypeFor[spec.Workspace]())
	for _, metadata := range []string{"name", "labels"} {
		delete(inGo, metadata)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(inGo)), spectest.Fields(definitions(t)["spec"].(node))); diff != "" {
		t.Errorf("-Go +schema:\n%s", diff)
	}
}
