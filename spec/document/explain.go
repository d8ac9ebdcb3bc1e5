package document

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Check checks a document against the schema and reports each error in a
// person's words. A value with an error counts as null from then on, so that the
// other values can be used. It is false for a document of an unknown kind.
func (s Schema) Check(document *Node, errs *Errors) bool {
	if document.object && document.Get("apiVersion") == nil && document.Get("kind") == nil {
		errs.Add(document.at, "begin it with apiVersion: carrel/v1 and kind: "+s.kinds[0], "this document is not a %s", s.what)
		return false
	}
	document.dropNulls(s.of(document))
	known := slices.Contains(s.kinds, document.Get("kind").Text())
	var invalid *jsonschema.ValidationError
	err := s.compiled[s.kind(document)].Validate(document.value())
	if !errors.As(err, &invalid) {
		return known
	}
	leaves(invalid, func(leaf *jsonschema.ValidationError) {
		t, path := document.walk(leaf.InstanceLocation)
		if t.wrong || !known && !ofEnvelope(leaf) {
			return
		}
		explain(violation{s, document, t, path, leaf.InstanceLocation}, leaf.ErrorKind, errs)
	})
	return known
}

// ofEnvelope reports whether a violation concerns the fields that documents of
// all kinds have.
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

// walk is the value at a location of the schema validator, and its path as a
// person writes it.
func (t *Node) walk(location []string) (*Node, string) {
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

// violation is a value that violates the schema of its document.
type violation struct {
	schema   Schema
	document *Node
	value    *Node
	path     string   // of the value, as a person writes it
	location []string // of the value, as the schema validator has it
}

// explain reports a violation in a person's words.
func explain(v violation, why jsonschema.ErrorKind, errs *Errors) {
	at := v.value.at
	name := v.path
	if name == "" {
		name = "the document"
	}
	switch k := why.(type) {
	case *kind.AdditionalProperties:
		allowed := allowedKeys(v)
		for _, key := range k.Properties {
			errs.Add(v.value.fields[key].key, v.suggest(key, allowed), "unknown field %q in %s", key, name)
			delete(v.value.fields, key)
		}
		return
	case *kind.Required:
		for _, key := range k.Missing {
			errs.Add(at, "add it", "%s has no %s", name, key)
			v.value.fields[key] = &Node{at: at, wrong: true}
		}
		return
	}
	v.value.wrong = true
	switch k := why.(type) {
	case *kind.Type:
		errs.Add(at, typeHint(v, k), "%s is %s, and must be %s", name, got(k.Got), article(strings.Join(k.Want, " or ")))
	case *kind.Enum:
		allowed := texts(k.Want)
		errs.Add(at, nearest(v.value.raw, allowed), "%s is %s, and must be one of %s", name, written(k.Got), strings.Join(allowed, ", "))
	case *kind.Const:
		if kinds := v.schema.kinds; v.path == "kind" && len(kinds) > 1 {
			errs.Add(at, nearest(v.value.raw, kinds), "%s is %s, and must be one of %s", name, written(k.Got), strings.Join(kinds, ", "))
			return
		}
		errs.Add(at, fmt.Sprintf("write %v", k.Want), "%s is %s, and must be %q", name, written(k.Got), fmt.Sprint(k.Want))
	case *kind.Pattern:
		errs.Add(at, patternHint(v), "%s is %q", name, unassigned(name, k.Got))
	case *kind.Not:
		errs.Add(at, "choose another", "%s is %q, which is reserved", name, v.value.raw)
	case *kind.MinLength:
		errs.Add(at, "fill it in, or take it out", "%s is empty", name)
	case *kind.MaxLength:
		errs.Add(at, "shorten it", "%s has %d characters, and must have at most %d", name, k.Got, k.Want)
	case *kind.Minimum:
		errs.Add(at, "", "%s must be at least %s", name, k.Want.RatString())
	case *kind.Maximum:
		errs.Add(at, "", "%s must be at most %s", name, k.Want.RatString())
	default:
		errs.Add(at, "", "%s: does not fit the schema at %s", name, strings.Join(why.KeywordPath(), "/"))
	}
}

// written is a value in a message: a scalar itself, or what else it is.
func written(value any) string {
	switch value.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	}
	return strconv.Quote(fmt.Sprint(value))
}

// typeHint says how to write a value so that YAML reads it as the right type.
func typeHint(v violation, k *kind.Type) string {
	field := ""
	if len(v.location) > 0 {
		field = v.location[len(v.location)-1]
	}
	wants := func(kind string) bool { return slices.Contains(k.Want, kind) }
	scalar := k.Got == "string" || k.Got == "number" || k.Got == "boolean"
	if hint := v.hint(v.path + ": " + k.Got); hint != "" {
		return hint
	}
	switch {
	case field == "gracePeriod":
		return `write a time such as "10s"`
	case field == "signal":
		return "write a name such as SIGTERM or SIGINT"
	case wants("string") && scalar:
		return "put it in quotes"
	case wants("boolean") && v.value.quoted && (v.value.raw == "true" || v.value.raw == "false"):
		return "take the quotes away"
	case wants("boolean"):
		return "write true or false"
	case wants("array") && scalar:
		return "write a list: [a, b]"
	case wants("integer") && v.value.quoted && decimal.MatchString(v.value.raw):
		return "take the quotes away"
	case wants("integer") && !wants("string"):
		return "write a whole number"
	case wants("array"):
		return "begin each item with a dash"
	case wants("object") && len(v.location) > 0:
		return "write fields below it"
	}
	return ""
}

// patternHint says what a value with a pattern must look like.
func patternHint(v violation) string {
	last := v.location[len(v.location)-1]
	switch last {
	case "dataPath", "workingDir", "source", "target", "path":
		return "write an absolute path, which begins with /"
	case "host":
		return "a host's name has lower-case letters, digits and dashes, in parts with dots between them"
	}
	if slices.Contains(v.location, "env") {
		return "a variable's name has letters, digits and _, and does not begin with a digit"
	}
	if last == "name" && strings.Contains(v.value.raw, "--") {
		return "a name has single dashes, between letters or digits"
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

// maxDistance is how many letters may differ between a word and the one that was
// meant.
const maxDistance = 3

// nearest asks whether the most similar allowed word was meant; it is empty when
// none is similar.
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

// suggest says what to write instead of an unknown key: what the schema's hints
// say, the same key where there is one, the most similar allowed key, or all that
// are allowed.
func (v violation) suggest(key string, allowed []string) string {
	if hint := v.hint(strings.TrimPrefix(v.path+"."+key, ".")); hint != "" {
		return hint
	}
	if path := v.elsewhere(key); path != "" {
		return "write it as " + path
	}
	if meant := nearest(key, allowed); meant != "" {
		return meant
	}
	return "it can have " + strings.Join(allowed, ", ")
}

// index is the index of a list in a path.
var index = regexp.MustCompile(`\[\d+\]`)

// hint is what the schema's hints say, if it has any.
func (v violation) hint(what string) string {
	if v.schema.Hint == nil {
		return ""
	}
	return v.schema.Hint(index.ReplaceAllString(what, "[]"))
}

func texts(values []any) []string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return words
}

// unassigned hides what is assigned to a variable in its name, as in "A=secret".
func unassigned(field, value string) string {
	name, _, assigned := strings.Cut(value, "=")
	if assigned && strings.Contains(field, "env[") {
		return name + "=..."
	}
	return value
}
