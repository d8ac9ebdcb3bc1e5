package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// The bounds of a document. What aliases stand for is counted, so that a small
// file cannot grow without end.
const (
	maxDepth   = 64
	maxAliased = 10_000 // values; each KiB of a text counts as one more
)

// Node is a value of a YAML document, with its place. It is what JSON can
// express: an object, a list, or a scalar. The methods accept a nil Node, which
// is a value that is not written.
//
// Documents share no nodes: the value of an alias is read again for each alias.
type Node struct {
	at     Pos // of the value
	key    Pos // of the key, in an object
	fields map[string]*Node
	items  []*Node
	scalar any    // a string, int64, float64 or bool, when it is neither
	raw    string // a scalar as it is written, without quotes
	object bool
	list   bool
	quoted bool
	null   bool
	wrong  bool // its error is reported: it counts as written, and as null
}

// reader turns the documents of one file into nodes.
type reader struct {
	file    string
	errs    *Errors
	aliased int  // nodes that were read for aliases
	endless bool // the document exceeds a bound
	gaveUp  bool // there may be more documents than were read
}

// Parse reads the documents of a file that are not empty. Not complete means
// that there may be more of them: the YAML decoder stops at its first error.
func Parse(file string, content []byte, errs *Errors) (documents []*Node, complete bool) {
	r := reader{file: file, errs: errs}
	documents = r.documents(content)
	return documents, !r.gaveUp
}

func (r *reader) documents(content []byte) []*Node {
	if !isJSON(content) && !r.readable(content) {
		return nil
	}
	var all []*Node
	for next := decoder(content); ; {
		var node yaml.Node
		err := next(&node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			r.gaveUp = true
			r.syntax(err, content)
			return all
		}
		t := r.node(&node, 0, false)
		if r.endless {
			r.gaveUp = true
			return all
		}
		if !t.null {
			all = append(all, t)
		}
	}
}

// decoder gives one document after the other. It turns a panic of the YAML decoder
// into an error: no input may end the program.
func decoder(content []byte) func(*yaml.Node) error {
	if isJSON(content) {
		return onceJSON(content)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(asYAML11(content)))
	return func(node *yaml.Node) (err error) {
		defer func() {
			if caught := recover(); caught != nil {
				err = fmt.Errorf("yaml: %v", caught)
			}
		}()
		return decoder.Decode(node)
	}
}

// node reads one value.
func (r *reader) node(n *yaml.Node, depth int, aliased bool) *Node {
	at := Pos{r.file, n.Line, n.Column}
	if aliased {
		r.aliased += 1 + len(n.Value)>>10
	}
	if depth > maxDepth || r.aliased > maxAliased {
		if !r.endless {
			r.errs.Add(at, "write it without so many levels or aliases", "nested too deep, or its aliases stand for too much")
		}
		r.endless = true
	}
	if r.endless {
		return &Node{at: at, wrong: true}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.node(n.Content[0], depth+1, aliased)
	case yaml.AliasNode:
		t := r.node(n.Alias, depth+1, true)
		t.at = at
		return t
	case yaml.MappingNode:
		return r.object(n, at, depth, aliased)
	case yaml.SequenceNode:
		t := &Node{at: at, list: true}
		for _, item := range n.Content {
			value := r.node(item, depth+1, aliased)
			if value.null {
				r.errs.Add(value.at, "take it out", "an empty item in a list")
				value.wrong = true
			}
			t.items = append(t.items, value)
		}
		return t
	case yaml.ScalarNode:
		return r.scalar(n, at)
	}
	return &Node{at: at, null: true}
}

