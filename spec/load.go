package spec

import (
	"cmp"
	"errors"
	"maps"
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
	found := newFinder(&faults)
	for _, path := range paths {
		found.find(path)
	}
	// What could not be read may have been the set.
	l := loader{faults: &faults, check: check, set: Set{Name: DefaultSet, Sources: found.sources}, unsure: len(faults) > 0}
	for _, f := range found.files {
		l.add(f.reading())
		if f.documents == 0 {
			l.set.Empty = append(l.set.Empty, f.source)
		}
	}
	found.empty()
	l.finish()
	if err := faults.Err(); err != nil {
		return Set{}, err
	}
	l.set.Folders = slices.Sorted(maps.Keys(found.folders))
	return l.set, nil
}

// reading is what a file says by itself: its documents, before the set's
// defaults are known.
type reading struct {
	*file
	sets       []*tree
	workspaces []described
	faults     Errors
	unsure     bool // there may be a set, or other defaults, that are not known
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

func (f *file) reading() *reading {
	said := &reading{file: f}
	r := reader{file: f.name, faults: &said.faults}
	for _, document := range r.documents(f.content) {
		f.documents++
		before := len(said.faults)
		known := ofSpecs().valid(document, &said.faults)
		set := document.get("kind").text() == "WorkspaceSet"
		switch {
		case !known:
			said.unsure = true
		case set:
			quantities("spec.defaults", document.get("spec", "defaults"), &said.faults)
			said.unsure = said.unsure || len(said.faults) > before
			said.sets = append(said.sets, document)
		default:
			quantities("spec", document.get("spec"), &said.faults)
			said.workspaces = append(said.workspaces, described{document, f.source})
		}
	}
	f.faulty = r.gaveUp
	said.unsure = said.unsure || r.gaveUp
	return said
}

func (l *loader) add(said *reading) {
	*l.faults = append(*l.faults, said.faults...)
	l.unsure = l.unsure || said.unsure
	for _, document := range said.sets {
		l.nameSet(document)
	}
	l.workspaces = append(l.workspaces, said.workspaces...)
}

func (l *loader) nameSet(document *tree) {
	at := setAt(document)
	if l.setAt != (Pos{}) {
		l.faults.secondSet(at, l.setAt)
		return
	}
	l.set.Name, l.setAt = document.get("metadata", "name").text(), at
	l.defaults = document.get("spec", "defaults")
}

// setAt is where a WorkspaceSet is named.
func setAt(document *tree) Pos {
	if name := document.get("metadata", "name"); name != nil {
		return name.at
	}
	return document.at
}

func (e *Errors) secondSet(at, first Pos) {
	e.Add(at, "keep one of them, or load them one by one", "this is the second WorkspaceSet, the first is at %s", first)
}

func (e *Errors) describedTwice(name string, at, first Pos) {
	e.Add(at, "give one of them another name", "workspace %s is described twice, first at %s", name, first)
}

// checkDefaults finds the faults of the set's defaults, once they are known.
func (l *loader) checkDefaults() {
	if l.defaults != nil {
		var w Workspace
		l.inDefaults = l.defaults.all(map[Pos]bool{})
		l.read(&w, l.defaults, true)
	}
}

// finish makes the workspaces, now that the set's defaults are known.
func (l *loader) finish() {
	l.checkDefaults()
	l.together()
	l.faults.once()
}

// together makes the workspaces over the defaults, and finds those that
// contradict each other.
func (l *loader) together() {
	first := map[string]Pos{}
	for _, d := range l.workspaces {
		w, ok := l.workspace(d)
		if !ok {
			continue
		}
		at := w.At("metadata.name")
		if before, twice := first[w.Name]; twice {
			l.faults.describedTwice(w.Name, at, before)
			continue
		}
		first[w.Name] = at
		l.set.Workspaces = append(l.set.Workspaces, w)
	}
	sortByName(l.set.Workspaces)
	checkPorts(l.set.Workspaces, l.faults)
}

func sortByName(workspaces []Workspace) {
	slices.SortFunc(workspaces, func(a, b Workspace) int { return cmp.Compare(a.Name, b.Name) })
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
