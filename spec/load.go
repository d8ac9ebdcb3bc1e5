package spec

import (
	"cmp"
	"errors"
	"slices"
)

// Load reads the specs below paths: files, folders, and "-" for standard
// input. Its error is an Errors with every fault of every file.
func Load(paths ...string) (Set, error) {
	return load(paths, func(checker) {})
}

// load does it, with one more check of each workspace.
func load(paths []string, check func(checker)) (Set, error) {
	if len(paths) == 0 {
		return Set{}, errors.New("no spec was named (name a file, a folder, or - for standard input)")
	}
	var faults Errors
	found := finder{seen: map[string]*file{}, faults: &faults}
	for _, path := range paths {
		found.find(path)
	}
	// What could not be read may have been the set.
	l := loader{faults: &faults, check: check, set: Set{Name: DefaultSet, Sources: found.sources}, unsure: len(faults) > 0}
	l.files(found.files)
	found.empty()
	l.finish()
	if err := faults.Err(); err != nil {
		return Set{}, err
	}
	return l.set, nil
}

// loader turns documents into the workspaces of one set.
type loader struct {
	set    Set
	faults *Errors
	check  func(checker) // of each workspace, after all others

	setAt      Pos
	defaults   *tree
	inDefaults map[Pos]bool // the places of what they have
	unsure     bool         // the defaults may be others than those that are known
	workspaces []described
}

// described is a document that describes a workspace.
type described struct {
	tree   *tree
	source string
}

func (l *loader) files(all []*file) {
	for _, f := range all {
		l.file(f)
		if f.documents == 0 {
			l.set.Empty = append(l.set.Empty, f.source)
		}
	}
}

func (l *loader) file(f *file) {
	r := reader{file: f.name, faults: l.faults}
	f.documents = 0
	for _, document := range r.documents(f.content) {
		f.documents++
		before := len(*l.faults)
		known := ofSpecs().valid(document, l.faults)
		set := document.get("kind").text() == "WorkspaceSet"
		switch {
		case !known:
			l.unsure = true
		case set:
			quantities("spec.defaults", document.get("spec", "defaults"), l.faults)
			l.unsure = l.unsure || len(*l.faults) > before
			l.nameSet(document)
		default:
			quantities("spec", document.get("spec"), l.faults)
			l.workspaces = append(l.workspaces, described{document, f.source})
		}
	}
	f.faulty = r.gaveUp
	l.unsure = l.unsure || r.gaveUp
}

func (l *loader) nameSet(document *tree) {
	at := document.at
	name := document.get("metadata", "name")
	if name != nil {
		at = name.at
	}
	if l.setAt != (Pos{}) {
		l.faults.Add(at, "keep one of them, or load them one by one", "this is the second WorkspaceSet, the first is at %s", l.setAt)
		return
	}
	l.set.Name, l.setAt = name.text(), at
	l.defaults = document.get("spec", "defaults")
}

// finish makes the workspaces, now that the set's defaults are known.
func (l *loader) finish() {
	if l.defaults != nil {
		var w Workspace
		l.inDefaults = l.defaults.all(map[Pos]bool{})
		l.read(&w, l.defaults, true)
	}
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
	l.faults.once()
}

// workspace is the workspace of a document, over the set's defaults. It is
// false for one without a name.
func (l *loader) workspace(d described) (Workspace, bool) {
	w := Workspace{Source: d.source}
	metadata := d.tree.get("metadata")
	c := l.read(&w, d.tree.get("spec").under(l.defaults), false)
	metadata.places("metadata", w.positions, c.broken)
	w.positions[""] = d.tree.at
	readable := !c.broken[""]
	delete(c.broken, "") // that was the spec
	if labels := metadata.get("labels"); labels != nil {
		if err := labels.decode(&w.Labels); err != nil {
			l.faults.Add(labels.at, "", "%s", err)
		}
		c.labels()
	}
	w.Name = metadata.get("name").text()
	if readable {
		l.check(c)
	}
	return w, !metadata.broken && !metadata.get("name").broken
}

// read fills a workspace from its spec and checks it. A partial one is the
// set's defaults: it may have no image, and what depends on several fields is
// left to the workspaces.
func (l *loader) read(w *Workspace, body *tree, partial bool) checker {
	positions, source := map[string]Pos{}, w.Source
	c := checker{w, l.faults, map[string]bool{}, partial || l.unsure, l.inDefaults}
	body.places("", positions, c.broken)
	if err := body.decode(w); err != nil {
		l.faults.Add(body.at, "", "%s", err)
		c.broken[""] = true
	}
	w.positions, w.Source = positions, source
	c.check()
	return c
}
