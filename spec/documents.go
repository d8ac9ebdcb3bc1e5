package spec

import (
	"sync"

	"carrel/schema"
	"carrel/spec/document"
)

// specs is the schema of the documents that specs have.
var specs = sync.OnceValue(func() document.Schema {
	s := document.NewSchema("carrel spec", schema.Workspace, "Workspace", "WorkspaceSet")
	s.Hint = hint
	return s
})

// File is one file of specs, and what it says by itself: the workspaces are made
// when the set's defaults are known.
type File struct {
	Name    string   // as a person names it
	Source  string   // its absolute path, "-" for standard input
	Also    []string // other absolute paths that lead to it
	Content []byte

	Documents  int    // how many it has
	Errors     Errors // of its documents, each by itself
	Sets       []WorkspaceSet
	MayHaveSet bool // a WorkspaceSet may be in what has an error

	complete   bool // there are no more documents than those that were read
	workspaces []*document.Node
}

// WorkspaceSet is a document that names a set, and has the defaults of its
// workspaces. The zero value stands for the set named DefaultSet.
type WorkspaceSet struct {
	Name string
	Pos  Pos

	// Unknown is whether there may be other defaults: the document that has
	// them may be among those with an error. Then a field that is not written
	// has no errors.
	Unknown bool

	defaults *document.Node
	places   map[Pos]bool // of all that the defaults have
}

// Equal reports whether two sets have the same name and defaults.
func (s WorkspaceSet) Equal(o WorkspaceSet) bool {
	return s.Name == o.Name && s.defaults.Equal(o.defaults)
}

// Has reports whether a value of the defaults stands at a place.
func (s WorkspaceSet) Has(at Pos) bool { return s.places[at] }

// Parse reads the documents of a file.
func Parse(name, source string, content []byte) *File {
	f := &File{Name: name, Source: source, Content: content, complete: true}
	if otherJSON(name, content) {
		return f
	}
	documents, complete := document.Parse(name, content, &f.Errors)
	documents, whole := unlist(documents, &f.Errors)
	f.Documents, f.complete = len(documents), complete && whole
	f.MayHaveSet = !f.complete
	told := map[string]bool{}
	for _, d := range documents {
		what, hint := whose(name, d)
		switch {
		case what == "":
			f.add(d)
		case !told[what]:
			told[what] = true // once a file: such files may have many documents
			f.Errors.Add(d.At(), hint, "this is %s, not a carrel spec", what)
		}
	}
	return f
}

// add checks a document and keeps it.
func (f *File) add(d *document.Node) {
	before := len(f.Errors)
	known := specs().Check(d, &f.Errors)
	switch {
	case !known:
		f.MayHaveSet = true
	case d.Get("kind").Text() == "WorkspaceSet":
		checkAmounts("spec.defaults", d.Get("spec", "defaults"), &f.Errors)
		f.MayHaveSet = f.MayHaveSet || len(f.Errors) > before
		f.addSet(d)
	default:
		checkAmounts("spec", d.Get("spec"), &f.Errors)
		f.workspaces = append(f.workspaces, d)
	}
	if d.Get("kind").Text() == "Workspace" {
		concern(f.Errors[before:], d)
	}
}

// concern notes of the errors of a document which workspace has them, as far as its
// name can be read.
func concern(errs Errors, d *document.Node) {
	name := d.Get("metadata", "name")
	if name.Text() == "" || name.Wrong() {
		return
	}
	for i := range errs {
		errs[i].Workspaces, errs[i].Host = []string{name.Text()}, d.Get("spec", "host").Text()
	}
}

func (f *File) addSet(d *document.Node) {
	s := WorkspaceSet{Name: d.Get("metadata", "name").Text(), Pos: d.At(), defaults: d.Get("spec", "defaults")}
	if name := d.Get("metadata", "name"); name != nil {
		s.Pos = name.At()
	}
	if s.defaults != nil {
		s.places = map[Pos]bool{}
		s.defaults.Places(s.places)
		var w Workspace
		c := checker{Workspace: &w, fields: document.NewFields(&f.Errors), set: WorkspaceSet{Unknown: true, places: s.places}}
		c.read(s.defaults)
	}
	f.Sets = append(f.Sets, s)
}

// SetOf is the WorkspaceSet of files, of which one may have one.
func SetOf(files []*File) (set WorkspaceSet, errs Errors) {
	set.Name = DefaultSet
	unknown := false
	for _, f := range files {
		unknown = unknown || f.MayHaveSet
		for _, s := range f.Sets {
			if set.Pos != (Pos{}) {
				errs.Add(s.Pos, "keep one of them, or load them one by one", "this is the second WorkspaceSet, the first is at %s", set.Pos)
				unknown = true // a workspace may have been written for the defaults of this one
				continue
			}
			set = s
		}
	}
	set.Unknown = unknown
	return set, errs
}

// Workspaces are those that the file describes, over the defaults of a set. The
// errors are those of the workspaces, without those of the file. A workspace
// without a name is left out. The check may be nil.
func (f *File) Workspaces(over WorkspaceSet, check Check) (all []Workspace, errs Errors) {
	for _, d := range f.workspaces {
		w, before := Workspace{Source: f.Source}, len(errs)
		if f.workspace(&w, d, over, check, &errs); w.Name != "" {
			all = append(all, w)
		}
		concern(errs[before:], d)
	}
	return all, errs
}

func (f *File) workspace(w *Workspace, d *document.Node, over WorkspaceSet, check Check, errs *Errors) {
	c := checker{Workspace: w, fields: document.NewFields(errs), set: over}
	metadata := d.Get("metadata")
	c.fields.Add("metadata", metadata)
	c.labels(metadata.Get("labels"))
	c.read(d.Get("spec").Over(over.defaults))
	w.Name, w.RenamedFrom = metadata.Get("name").Text(), metadata.Get("renamedFrom").Text()
	if w.RenamedFrom != "" && w.RenamedFrom == w.Name {
		c.report("metadata.renamedFrom", "write the name that it had before", "workspace %s is renamed from itself", w.Name)
	}
	w.places[""] = d.At()
	if check != nil {
		check(*w, c.report)
	}
	if metadata.Wrong() || metadata.Get("name").Wrong() {
		w.Name = ""
	}
}

// read fills the workspace from its spec, and checks it.
func (c checker) read(body *document.Node) {
	source, labels := c.Source, c.Labels
	c.fields.Add("", body)
	if err := body.Decode(c.Workspace); err != nil {
		c.fields.Report("", "", "%s", err)
	}
	c.Source, c.Labels, c.places = source, labels, c.fields.Places
	c.check()
}
