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
)

type node = map[string]any

func definitions(t *testing.T) node {
	t.Helper()
	var document node
	if err := json.Unmarshal(schema.Workspace, &document); err != nil {
		t.Fatal(err)
	}
	return document["$defs"].(node)
}

// eachField visits the fields of a schema's object and of the objects below it.
func eachField(path []string, object node, visit func(path []string, field node)) {
	properties, _ := object["properties"].(node)
	for name, property := range properties {
		field, ok := property.(node)
		if !ok {
			continue // the envelope's, described at the root
		}
		below := append(slices.Clone(path), name)
		visit(below, field)
		eachField(below, field, visit)
		if items, ok := field["items"].(node); ok {
			eachField(append(below, "[]"), items, visit)
		}
	}
}

// required are fields that an example needs beside it.
var required = map[string]node{
	"env":    {"name": "A"},
	"mounts": {"source": "/a", "target": "/b"},
	"ports":  {"host": 1, "container": 1},

	"hostPaths": {"path": "/a"},
}

// around is the spec in which an example stands at a path.
func around(path []string, example any) any {
	if len(path) == 0 {
		return example
	}
	if path[0] == "[]" {
		return []any{around(path[1:], example)}
	}
	object := node{path[0]: around(path[1:], example)}
	return object
}

// TestSchemaExamples loads each example of each field of the schema in a
// document that has nothing else.
func TestSchemaExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	fields := definitions(t)["spec"].(node)
	eachField(nil, fields, func(path []string, field node) {
		name := strings.Join(path, ".")
		examples, _ := field["examples"].([]any)
		if field["description"] == nil || len(examples) == 0 {
			t.Errorf("spec.%s has no description or no examples", name)
		}
		for _, example := range examples {
			body := around(path, example).(node)
			if list := slices.Index(path, "[]"); list > 0 {
				fill(body, path[:list])
			}
			if body["image"] == nil {
				body["image"] = "python"
			}
			text, err := json.Marshal(node{"apiVersion": "carrel/v1", "kind": "Workspace", "metadata": node{"name": "a"}, "spec": body})
			if err != nil {
				t.Fatal(err)
			}
			write(t, "a.yaml", string(text))
			if _, err := spec.Load("a.yaml"); err != nil {
				t.Errorf("the example of spec.%s: %v", name, err)
			}
		}
	})
}

// fill adds to the one item of the list at a path what every item must have.
func fill(body node, path []string) {
	var at any = body
	for _, key := range path {
		at = at.(node)[key]
	}
	item := at.([]any)[0].(node)
	for key, value := range required[path[len(path)-1]] {
		if item[key] == nil {
			item[key] = value
		}
	}
}

// Every part of the schema that people write is described.
func TestSchemaDescriptions(t *testing.T) {
	for _, kind := range []string{"Workspace", "WorkspaceSet"} {
		eachField(nil, definitions(t)[kind].(node), func(path []string, field node) {
			if field["$ref"] == "#/$defs/spec" && field["description"] == nil {
				return
			}
			if field["description"] == nil || field["examples"] == nil {
				t.Errorf("%s %s has no description or no examples", kind, strings.Join(path, "."))
			}
		})
	}
}

// The fields of the schema are those of the Go types.
func TestSchemaFields(t *testing.T) {
	var inSchema []string
	eachField(nil, definitions(t)["spec"].(node), func(path []string, _ node) {
		inSchema = append(inSchema, strings.Join(path, "."))
	})
	inGo := tags("", reflect.TypeFor[spec.Workspace]())
	for _, metadata := range []string{"name", "labels"} {
		delete(inGo, metadata)
	}
	slices.Sort(inSchema)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(inGo)), inSchema); diff != "" {
		t.Errorf("-Go +schema:\n%s", diff)
	}
}

// tags are the paths of the JSON fields of a type.
func tags(path string, typ reflect.Type) map[string]bool {
	all := map[string]bool{}
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		all[path+name] = true
		below, of := path+name+".", field.Type
		if of.Kind() == reflect.Slice {
			below, of = below+"[].", of.Elem()
		}
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			maps.Copy(all, tags(below, of))
		}
	}
	return all
}

// Every field of a policy is described, each example of each field is valid,
// and the Go type has the same fields.
func TestPolicySchema(t *testing.T) {
	var document node
	if err := json.Unmarshal(schema.Policy, &document); err != nil {
		t.Fatal(err)
	}
	whole := inlined(document, document["$defs"].(node)).(node)["$defs"].(node)["policy"].(node)
	t.Chdir(t.TempDir())
	var inSchema []string
	eachField(nil, whole, func(path []string, field node) {
		name := strings.Join(path, ".")
		inSchema = append(inSchema, name)
		examples, _ := field["examples"].([]any)
		if field["description"] == nil || len(examples) == 0 {
			t.Errorf("spec.%s has no description or no examples", name)
		}
		for _, example := range examples {
			body := around(path, example).(node)
			if list := slices.Index(path, "[]"); list > 0 {
				fill(body, path[:list])
			}
			text, err := json.Marshal(node{"apiVersion": "carrel/v1", "kind": "HostPolicy", "spec": body})
			if err != nil {
				t.Fatal(err)
			}
			write(t, "policy.yaml", string(text))
			if _, err := spec.LoadPolicy("policy.yaml"); err != nil {
				t.Errorf("the example of spec.%s: %v", name, err)
			}
		}
	})
	slices.Sort(inSchema)
	inGo := slices.Sorted(maps.Keys(tags("", reflect.TypeFor[spec.Policy]())))
	if diff := cmp.Diff(inGo, inSchema); diff != "" {
		t.Errorf("-Go +schema:\n%s", diff)
	}
}

// inlined is a part of a schema with the definitions that it refers to.
func inlined(part any, definitions node) any {
	switch part := part.(type) {
	case []any:
		for i := range part {
			part[i] = inlined(part[i], definitions)
		}
	case node:
		if ref, ok := part["$ref"].(string); ok {
			maps.Copy(part, definitions[strings.TrimPrefix(ref, "#/$defs/")].(node))
			delete(part, "$ref")
		}
		for key := range part {
			part[key] = inlined(part[key], definitions)
		}
	}
	return part
}
