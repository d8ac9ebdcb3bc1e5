package document_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec/document"
)

var schema = document.NewSchema("note", []byte(`{
	"$defs": {"Note": {
		"type": "object", "required": ["apiVersion", "kind"],
		"properties": {"apiVersion": {}, "kind": {"const": "Note"}, "size": {"type": "integer"}, "text": {"type": ["string", "number"]}, "more": {"type": "object"}}
	}}
}`), "Note")

const head = "apiVersion: v1\nkind: Note\n"

func read(t *testing.T, text string) (all []*document.Node, errs document.Errors) {
	t.Helper()
	all, complete := document.Parse("a.yaml", []byte(text), &errs)
	if !complete {
		t.Error("there may be more documents")
	}
	for _, d := range all {
		schema.Check(d, &errs)
	}
	return all, errs
}

// All errors of all documents are found, each in the order of its place and once.
func TestErrors(t *testing.T) {
	_, errs := read(t, head+"size: big\n---\n# empty\n---\na: b\n---\n"+head+"size: '1'\n")
	errs = append(errs, errs[0])
	want := `a.yaml:3:7: size is a string, and must be a whole number (write a whole number)
a.yaml:7:1: this document is not a note (begin it with apiVersion: carrel/v1 and kind: Note)
a.yaml:11:7: size is a string, and must be a whole number (take the quotes away)`
	if diff := cmp.Diff(want, errs.Err().Error()); diff != "" {
		t.Error(diff)
	}
	if err := (document.Errors{}).Err(); err != nil {
		t.Error(err)
	}
}

// The decoder stops at its first error: there may be more documents.
func TestIncomplete(t *testing.T) {
	var errs document.Errors
	all, complete := document.Parse("a.yaml", []byte(head+"---\na: {\n---\n"+head), &errs)
	if complete || len(all) != 1 || len(errs) != 1 {
		t.Error(complete, all, errs)
	}
}

// Defaults fill what is not written, and keep their places. A value with an error
// is left out.
func TestOver(t *testing.T) {
	all, errs := read(t, head+"size: 1\ntext: 1.50\nmore: {a: 1, b: [1]}\n---\n"+head+"size: no\nmore: {a: 2, c: 3}\n")
	if len(errs) != 1 {
		t.Fatal(errs)
	}
	merged := all[1].Over(all[0])
	if text, ok := merged.Get("text").AsText(); text != "1.50" || !ok {
		t.Errorf("the text is %q", text)
	}
	var got map[string]any
	if err := merged.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"apiVersion": "v1", "kind": "Note", "size": nil, "text": "1.50",
		"more": map[string]any{"a": 2.0, "b": []any{1.0}, "c": 3.0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if at := merged.Get("more", "b").At().String(); at != "a.yaml:5:17" {
		t.Errorf("b stands at %s", at)
	}
	again, _ := read(t, "# a comment\n"+head+"text: '1.50'\nsize: 1\nmore: {b: [1], a: 1}\n")
	if all[0].Equal(all[1]) || !all[0].Equal(again[0]) {
		t.Error("values are not compared by what they say")
	}
}

// Errors with one cause are one: the same error at the same place, and those that
// have a message for several workspaces.
func TestSortedJoinsOneCause(t *testing.T) {
	at := func(line int) document.Pos { return document.Pos{File: "a.yaml", Line: line, Col: 1} }
	var errs document.Errors
	for i, name := range []string{"b", "a", "c"} {
		errs = append(errs,
			document.Error{Pos: at(9), Msg: "the default is wrong", Workspaces: []string{name}, Host: "h"},
			document.Error{Pos: at(3 - i), Msg: name + " is not here", Several: "%s are not here", Hint: "bring them", Workspaces: []string{name}, Host: name},
		)
	}
	errs.Add(at(5), "", "alone")
	got := errs.Sorted()
	want := document.Errors{
		{Pos: at(3), Msg: "a, b, c are not here", Several: "%s are not here", Hint: "bring them", Workspaces: []string{"a", "b", "c"}},
		{Pos: at(5), Msg: "alone"},
		{Pos: at(9), Msg: "the default is wrong", Workspaces: []string{"a", "b", "c"}, Host: "h"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, got.Sorted()); diff != "" {
		t.Errorf("sorted again (-once +twice):\n%s", diff)
	}
	if got := document.Names(strings.Fields("a b c d e f g h i j")); got != "a, b, c, d, e, f, g, h and 2 more" {
		t.Errorf("names: %s", got)
	}
}

// A field has at most one error, and none when it is in one that has.
func TestReport(t *testing.T) {
	all, errs := read(t, head+"size: no\nmore: {a: {b: 1}, c: [1, 2]}\n")
	fields := document.NewFields(&errs)
	fields.Add("", all[0])
	for _, path := range []string{"size", "more.a", "more.a", "more.a.b", "more.ab", "more.c[1]", "more.c[1].x", "more.c[0].y"} {
		fields.Report(path, "", "%s", path)
	}
	want := `a.yaml:3:7: size is a string, and must be a whole number (write a whole number)
a.yaml:4:7: more.ab
a.yaml:4:11: more.a
a.yaml:4:23: more.c[0].y
a.yaml:4:26: more.c[1]`
	if diff := cmp.Diff(want, errs.Err().Error()); diff != "" {
		t.Error(diff)
	}
}

// What no YAML has is reported at its place, before anything else is read.
func TestCharacters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: b\nc: \xff\n", "a.yaml:2:4: not valid UTF-8: the byte 0xff (save the file as UTF-8)"},
		{"\u00e9\u20ac: \xe2\x82\n", "a.yaml:1:5: not valid UTF-8: the byte 0xe2 (save the file as UTF-8)"},
		{"a: \x1b[0m", `a.yaml:1:4: not valid YAML: the control character U+001B (take it out, or write it in double quotes, such as "\x1b")`},
		{"# \x00\n", `a.yaml:1:3: not valid YAML: the control character U+0000 (take it out, or write it in double quotes, such as "\x1b")`},
		{"a: b\r\nc: \u0080\r\n", `a.yaml:2:4: not valid YAML: the control character U+0080 (take it out, or write it in double quotes, such as "\x1b")`},
		{head + "text: \"\\x1b\"\n", ""},
		{head + "text: \"\\x1b \\0\"\n", "a.yaml:3:7: this text has a NUL byte, which no path, argument or variable can have (take it out)"},
		{"\ufeff" + head, ""},
		{"\xff\xfea\x00:\x00 \x001\x00", "a.yaml:1:1: this document is not a note (begin it with apiVersion: carrel/v1 and kind: Note)"},
	} {
		var errs document.Errors
		all, _ := document.Parse("a.yaml", []byte(c.text), &errs)
		for _, d := range all {
			schema.Check(d, &errs)
		}
		if diff := cmp.Diff(c.want, errs.Error()); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
	}
}
