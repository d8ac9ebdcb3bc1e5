package document

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a JSON Schema that documents are checked against.
type Schema struct {
	// Hint may say what to write instead of something that the schema does not
	// have: an unknown field, by its path, or a value of a wrong type, by its path
	// and type as in "spec.env: object". Items of lists are [] in paths. It may be nil.
	Hint func(what string) string

	what        string                        // a document is called, such as "spec"
	kinds       []string                      // of documents; the first is the usual one
	compiled    map[string]*jsonschema.Schema // of each kind
	definitions map[string]any                // the schemas of the kinds and of their parts, for messages
}

// NewSchema compiles a JSON Schema that is part of the program: it panics when
// that is invalid. Its $defs have the schemas of the kinds. A document is checked
// against that of its kind alone: an error should not be about the other kinds.
func NewSchema(what string, text []byte, kinds ...string) Schema {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	document, ok := decoded.(map[string]any)
	if err != nil || !ok {
		panic(fmt.Sprintf("the schema of a %s is not a JSON object: %v", what, err))
	}
	const name = "schema.json"
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		panic(err)
	}
	s := Schema{what: what, kinds: kinds, compiled: map[string]*jsonschema.Schema{}}
	s.definitions, _ = document["$defs"].(map[string]any)
	for _, kind := range kinds {
		s.compiled[kind] = compiler.MustCompile(name + "#/$defs/" + kind)
	}
	return s
}

// part is the part of a schema for one value. The zero part allows anything.
type part struct {
	schema Schema
	text   map[string]any
}

// kind is the kind whose schema a document is checked against: its own, or else
// the usual one.
func (s Schema) kind(document *Node) string {
	if kind := document.Get("kind").Text(); slices.Contains(s.kinds, kind) {
		return kind
	}
	return s.kinds[0]
}

// of is the schema of a whole document.
func (s Schema) of(document *Node) part {
	return s.resolve(map[string]any{"$ref": "#/$defs/" + s.kind(document)})
}

// resolve follows the reference of a part, if it is one.
func (s Schema) resolve(text any) part {
	node, _ := text.(map[string]any)
	if ref, ok := node["$ref"].(string); ok {
		node, _ = s.definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return part{s, node}
}

// field is the schema of an object's field, and whether there may be one.
func (p part) field(key string) (part, bool) {
	properties, _ := p.text["properties"].(map[string]any)
	if field, ok := properties[key]; ok {
		return p.schema.resolve(field), true
	}
	others, ok := p.text["additionalProperties"].(map[string]any)
	return p.schema.resolve(others), ok
}

// item is the schema of a list's items.
func (p part) item() part { return p.schema.resolve(p.text["items"]) }

// elsewhere is the path of a field that an object does not have and another part of
// the document has: the one that is nearest to the top. It is empty when there is
// none.
func (v violation) elsewhere(key string) string {
	var paths []string
	v.schema.of(v.document).find(key, "", &paths)
	if len(paths) == 0 {
		return ""
	}
	return slices.MinFunc(paths, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "[]"), strings.Count(b, "[]")), cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
	})
}

// find adds the paths below a path at which there may be a field with a name.
func (p part) find(key, path string, paths *[]string) {
	properties, _ := p.text["properties"].(map[string]any)
	for name, text := range properties {
		below := strings.TrimPrefix(path+"."+name, ".")
		if name == key {
			*paths = append(*paths, below)
		}
		p.schema.resolve(text).find(key, below, paths)
	}
	if items := p.item(); items.text != nil {
		items.find(key, path+"[]", paths)
	}
}

// allowedKeys are the keys that the schema has for an object.
func allowedKeys(v violation) []string {
	at := v.schema.of(v.document)
	for _, step := range v.location {
		if items := at.item(); items.text != nil {
			at = items
			continue
		}
		at, _ = at.field(step)
	}
	properties, _ := at.text["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}
