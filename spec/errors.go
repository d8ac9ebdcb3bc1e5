package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Pos is a place in a spec file. Line and Col count from 1; a zero Line means
// the file as a whole.
type Pos struct {
	File string
	Line int
	Col  int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Error is one fault of one file: where, what, and what to do about it.
type Error struct {
	Pos  Pos
	Msg  string
	Hint string
}

func (e Error) Error() string {
	var b strings.Builder
	if e.Pos != (Pos{}) {
		b.WriteString(e.Pos.String())
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return oneLine(b.String())
}

// oneLine is a text without what would break a line or a terminal: names of
// files and keys may hold anything.
func oneLine(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, "\\x%02x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Errors are all the faults of an input, reported together.
type Errors []Error

// Add appends a fault. The hint says what to do and may be empty.
func (e *Errors) Add(pos Pos, hint, format string, args ...any) {
	*e = append(*e, Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// once drops faults that are there several times: one in the set's defaults is
// found with every workspace.
func (e *Errors) once() {
	seen := map[string]bool{}
	*e = slices.DeleteFunc(*e, func(fault Error) bool {
		text := fault.Error()
		twice := seen[text]
		seen[text] = true
		return twice
	})
}

// Err returns the faults in the order of their places, or nil when there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e.sorted()
}

func (e Errors) sorted() Errors {
	sorted := slices.Clone(e)
	slices.SortStableFunc(sorted, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
		)
	})
	return sorted
}

// Error is one line for each fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, fault := range e {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}
