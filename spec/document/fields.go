package document

import (
	"strconv"
	"strings"
)

// Places are the places of the fields of an object, by path, for example
// "network.mode" or "devices[0]"; "" is the object itself.
type Places map[string]Pos

// At is the place of a field, or of its nearest parent that is written.
func (p Places) At(path string) Pos {
	for {
		if pos, ok := p[path]; ok || path == "" {
			return pos
		}
		path = parent(path)
	}
}

// parent is the path of what a field is in.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// Fields are the fields of an object while they are checked: where each stands,
// and which have an error.
type Fields struct {
	Places Places
	errs   *Errors
	wrong  map[string]bool
}

// NewFields are no fields yet. Errors are added to errs.
func NewFields(errs *Errors) Fields {
	return Fields{Places: Places{}, errs: errs, wrong: map[string]bool{}}
}

// Add adds a value and all values below it, at a path.
func (f Fields) Add(path string, value *Node) {
	f.Places[path] = value.at
	if value.wrong {
		f.wrong[path] = true
	}
	for key, field := range value.fields {
		below := key
		if path != "" {
			below = path + "." + key
		}
		f.Add(below, field)
	}
	for i, item := range value.items {
		f.Add(path+"["+strconv.Itoa(i)+"]", item)
	}
}

// Wrong reports whether a field, or one that it is in, has an error.
func (f Fields) Wrong(path string) bool {
	for ; path != ""; path = parent(path) {
		if f.wrong[path] {
			return true
		}
	}
	return f.wrong[""]
}

// Written reports whether a field is written.
func (f Fields) Written(path string) bool {
	_, written := f.Places[path]
	return written
}

// Report adds an error of a field, unless the field has one already.
func (f Fields) Report(path, hint, format string, args ...any) {
	if !f.Wrong(path) {
		f.errs.Add(f.Places.At(path), hint, format, args...)
		f.wrong[path] = true
	}
}
