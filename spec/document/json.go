package document

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// isJSON reports whether a file is one object or list of JSON. Nearly all of JSON is
// YAML, but the YAML decoder refuses "\ud83d\ude00", which many programs write for
// characters beyond 16 bits, and takes some characters in texts for line breaks.
func isJSON(content []byte) bool {
	start := bytes.TrimLeft(content, " \t\r\n")
	return len(start) > 0 && (start[0] == '{' || start[0] == '[') && json.Valid(content) && utf8.Valid(content)
}

// jsonReader turns JSON into what the YAML decoder would give for it.
type jsonReader struct {
	content []byte
	tokens  *json.Decoder
	offset  int // up to which line and column are counted
	line    int
	column  int
}

// onceJSON gives the one document of content that isJSON.
func onceJSON(content []byte) func(*yaml.Node) error {
	r := jsonReader{content: content, tokens: json.NewDecoder(bytes.NewReader(content)), line: 1, column: 1}
	r.tokens.UseNumber()
	return func(into *yaml.Node) error {
		if !r.tokens.More() {
			return io.EOF
		}
		node, err := r.value()
		if err == nil {
			*into = *node
		}
		return err
	}
}

// integer is a number of JSON without a fraction or an exponent.
var integer = regexp.MustCompile(`^-?[0-9]+$`)

// value reads the next value, and all that is in it.
func (r *jsonReader) value() (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	r.place(n)
	token, err := r.tokens.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		n.Kind = yaml.MappingNode
		if token == '[' {
			n.Kind = yaml.SequenceNode
		}
		return n, r.below(n)
	case string:
		n.Tag, n.Value, n.Style = "!!str", token, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", token.String()
		if integer.MatchString(n.Value) {
			n.Tag = "!!int"
		}
	case bool:
		n.Tag, n.Value = "!!bool", "false"
		if token {
			n.Value = "true"
		}
	default:
		n.Tag = "!!null"
	}
	return n, nil
}

// below reads what an object or a list has: keys and values in turn, or values.
func (r *jsonReader) below(n *yaml.Node) error {
	for r.tokens.More() {
		value, err := r.value()
		if err != nil {
			return err
		}
		n.Content = append(n.Content, value)
	}
	_, err := r.tokens.Token() // the bracket that ends it
	return err
}

// place sets the place of the next token.
func (r *jsonReader) place(n *yaml.Node) {
	start := int(r.tokens.InputOffset())
	start += len(r.content[start:]) - len(bytes.TrimLeft(r.content[start:], " \t\r\n,:"))
	for _, char := range string(r.content[r.offset:start]) {
		if r.column++; char == '\n' {
			r.line, r.column = r.line+1, 1
		}
	}
	r.offset = start
	n.Line, n.Column = r.line, r.column
}
