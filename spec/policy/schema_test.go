package policy_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/schema"
	"carrel/spec/policy"
	"carrel/spec/spectest"
)

type node = spectest.Node

// Every field of a policy is described, each example of each field is valid,
// and the Go type has the same fields.
func TestSchema(t *testing.T) {
	var document node
	if err := json.Unmarshal(schema.Policy, &document); err != nil {
		t.Fatal(err)
	}
	whole := inlined(document, document["$defs"].(node)).(node)["$defs"].(node)["policy"].(node)
	t.Chdir(t.TempDir())
	spectest.Examples(t, whole, func(name string, body node) {
		text, err := json.Marshal(node{"apiVersion": "carrel/v1", "kind": "HostPolicy", "spec": body})
		if err != nil {
			t.Fatal(err)
		}
		spectest.Write(t, "policy.yaml", string(text))
		if _, err := policy.Load("policy.yaml"); err != nil {
			t.Errorf("the example of spec.%s: %v", name, err)
		}
	})
	inGo := slices.Sorted(maps.Keys(spectest.Tags("", reflect.TypeFor[policy.Policy]())))
	if diff := cmp.Diff(inGo, spectest.Fields(whole)); diff != "" {
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
