package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"

	"gopkg.in/yaml.v3"
)

// The bounds of a document. What aliases stand for is counted, so that a small
// file cannot grow without end.
const (
	maxDepth   = 64
	maxAliased = 10_000
)

// tree is a YAML document with the place of every value. It holds what JSON
// can hold: an object, a list, or a scalar.
//
// Trees are never shared between documents: what an alias stands for is read
// again for each alias.
type tree struct {
	at     Pos // of the value
	key    Pos // of the key, in an object
	fields map[string]*tree
	items  []*tree
	scalar any    // a string, int64, float64 or bool, when it is neither
	raw    string // a scalar as it is written, without quotes
	object bool
	list   bool
	quoted bool
	null   bool
	broken bool // its fault is reported: it counts as written, and as nothing
}

// reader turns the documents of one file into trees.
type reader struct {
	file    string
	faults  *Errors
	aliased int
	endless bool // the bounds of a document were passed
	gaveUp  bool // there may be more documents than were read
}

// documents are the documents of a file that are not empty. The decoder of
// YAML gives up at its first fault.
func (r *reader) documents(content []byte) []*tree {
	var all []*tree
	var last yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var node yaml.Node
		err := decode(decoder, &node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			r.gaveUp = true
			r.syntax(err, content, lastLine(&last))
			return all
		}
		t := r.tree(&node, 0, false)
		if r.endless {
			r.gaveUp = true
			return all
		}
		if !t.null {
			all = append(all, t)
		}
		last = node
	}
}

// decode guards against the decoder's own panics: no input may end the program.
func decode(decoder *yaml.Decoder, node *yaml.Node) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("yaml: %v", caught)
		}
	}()
	return decoder.Decode(node)
}

// tree is the value of a node.
func (r *reader) tree(n *yaml.Node, depth int, aliased bool) *tree {
	at := Pos{r.file, n.Line, n.Column}
	if aliased {
		r.aliased++
	}
	if depth > maxDepth || r.aliased > maxAliased {
		if !r.endless {
			r.faults.Add(at, "write it without so many levels or aliases", "nested too deep, or its aliases stand for too much")
		}
		r.endless = true
	}
	if r.endless {
		return &tree{at: at, broken: true}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.tree(n.Content[0], depth+1, aliased)
	case yaml.AliasNode:
		t := r.tree(n.Alias, depth+1, true)
		t.at = at
		return t
	case yaml.MappingNode:
		return r.object(n, at, depth, aliased)
	case yaml.SequenceNode:
		t := &tree{at: at, list: true}
		for _, item := range n.Content {
			value := r.tree(item, depth+1, aliased)
			if value.null {
				r.faults.Add(value.at, "take it out", "an empty item in a list")
				value.broken = true
			}
			t.items = append(t.items, value)
		}
		return t
	case yaml.ScalarNode:
		return r.scalar(n, at)
	}
	return &tree{at: at, null: true}
}

func (r *reader) object(n *yaml.Node, at Pos, depth int, aliased bool) *tree {
	t := &tree{at: at, object: true, fields: make(map[string]*tree, len(n.Content)/2)}
	first := make(map[string]Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, keyAt := n.Content[i], Pos{r.file, n.Content[i].Line, n.Content[i].Column}
		value := r.tree(n.Content[i+1], depth+1, aliased)
		if key.Tag == "!!merge" {
			if !t.inherit(value) {
				r.faults.Add(value.at, "write an alias (*) to an object, or a list of them", "<< takes in what is no object")
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			r.faults.Add(keyAt, "", "a key must be a word")
			continue
		}
		if before, twice := first[key.Value]; twice {
			r.faults.Add(keyAt, "keep one of them", "key %q is here twice, first at %s", key.Value, before)
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
func (t *tree) inherit(from *tree) bool {
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
	return from.object || from.list || from.broken
}

// under is the tree with defaults below it: objects are merged, everything
// else is its own where it has it. The places stay those of the values.
func (t *tree) under(defaults *tree) *tree {
	if t == nil || defaults == nil {
		if t == nil {
			return defaults
		}
		return t
	}
	if !t.object || !defaults.object {
		return t
	}
	merged := *t
	merged.fields = maps.Clone(defaults.fields)
	for key, own := range t.fields {
		merged.fields[key] = own.under(defaults.fields[key])
	}
	return &merged
}

// get is the value at a path of keys, nil when it is not there.
func (t *tree) get(keys ...string) *tree {
	for _, key := range keys {
		if t == nil {
			return nil
		}
		t = t.fields[key]
	}
	return t
}

// text is a scalar string, "" when it is something else.
func (t *tree) text() string {
	if t == nil {
		return ""
	}
	s, _ := t.scalar.(string)
	return s
}

// value is the tree as JSON has it; what is broken is null there.
func (t *tree) value() any {
	switch {
	case t.broken || t.null:
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

// decode fills a Go value from the tree.
func (t *tree) decode(into any) error {
	text, err := json.Marshal(t.value())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// places adds the place of the tree and of everything below it, and notes what
// is broken.
func (t *tree) places(path string, into map[string]Pos, broken map[string]bool) {
	into[path] = t.at
	if t.broken {
		broken[path] = true
	}
	for key, field := range t.fields {
		below := key
		if path != "" {
			below = path + "." + key
		}
		field.places(below, into, broken)
	}
	for i, item := range t.items {
		item.places(path+"["+strconv.Itoa(i)+"]", into, broken)
	}
}

// all adds the places of the tree and of everything below it.
func (t *tree) all(into map[Pos]bool) map[Pos]bool {
	into[t.at] = true
	for _, field := range t.fields {
		field.all(into)
	}
	for _, item := range t.items {
		item.all(into)
	}
	return into
}

// forget takes out what is written without a value, where the schema knows the
// key: it counts as not written. Unknown keys stay, to be reported.
func (t *tree) forget(known schemaNode) {
	for key, field := range t.fields {
		below, ok := known.field(key)
		if field.null && ok {
			delete(t.fields, key)
		} else {
			field.forget(below)
		}
	}
	for _, item := range t.items {
		item.forget(known.item())
	}
}