func (r *reader) object(n *yaml.Node, at Pos, depth int, aliased bool) *Node {
	t := &Node{at: at, object: true, fields: make(map[string]*Node, len(n.Content)/2)}
	first := make(map[string]Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, keyAt := n.Content[i], Pos{r.file, n.Content[i].Line, n.Content[i].Column}
		value := r.node(n.Content[i+1], depth+1, aliased)
		if key.Tag == "!!merge" {
			if !t.inherit(value) {
				r.errs.Add(value.at, "write an alias (*) to an object, or a list of them", "<< takes in what is no object")
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			r.errs.Add(keyAt, "", "a key must be a word")
			continue
		}
		if before, twice := first[key.Value]; twice {
			r.errs.Add(keyAt, "keep one of them", "key %q is here twice, first at %s", key.Value, before)
			continue
		}
		first[key.Value] = keyAt
		value.key = keyAt
		t.fields[key.Value] = value
	}
	return t
}

// inherit adds the fields of a YAML merge key that the object does not have. It
// is false for what cannot be merged.
func (t *Node) inherit(from *Node) bool {
	for _, item := range from.items {
		if item.list || !t.inherit(item) {
			return false
		}
	}
	for key, value := range from.fields {
		if _, own := t.fields[key]; !own {
			t.fields[key] = value
		}
	}
	return from.object || from.list || from.wrong
}

// Over is the value with defaults for what it lacks: objects are merged field by
// field, any other value replaces its default. All values keep their places.
func (t *Node) Over(defaults *Node) *Node {
	if t == nil {
		return defaults
	}
	if defaults == nil || !t.object || !defaults.object {
		return t
	}
	merged := *t
	merged.fields = maps.Clone(defaults.fields)
	for key, own := range t.fields {
		merged.fields[key] = own.Over(defaults.fields[key])
	}
	return &merged
}

// At is the place of the value.
func (t *Node) At() Pos { return t.at }

// Get is the value at a path of keys, nil when it is not written.
func (t *Node) Get(keys ...string) *Node {
	for _, key := range keys {
		if t == nil {
			return nil
		}
		t = t.fields[key]
	}
	return t
}

// Items are the values of a list. It is not ok when the value is something else.
func (t *Node) Items() (items []*Node, ok bool) {
	if t == nil {
		return nil, false
	}
	return t.items, t.list
}

// Text is the value of a string, "" when it is something else.
func (t *Node) Text() string {
	if t == nil {
		return ""
	}
	s, _ := t.scalar.(string)
	return s
}

// AsText turns a scalar into the string that is written, which YAML may have
// read as a number. It is not ok when there is no value, or one with an error.
func (t *Node) AsText() (text string, ok bool) {
	if t == nil || t.wrong {
		return "", false
	}
	t.scalar = t.raw
	return t.raw, true
}

// Reject reports an error of the value, which then counts as null.
func (t *Node) Reject(errs *Errors, hint, format string, args ...any) {
	errs.Add(t.at, hint, format, args...)
	t.wrong = true
}

// Wrong reports whether an error of the value is reported.
func (t *Node) Wrong() bool { return t != nil && t.wrong }

// value is the value as JSON has it; one with an error is null there.
func (t *Node) value() any {
	switch {
	case t.wrong || t.null:
		return nil
	case t.object:
		object := make(map[string]any, len(t.fields))
		for key, field := range t.fields {
			object[key] = field.value()
		}
		return object
	case t.list:
		list := make([]any, len(t.items))
		for i, item := range t.items {
			list[i] = item.value()
		}
		return list
	}
	return t.scalar
}

// Equal reports whether two values say the same.
func (t *Node) Equal(o *Node) bool {
	return t == o || t != nil && o != nil && reflect.DeepEqual(t.value(), o.value())
}

// Decode fills a Go value. A value with an error is left out.
func (t *Node) Decode(into any) error {
	text, err := json.Marshal(t.value())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// Places adds the places of the value and of all values below it.
func (t *Node) Places(into map[Pos]bool) {
	into[t.at] = true
	for _, field := range t.fields {
		field.Places(into)
	}
	for _, item := range t.items {
		item.Places(into)
	}
}

// dropNulls removes the fields that are written without a value, where the schema
// has the key: they count as not written. Unknown keys stay, to be reported.
func (t *Node) dropNulls(known part) {
	for key, field := range t.fields {
		below, ok := known.field(key)
		if field.null && ok {
			delete(t.fields, key)
		} else {
			field.dropNulls(below)
		}
	}
	for _, item := range t.items {
		item.dropNulls(known.item())
	}
}
