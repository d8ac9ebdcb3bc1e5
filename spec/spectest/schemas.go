package spectest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Node is an object of a JSON Schema.
type Node = map[string]any

// EachField visits the fields of a schema's object and of the objects below it.
func EachField(path []string, object Node, visit func(path []string, field Node)) {
	properties, _ := object["properties"].(Node)
	for name, property := range properties {
		field, ok := property.(Node)
		if !ok {
			continue // the envelope's, described at the root
		}
		below := append(slices.Clone(path), name)
		visit(below, field)
		EachField(below, field, visit)
		if items, ok := field["items"].(Node); ok {
			EachField(append(below, "[]"), items, visit)
		}
	}
}

// required are fields that an example needs beside it.
var required = map[string]Node{
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
	object := Node{path[0]: around(path[1:], example)}
	return object
}

// Examples visits each example of each field, as the one field of a document's
// spec beside those that it needs. A field without examples fails the test.
func Examples(t *testing.T, object Node, visit func(name string, body Node)) {
	t.Helper()
	EachField(nil, object, func(path []string, field Node) {
		name := strings.Join(path, ".")
		examples, _ := field["examples"].([]any)
		if field["description"] == nil || len(examples) == 0 {
			t.Errorf("spec.%s has no description or no examples", name)
		}
		for _, example := range examples {
			body := around(path, example).(Node)
			if list := slices.Index(path, "[]"); list > 0 {
				fill(body, path[:list])
			}
			visit(name, body)
		}
	})
}

// Fields are the paths of the fields of a schema's object, sorted.
func Fields(object Node) (paths []string) {
	EachField(nil, object, func(path []string, _ Node) { paths = append(paths, strings.Join(path, ".")) })
	slices.Sort(paths)
	return paths
}

// fill adds to the one item of the list at a path what every item must have.
func fill(body Node, path []string) {
	var at any = body
	for _, key := range path {
		at = at.(Node)[key]
	}
	item := at.([]any)[0].(Node)
	for key, value := range required[path[len(path)-1]] {
		if item[key] == nil {
			item[key] = value
		}
	}
}

// Tags are the paths of the JSON fields of a type.
func Tags(path string, typ reflect.Type) map[string]bool {
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
			maps.Copy(all, Tags(below, of))
		}
	}
	return all
}
