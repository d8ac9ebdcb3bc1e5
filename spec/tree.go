package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"

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
type tree struct {
	at     Pos // of the value
	key    Pos // of the key, in an object
	fields map[string]*tree
	items  []*tree
	scalar any // a string, int64, float64 or bool, when it is neither
	object bool
	list   bool
}

// reader turns the documents of one file into trees.
type reader struct {
	file    string
	faults  *Errors
	aliased int
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?:found )?`)

// documents are the documents of a file that are not empty. The decoder of
// YAML gives up at its first fault.
func (r *reader) documents(content []byte) []*tree {
	var all []*tree
	for decoder := yaml.NewDecoder(strings.NewReader(string(content))); ; {
		var node yaml.Node
		err := decode(decoder, &node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			line := 0
			if match := yamlLine.FindStringSubmatch(err.Error()); match != nil {
				line, _ = strconv.Atoi(match[1]) // no number is line 0: the file as a whole
			}
			r.faults.Add(Pos{r.file, line, min(line, 1)}, "", "not valid YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
			return all
		}
		if t := r.tree(&node, 0, false); t != nil {
			all = append(all, t)
		}
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

// tree is the value of a node, nil for null and for what has a fault.
func (r *reader) tree(n *yaml.Node, depth int, aliased bool) *tree {
	at := Pos{r.file, n.Line, n.Column}
	if aliased {
		r.aliased++
	}
	if depth > maxDepth || r.aliased > maxAliased {
		if r.aliased <= maxAliased+1 {
			r.faults.Add(at, "write it without so many levels or aliases", "nested too deep, or its aliases stand for too much")
			r.aliased = maxAliased + 2
		}
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.tree(n.Content[0], depth+1, aliased)
	case yaml.AliasNode:
		t := r.tree(n.Alias, depth+1, true)
		if t != nil {
			t.at = at
		}
		return t
	case yaml.MappingNode:
		return r.object(n, at, depth, aliased)
	case yaml.SequenceNode:
		t := &tree{at: at, list: true}
		for _, item := range n.Content {
			if value := r.tree(item, depth+1, aliased); value != nil {
				t.items = append(t.items, value)
			} else {
				r.faults.Add(Pos{r.file, item.Line, item.Column}, "take it out", "an empty item in a list")
			}
		}
		return t
	case yaml.ScalarNode:
		return r.scalar(n, at)
	}
	return nil
}

func (r *reader) object(n *yaml.Node, at Pos, depth int, aliased bool) *tree {
	t := &tree{at: at, object: true, fields: map[string]*tree{}}
	first := map[string]Pos{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, keyAt := n.Content[i], Pos{r.file, n.Content[i].Line, n.Content[i].Column}
		value := r.tree(n.Content[i+1], depth+1, aliased)
		if key.Tag == "!!merge" {
			t.inherit(value)
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
		if value != nil {
			value.key = keyAt
			t.fields[key.Value] = value
		} else {
			delete(t.fields, key.Value)
		}
	}
	return t
}

// inherit adds the fields of a YAML merge key that the object does not have.
func (t *tree) inherit(from *tree) {
	if from == nil {
		return
	}
	for _, item := range from.items {
		t.inherit(item)
	}
	for key, value := range from.fields {
		if _, own := t.fields[key]; !own {
			t.fields[key] = value
		}
	}
}

func (r *reader) scalar(n *yaml.Node, at Pos) *tree {
	t := &tree{at: at}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		t.scalar = strings.EqualFold(n.Value, "true")
	case "!!int":
		var whole int64
		if err := n.Decode(&whole); err != nil {
			r.faults.Add(at, "", "this number is too large")
			return nil
		}
		t.scalar = whole
	case "!!float":
		var number float64
		if err := n.Decode(&number); err != nil || number != number || number-number != 0 {
			r.faults.Add(at, "", "not a number that can be used")
			return nil
		}
		t.scalar = number
	default:
		t.scalar = n.Value
	}
	return t
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

// value is the tree as JSON has it.
func (t *tree) value() any {
	switch {
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

// places adds the place of the tree and of everything below it.
func (t *tree) places(path string, into map[string]Pos) {
	into[path] = t.at
	for key, field := range t.fields {
		field.places(strings.TrimPrefix(path+"."+key, "."), into)
	}
	for i, item := range t.items {
		item.places(fmt.Sprintf("%s[%d]", path, i), into)
	}
}
