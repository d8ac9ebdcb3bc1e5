package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Pos is a place in a file. Line and Col count from 1; a zero Line means the
// file as a whole.
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

// Error is one error of one file: where, what, and what to do about it.
type Error struct {
	Pos  Pos
	Msg  string
	Hint string

	// Workspaces have the error; none when it is not of workspaces. Host is the only
	// host that they are for, "" when that is not known.
	Workspaces []string
	Host       string

	// Several is the message when several workspaces have the error for one cause,
	// with %s for their names. It is "" when each has a cause of its own.
	Several string
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

// oneLine replaces the characters of a text that would break a line or a
// terminal: the names of files and keys may contain any character.
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

// Errors are all the errors of an input, reported together.
type Errors []Error

// Add appends an error. The hint says what to do and may be empty.
func (e *Errors) Add(pos Pos, hint, format string, args ...any) {
	*e = append(*e, Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// Err returns the errors as Sorted does, or nil when there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e.Sorted()
}

// Sorted are the errors in the order of their places, one for each cause: an error
// in the defaults of a set is found with every workspace.
func (e Errors) Sorted() Errors {
	type cause struct {
		pos       Pos
		msg, hint string
	}
	first := map[cause]int{}
	var sorted Errors
	for _, err := range e {
		key := cause{err.Pos, err.Msg, err.Hint}
		if err.Several != "" {
			key = cause{msg: err.Several, hint: err.Hint}
		}
		i, found := first[key]
		if !found {
			first[key] = len(sorted)
			sorted = append(sorted, err)
			continue
		}
		sorted[i].join(err)
	}
	slices.SortStableFunc(sorted, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
		)
	})
	return sorted
}

// join adds the workspaces of an error that has the same cause.
func (e *Error) join(o Error) {
	if o.Host != e.Host {
		e.Host = ""
	}
	e.Workspaces = slices.Compact(slices.Sorted(slices.Values(slices.Concat(e.Workspaces, o.Workspaces))))
	if e.Several != "" && len(e.Workspaces) > 1 {
		e.Msg = fmt.Sprintf(e.Several, Names(e.Workspaces))
	}
}

// maxNames is how many names a message lists.
const maxNames = 8

// Names is a list of names as a message has it.
func Names(all []string) string {
	if more := len(all) - maxNames; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNames], ", "), more)
	}
	return strings.Join(all, ", ")
}

// Error is one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}
