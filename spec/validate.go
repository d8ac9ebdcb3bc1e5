package spec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// valid checks a document against the schema and puts each fault into words.
// Values that break the schema are marked as broken, so that the rest can be
// looked at. It is false when nothing can be said of the rest.
func (c contract) valid(document *tree, faults *Errors) bool {
	if document.object && document.get("apiVersion") == nil && document.get("kind") == nil {
		faults.Add(document.at, "begin it with apiVersion: carrel/v1 and kind: "+c.kinds[0], "this document is no %s", c.what)
		return false
	}
	document.forget(c.of(document))
	known := slices.Contains(c.kinds, document.get("kind").text())
	var invalid *jsonschema.ValidationError
	err := c.compiled.Validate(document.value())
	if !errors.As(err, &invalid) {
		return known
	}
	leaves(invalid, func(leaf *jsonschema.ValidationError) {
		t, path := document.walk(leaf.InstanceLocation)
		if t.broken || !known && !ofEnvelope(leaf) {
			return
		}
		explain(fault{c, document, t, path, leaf.InstanceLocation}, leaf.ErrorKind, faults)
	})
	return known
}

// ofEnvelope reports whether a fault can be told without knowing what kind of
// document it is in.
func ofEnvelope(leaf *jsonschema.ValidationError) bool {
	switch len(leaf.InstanceLocation) {
	case 0:
		if missing, ok := leaf.ErrorKind.(*kind.Required); ok {
			missing.Missing = slices.DeleteFunc(missing.Missing, func(key string) bool { return key == "metadata" || key == "spec" })
			return true
		}
		_, ok := leaf.ErrorKind.(*kind.Type)
		return ok
	case 1:
		return leaf.InstanceLocation[0] == "apiVersion" || leaf.InstanceLocation[0] == "kind"
	}
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
	contract
	document *tree
	value    *tree
	path     string
	location []string
}

// explain says in the words of a person how a document breaks its schema, and
// marks what is broken.
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
			delete(f.value.fields, key)
		}
		return
	case *kind.Required:
		for _, key := range k.Missing {
			faults.Add(at, "add it", "%s has no %s", name, key)
			f.value.fields[key] = &tree{at: at, broken: true}
		}
		return
	}
	f.value.broken = true
	switch k := broken.(type) {
	case *kind.Type:
		faults.Add(at, typeHint(f, k), "%s is %s, and must be %s", name, got(k.Got), article(strings.Join(k.Want, " or ")))
	case *kind.Enum:
		allowed := texts(k.Want)
		faults.Add(at, nearest(f.value.raw, allowed), "%s is %s, and must be one of %s", name, written(k.Got), strings.Join(allowed, ", "))
	case *kind.Const:
		faults.Add(at, fmt.Sprintf("write %v", k.Want), "%s is %s, and must be %q", name, written(k.Got), fmt.Sprint(k.Want))
	case *kind.Pattern:
		faults.Add(at, patternHint(f), "%s is %q", name, unassigned(name, k.Got))
	case *kind.MinLength:
		faults.Add(at, "fill it in, or take it out", "%s is empty", name)
	case *kind.MaxLength:
		faults.Add(at, "shorten it", "%s has %d characters, and must have at most %d", name, k.Got, k.Want)
	case *kind.Minimum:
		faults.Add(at, "", "%s must be at least %s", name, k.Want.RatString())
	case *kind.Maximum:
		faults.Add(at, "", "%s must be at most %s", name, k.Want.RatString())
	default:
		faults.Add(at, "", "%s: does not fit the schema at %s", name, strings.Join(broken.KeywordPath(), "/"))
	}
}

// written is a value in a message: a scalar, or only what it is.
func written(value any) string {
	switch value.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	}
	return strconv.Quote(fmt.Sprint(value))
}

// typeHint says how to write a value so that YAML reads it as what is wanted.
func typeHint(f fault, k *kind.Type) string {
	field := ""
	if len(f.location) > 0 {
		field = f.location[len(f.location)-1]
	}
	wants := func(kind string) bool { return slices.Contains(k.Want, kind) }
	scalar := k.Got == "string" || k.Got == "number" || k.Got == "boolean"
	switch {
	case field == "gracePeriod":
		return `write a time such as "10s"`
	case field == "signal":
		return "write a name such as SIGTERM or SIGINT"
	case wants("string") && scalar:
		return "put it in quotes"
	case wants("boolean") && f.value.quoted && (f.value.raw == "true" || f.value.raw == "false"):
		return "take the quotes away"
	case wants("boolean"):
		return "write true or false"
	case wants("array") && scalar:
		return "write a list: [a, b]"
	case wants("integer") && f.value.quoted && decimal.MatchString(f.value.raw):
		return "take the quotes away"
	case wants("integer") && !wants("string"):
		return "write a whole number"
	case wants("array"):
		return "begin each item with a dash"
	case wants("object") && len(f.location) > 0:
		return "write fields below it"
	}
	return ""
}

// patternHint says what a value with a pattern must look like.
func patternHint(f fault) string {
	last := f.location[len(f.location)-1]
	switch last {
	case "dataPath", "workingDir", "source", "target", "path":
		return "write an absolute path, which begins with /"
	case "host":
		return "a host's name has lower-case letters, digits and dashes, in parts with dots between them"
	}
	if slices.Contains(f.location, "env") {
		return "a variable's name has letters, digits and _, and does not begin with a digit"
	}
	return "a name has lower-case letters, digits and dashes, and begins and ends with a letter or digit"
}

func got(kind string) string {
	if kind == "boolean" {
		return "a boolean"
	}
	return article(kind)
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

// maxDistance is how many letters may be wrong in a word that is meant to be
// another.
const maxDistance = 3

// nearest asks whether the allowed word that is nearest was meant; it is empty
// when none is near.
func nearest(word string, allowed []string) string {
	best, distance := "", maxDistance+1
	for _, candidate := range allowed {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(candidate), nil)
		if d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// suggest names the allowed key that is nearest, or all of them.
func suggest(key string, allowed []string) string {
	if meant := nearest(key, allowed); meant != "" {
		return meant
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

// unassigned is the name of a variable without what was assigned to it in the
// same word: that may be a secret.
func unassigned(field, value string) string {
	name, _, assigned := strings.Cut(value, "=")
	if assigned && strings.Contains(field, "env[") {
		return name + "=..."
	}
	return value
}
