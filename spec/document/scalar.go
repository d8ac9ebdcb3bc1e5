package document

import (
	"math"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decimal is a whole number that every YAML reader understands the same way:
// some read 0777 as octal.
var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

// scalar reads a value that is neither an object nor a list. No message contains
// what is written: it may be a secret.
func (r *reader) scalar(n *yaml.Node, at Pos) *Node {
	t := &Node{at: at, raw: n.Value, quoted: n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0}
	wrong := func(hint, what string) *Node {
		t.Reject(r.errs, hint, "%s", what)
		return t
	}
	if strings.ContainsRune(n.Value, 0) {
		return wrong("take it out", "this text has a NUL byte, which no path, argument or variable can have")
	}
	switch n.Tag {
	case "!!null":
		t.null = true
	case "!!bool":
		var truth bool
		if err := n.Decode(&truth); err != nil {
			return wrong("write true or false, without a tag", "this is neither true nor false")
		}
		t.scalar = truth
	case "!!int":
		var whole int64
		if err := n.Decode(&whole); err != nil && n.Style&yaml.TaggedStyle != 0 {
			return wrong("take the tag !!int out", "this is no whole number")
		} else if err != nil {
			return wrong("put it in quotes, if it is a text", "this number is too large")
		}
		if !decimal.MatchString(n.Value) {
			return wrong("put it in quotes, or write it without the 0 at its front", "this number can be read in two ways")
		}
		t.scalar = whole
	case "!!float":
		var number float64
		if err := n.Decode(&number); err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			return wrong("put it in quotes, if it is a text", "not a number that can be used")
		}
		t.scalar = number
	case "!!str", "!!timestamp", "!!merge", "!", "":
		t.scalar = n.Value
	default:
		return wrong("take the tag out", "a tag (!) that specs do not have")
	}
	return t
}
