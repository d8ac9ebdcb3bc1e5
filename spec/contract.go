package spec

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"carrel/schema"
)

// contract is a JSON Schema, ready to validate, and as the document it is.
type contract struct {
	what        string   // its documents are
	kinds       []string // of documents; the first is the usual one
	compiled    *jsonschema.Schema
	definitions map[string]any
}

// The contracts of the documents that people write.
var (
	ofSpecs  = sync.OnceValue(func() contract { return agree("spec of carrel", schema.Workspace, "Workspace", "WorkspaceSet") })
	ofPolicy = sync.OnceValue(func() contract { return agree("policy of carrel", schema.Policy, "HostPolicy") })
)

func agree(what string, text []byte, kinds ...string) contract {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	document, ok := decoded.(map[string]any)
	if err != nil || !ok {
		panic(fmt.Sprintf("the schema of a %s is no JSON object: %v", what, err)) // it is part of the program
	}
	const name = "schema.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		panic(err)
	}
	definitions, _ := document["$defs"].(map[string]any)
	return contract{what, kinds, compiler.MustCompile(name), definitions}
}

// schemaNode is the part of a schema that is about one value; without a part it
// is about anything.
type schemaNode struct {
	contract
	part map[string]any
}

// of is the schema of a whole document.
func (c contract) of(document *tree) schemaNode {
	name := c.kinds[0]
	if kind := document.get("kind").text(); slices.Contains(c.kinds, kind) {
		name = kind
	}
	return c.resolve(map[string]any{"$ref": "#/$defs/" + name})
}

// resolve is a part of the schema, with what it refers to.
func (c contract) resolve(part any) schemaNode {
	node, _ := part.(map[string]any)
	if ref, ok := node["$ref"].(string); ok {
		node, _ = c.definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return schemaNode{c, node}
}

// field is the schema of an object's field, and whether there may be one.
func (s schemaNode) field(key string) (schemaNode, bool) {
	properties, _ := s.part["properties"].(map[string]any)
	if field, ok := properties[key]; ok {
		return s.resolve(field), true
	}
	others, ok := s.part["additionalProperties"].(map[string]any)
	return s.resolve(others), ok
}

// item is the schema of a list's items.
func (s schemaNode) item() schemaNode { return s.resolve(s.part["items"]) }

// allowedKeys are the keys that the schema has for an object.
func allowedKeys(f fault) []string {
	at := f.of(f.document)
	for _, step := range f.location {
		if items := at.item(); items.part != nil {
			at = items
			continue
		}
		at, _ = at.field(step)
	}
	properties, _ := at.part["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}
