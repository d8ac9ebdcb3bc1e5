package document

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
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

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?:found )?`)
	// In these messages the decoder counts lines from 0, in all others from 1.
	yamlParser = regexp.MustCompile(`did not find expected (node content|key|',' or|'-' indicator|<)`)
	yamlAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced`)
)

// syntax reports an error of the YAML decoder in a document that begins after a
// line. The name of an anchor is left out: it may be a secret without quotes.
func (r *reader) syntax(err error, content []byte, after int) {
	said := err.Error()
	if match := yamlAnchor.FindStringSubmatch(said); match != nil {
		r.errs.Add(r.alias(match[1], content, after), "put a value that begins with * in quotes", "not valid YAML: an alias (*) to nothing")
		return
	}
	line := 0
	if match := yamlLine.FindStringSubmatch(said); match != nil {
		line, _ = strconv.Atoi(match[1]) // no number is line 0: the file as a whole
	}
	if line > 0 && yamlParser.MatchString(said) {
		line++
	}
	r.errs.Add(Pos{r.file, line, min(line, 1)}, "", "not valid YAML: %s", yamlLine.ReplaceAllString(said, ""))
}

// alias finds the first alias with a name in the text, since the decoder does
// not say where it is.
func (r *reader) alias(name string, content []byte, after int) Pos {
	alias := regexp.MustCompile(`(?:^|[\s,\[{])(\*` + regexp.QuoteMeta(name) + `)(?:$|[\s,\]}])`)
	for i, line := range bytes.Split(content, []byte("\n")) {
		if at := alias.FindSubmatchIndex(line); at != nil && i+1 > after {
			return Pos{r.file, i + 1, utf8.RuneCount(line[:at[2]]) + 1}
		}
	}
	return Pos{File: r.file}
}

// lastLine is the last line on which a value of a document begins.
func lastLine(n *yaml.Node) int {
	line := n.Line
	for _, below := range n.Content {
		line = max(line, lastLine(below))
	}
	return line
}
