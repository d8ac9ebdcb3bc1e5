package spec

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the specs below paths: files, folders, and "-" for standard
// input. Its error is an Errors with every fault of every file.
func Load(paths ...string) (Set, error) {
	if len(paths) == 0 {
		return Set{}, errors.New("no spec was named (name a file, a folder, or - for standard input)")
	}
	var faults Errors
	found := finder{seen: map[string]bool{}, faults: &faults}
	for _, path := range paths {
		found.find(path)
	}
	l := loader{faults: &faults, set: Set{Name: DefaultSet, Sources: found.sources}}
	for _, f := range found.files {
		l.file(f)
	}
	if len(faults) == 0 && l.documents == 0 {
		faults.Add(Pos{File: strings.Join(paths, ", ")}, "a folder of specs has files that end in .yaml or .yml",
			"no spec was found: nothing is taken as deleted")
	}
	l.finish()
	if err := faults.Err(); err != nil {
		return Set{}, err
	}
	return l.set, nil
}

// loader turns documents into the workspaces of one set.
type loader struct {
	set       Set
	faults    *Errors
	documents int

	setAt      Pos
	defaults   *tree
	workspaces []described
}

// described is a document that describes a workspace.
type described struct {
	tree   *tree
	source string
}

func (l *loader) file(f file) {
	r := reader{file: f.name, faults: l.faults}
	for _, document := range r.documents(f.content) {
		l.documents++
		if !valid(document, l.faults) {
			continue
		}
		if document.get("kind").text() == "WorkspaceSet" {
			l.nameSet(document)
		} else {
			l.workspaces = append(l.workspaces, described{document, f.source})
		}
	}
}

func (l *loader) nameSet(document *tree) {
	name := document.get("metadata", "name")
	if l.setAt != (Pos{}) {
		l.faults.Add(name.at, "keep one of them, or load them one by one",
			"set %s is the second of this tree, set %s is at %s", name.text(), l.set.Name, l.setAt)
		return
	}
	l.set.Name, l.setAt = name.text(), name.at
	l.defaults = document.get("spec", "defaults")
}

// finish makes the workspaces, now that the set's defaults are known.
func (l *loader) finish() {
	first := map[string]Pos{}
	for _, d := range l.workspaces {
		w, ok := l.workspace(d)
		if !ok {
			continue
		}
		at := w.At("metadata.name")
		if before, twice := first[w.Name]; twice {
			l.faults.Add(at, "give one of them another name", "workspace %s is described twice, first at %s", w.Name, before)
			continue
		}
		first[w.Name] = at
		l.set.Workspaces = append(l.set.Workspaces, w)
	}
	slices.SortFunc(l.set.Workspaces, func(a, b Workspace) int { return cmp.Compare(a.Name, b.Name) })
	checkPorts(l.set.Workspaces, l.faults)
	l.once()
}

// workspace is the workspace of a document, over the set's defaults.
func (l *loader) workspace(d described) (Workspace, bool) {
	w := Workspace{positions: map[string]Pos{}, Source: d.source}
	body := d.tree.get("spec").under(l.defaults)
	d.tree.places("", w.positions)
	body.places("", w.positions)
	w.positions[""] = d.tree.at
	before := len(*l.faults)
	quantities(body, l.faults)
	if len(*l.faults) > before {
		return w, false
	}
	positions, source := w.positions, w.Source
	if err := body.decode(&w); err != nil {
		l.faults.Add(d.tree.at, "", "%s", err)
		return w, false
	}
	w.positions, w.Source = positions, source
	w.Name = d.tree.get("metadata", "name").text()
	if labels := d.tree.get("metadata", "labels"); labels != nil {
		if err := labels.decode(&w.Labels); err != nil {
			l.faults.Add(labels.at, "", "%s", err)
			return w, false
		}
	}
	base := "."
	if d.source != stdin {
		base = filepath.Dir(d.source)
	}
	check(&w, base, l.faults)
	return w, len(*l.faults) == before
}

// once drops faults that are there several times: one in the set's defaults is
// found with every workspace.
func (l *loader) once() {
	seen := map[string]bool{}
	*l.faults = slices.DeleteFunc(*l.faults, func(e Error) bool {
		text := fmt.Sprint(e)
		twice := seen[text]
		seen[text] = true
		return twice
	})
}
