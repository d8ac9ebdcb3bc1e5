package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/agext/levenshtein"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"carrel/schema"
)

// contract is the JSON Schema, ready to validate, and as the document it is.
type contract struct {
	compiled *jsonschema.Schema
	document map[string]any
}

var loadContract = sync.OnceValue(func() contract {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Workspace))
	if err != nil {
		panic(err) // it is part of the program
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("workspace.schema.json", document); err != nil {
		panic(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(schema.Workspace, &plain); err != nil {
		panic(err)
	}
	return contract{compiled: compiler.MustCompile("workspace.schema.json"), document: plain}
})

// valid checks a document against the schema and puts each fault into words.
func valid(document *tree, faults *Errors) bool {
	var invalid *jsonschema.ValidationError
	err := loadContract().compiled.Validate(document.value())
	if !errors.As(err, &invalid) {
		return true
	}
	leaves(invalid, func(leaf *jsonschema.ValidationError) {
		t, path := document.walk(leaf.InstanceLocation)
		explain(fault{document, t, path, leaf.InstanceLocation}, leaf.ErrorKind, faults)
	})
	return false
}

func leaves(e *jsonschema.ValidationError, visit func(*jsonschema.ValidationError)) {
	if len(e.Causes) == 0 {
		visit(e)
	}
	for _, cause := range e.Causes {
		leaves(cause, visit)
	}
}

// walk is the value at a place of the schema validator's, and its path as a
// person writes it.
func (t *tree) walk(location []string) (*tree, string) {
	path := ""
	for _, step := range location {
		if t.list {
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(t.items) {
				break
			}
			t, path = t.items[i], fmt.Sprintf("%s[%d]", path, i)
			continue
		}
		next, ok := t.fields[step]
		if !ok {
			break
		}
		t, path = next, strings.TrimPrefix(path+"."+step, ".")
	}
	return t, path
}

// fault is where a document breaks its schema.
type fault struct {
	document *tree
	value    *tree
	path     string
	location []string
}

// explain says in the words of a person how a document breaks its schema.
func explain(f fault, broken jsonschema.ErrorKind, faults *Errors) {
	at := f.value.at
	name := f.path
	if name == "" {
		name = "the document"
	}
	switch k := broken.(type) {
	case *kind.AdditionalProperties:
		allowed := allowedKeys(f)
		for _, key := range k.Properties {
			faults.Add(f.value.fields[key].key, suggest(key, allowed), "unknown field %q in %s", key, name)
		}
	case *kind.Required:
		for _, key := range k.Missing {
			faults.Add(at, "add it", "%s has no %s", name, key)
		}
	case *kind.Type:
		hint := typeHint(f.value, k)
		faults.Add(at, hint, "%s is %s, and must be %s", name, article(k.Got), article(strings.Join(k.Want, " or ")))
	case *kind.Enum:
		allowed := texts(k.Want)
		faults.Add(at, suggest(fmt.Sprint(k.Got), allowed), "%s is %q, and must be one of %s", name, fmt.Sprint(k.Got), strings.Join(allowed, ", "))
	case *kind.Const:
		faults.Add(at, fmt.Sprintf("write %v", k.Want), "%s is %q, and must be %q", name, fmt.Sprint(k.Got), fmt.Sprint(k.Want))
	case *kind.Pattern:
		faults.Add(at, patternHint(f), "%s is %q", name, k.Got)
	case *kind.MinLength:
		faults.Add(at, "fill it in, or take it out", "%s is empty", name)
	case *kind.MaxLength:
		faults.Add(at, "", "%s has %d characters, and must have at most %d", name, k.Got, k.Want)
	case *kind.Minimum:
		want, _ := k.Want.Float64()
		faults.Add(at, "", "%s must be at least %v", name, want)
	case *kind.Maximum:
		want, _ := k.Want.Float64()
		faults.Add(at, "", "%s must be at most %v", name, want)
	default:
		faults.Add(at, "", "%s: does not fit the schema at %s", name, strings.Join(broken.KeywordPath(), "/"))
	}
}

// typeHint says how to write a value so that YAML reads it as what is wanted.
func typeHint(value *tree, k *kind.Type) string {
	switch {
	case slices.Contains(k.Want, "string") && (k.Got == "number" || k.Got == "boolean"):
		return "put it in quotes"
	case slices.Contains(k.Want, "boolean"):
		return "write true or false, without quotes"
	case slices.Contains(k.Want, "array") && k.Got == "string":
		return "write a list: [a, b]"
	case slices.Contains(k.Want, "integer") && k.Got == "string":
		return "write a number, without quotes"
	}
	return ""
}

// patternHint says what a value with a pattern must look like.
func patternHint(f fault) string {
	last := f.location[len(f.location)-1]
	switch last {
	case "dataPath", "workingDir", "source", "target":
		return "write an absolute path, which begins with /"
	case "host":
		return "a host's name has lower-case letters, digits, dashes and dots"
	}
	if slices.Contains(f.location, "env") {
		return "a variable's name has letters, digits and _, and does not begin with a digit"
	}
	return "a name has lower-case letters, digits and dashes, and begins and ends with a letter or digit"
}

func article(kinds string) string {
	words := strings.NewReplacer("array", "list", "integer", "whole number", "boolean", "true or false").Replace(kinds)
	if strings.HasPrefix(words, "true") || strings.HasPrefix(words, "null") {
		return words
	}
	if strings.HasPrefix(words, "object") {
		return "an " + words
	}
	return "a " + words
}

// allowedKeys are the keys that the schema has for an object.
func allowedKeys(f fault) []string {
	document := loadContract().document
	at := lookup(document, "$defs", kindOf(f.document))
	for _, step := range f.location {
		at = deref(document, at)
		if items, ok := at["items"].(map[string]any); ok {
			at = items
			continue
		}
		at = lookup(at, "properties", step)
	}
	properties, _ := deref(document, at)["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

func kindOf(document *tree) string {
	if document.get("kind").text() == "WorkspaceSet" {
		return "WorkspaceSet"
	}
	return "Workspace"
}

func lookup(at map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		at, _ = at[key].(map[string]any)
	}
	return at
}

func deref(document, at map[string]any) map[string]any {
	if ref, ok := at["$ref"].(string); ok {
		return lookup(document, "$defs", strings.TrimPrefix(ref, "#/$defs/"))
	}
	return at
}

// maxDistance is how many letters may be wrong in a word that is meant to be
// another.
const maxDistance = 3

// suggest names the allowed word that is nearest, or a few allowed words.
func suggest(word string, allowed []string) string {
	best, distance := "", maxDistance+1
	for _, candidate := range allowed {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(candidate), nil)
		if d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(allowed) == 0 {
		return "take it out"
	}
	return "it can have " + strings.Join(allowed, ", ")
}

func texts(values []any) []string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return words
}
