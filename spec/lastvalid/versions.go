package lastvalid

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"carrel/spec"
)

// load is one load: the files that were found, and which version of each counts.
type load struct {
	memory *Memory // as the last load left it
	check  spec.Check
	tree   spec.Tree
	files  []*file
	errs   spec.Errors
	names  map[string]string // of the files that were found, as a person has them, by source

	holder *version          // has the WorkspaceSet; nil when there is none
	over   spec.WorkspaceSet // that the holder has
	ofLast bool              // the WorkspaceSet is that of the last load

	workspaces []spec.Workspace // that go together
	leftOut    spec.Errors      // of workspaces that the policy does not allow any more
	empty      []string         // will be Set.Empty
}

// file is one file and its versions.
type file struct {
	now    *spec.File // nil when it cannot be read
	name   string     // as a person has it
	source string
	before []byte // its last valid version; nil when it never was valid

	use        *spec.File       // the version that counts; nil when the file counts as absent
	older      bool             // that is not the version of now
	workspaces []spec.Workspace // of the version that counts
	made       bool             // the workspaces are
}

// changed reports whether the version that counts is new.
func (f *file) changed() bool {
	return f.use != nil && !f.older && (f.before == nil || !bytes.Equal(f.before, f.now.Content))
}

// stepDown lets the last valid version of the file count, or none when that one
// has an error too.
func (f *file) stepDown() {
	again := f.older
	f.use, f.workspaces, f.older, f.made = nil, nil, true, false
	if again || f.before == nil {
		return
	}
	was := f.now
	if was == nil || !bytes.Equal(f.before, was.Content) {
		was = spec.Parse(f.name, f.source, f.before)
	}
	if len(was.Errors) == 0 { // a newer program may find errors
		f.use = was
	}
}

// begin finds the files below paths, and what each last said. Files with errors
// of their own step down.
func (m *Memory) begin(check spec.Check, paths []string) *load {
	l := &load{memory: m, check: check, tree: spec.Read(paths...), names: map[string]string{}}
	l.errs = slices.Clone(l.tree.Errors)
	gone := maps.Clone(m.files)
	for _, now := range l.tree.Files {
		f := &file{now: now, name: now.Name, source: now.Source, use: now}
		l.names[f.source] = f.name
		for _, source := range append([]string{now.Source}, now.Also...) {
			if before, ok := gone[source]; ok && f.before == nil {
				f.before = before
			}
			delete(gone, source)
		}
		l.files = append(l.files, f)
		l.checkAlone(f)
	}
	unread := map[string]bool{}
	for _, path := range l.tree.Unread {
		unread[path] = true
	}
	for _, source := range slices.Sorted(maps.Keys(gone)) {
		if !l.tree.LeavesOut(source) && l.mayBeThere(source, unread) {
			f := &file{name: source, source: source, before: gone[source]}
			f.stepDown()
			l.files = append(l.files, f)
		}
	}
	return l
}

// checkAlone finds the errors that a file has by itself.
func (l *load) checkAlone(f *file) {
	switch {
	case len(f.now.Errors) > 0:
		l.errs = append(l.errs, f.now.Errors...)
		f.stepDown()
	case len(f.now.Sets) > 1:
		l.errs.Add(f.now.Sets[1].Pos, "keep one of them", "this is the second WorkspaceSet, the first is at %s", f.now.Sets[0].Pos)
		f.stepDown()
	case f.now.Documents > 0:
	case f.before == nil:
		l.empty = append(l.empty, f.source)
		f.use = nil
	default:
		if !slices.Contains(l.tree.Unread, f.source) { // then it is reported
			l.errs.Add(spec.Pos{File: f.now.Name}, "delete the file to take that away", "describes nothing now: what it described before stands")
		}
		f.stepDown()
	}
}

// mayBeThere reports whether a file that was not found may still be there.
func (l *load) mayBeThere(source string, unread map[string]bool) bool {
	for i, letter := range source {
		if letter == '/' && unread[source[:i+1]] {
			return true
		}
	}
	for _, link := range l.tree.Dangling {
		if strings.HasPrefix(source, link+"/") {
			l.errs.Add(spec.Pos{File: link}, "delete the link to take that away", "is a link to nothing: what was described below it stands")
			return true
		}
	}
	if unread[source] {
		return true
	}
	_, err := os.Lstat(source)
	if err == nil {
		l.errs.Add(spec.Pos{File: source}, "delete it to take that away", "is not a file any more: what it described before stands")
	}
	return err == nil
}

// makeWorkspaces makes the workspaces of the version of a file that counts. If
// they have an error, an older version counts from the next pass on.
func (l *load) makeWorkspaces(f *file) (ok bool) {
	if f.use == nil || f.made {
		return true
	}
	workspaces, errs := f.use.Workspaces(l.over, l.check)
	f.workspaces, f.made = workspaces, true
	if len(errs) == 0 {
		return true
	}
	wrongSet := false
	for _, err := range errs {
		wrongSet = l.report(f, err) || wrongSet
	}
	f.stepDown()
	if wrongSet {
		l.rejectSet()
	}
	return false
}

// report reports an error of the version of a file that counts. WrongSet is whether
// the error is in the defaults that the set has now.
func (l *load) report(f *file, err spec.Error) (wrongSet bool) {
	inDefaults := l.over.Has(err.Pos)
	if inDefaults && l.ofLast {
		err.Pos = spec.Pos{File: err.Pos.File} // the line may be another one now
	}
	if !f.older {
		l.errs = append(l.errs, err)
	}
	return inDefaults && !l.ofLast
}

// rejectSet lets the file with the WorkspaceSet step down, unless it has already.
func (l *load) rejectSet() {
	for _, f := range l.holders() {
		if !f.older {
			f.stepDown()
		}
	}
}

// combine puts the workspaces of all files together. While there is an error,
// workspaces that no file describes any more stay as they were. Files that
// changed and contradict others step down.
func (l *load) combine() (ok bool) {
	l.workspaces, l.leftOut = nil, nil
	var by []*file // that describes each workspace; nil for none
	names := map[string]bool{}
	for _, f := range l.files {
		for _, w := range f.workspaces {
			l.workspaces, by = append(l.workspaces, w), append(by, f)
			names[w.Name], names[w.RenamedFrom] = true, true // under its old name it is gone
		}
	}
	if last := l.memory.last; last != nil && len(l.errs) > 0 {
		missing := slices.DeleteFunc(slices.Clone(last.workspaces), func(w spec.Workspace) bool { return names[w.Name] })
		l.workspaces = append(l.workspaces, l.allowed(missing)...)
		by = append(by, make([]*file, len(l.workspaces)-len(by))...)
	}
	conflicts := spec.Conflicts(l.workspaces)
	for _, c := range conflicts {
		l.contradict(by[c.First], c.AtFirst)
		l.contradict(by[c.Second], c.AtSecond)
	}
	return len(conflicts) == 0
}

// contradict reports the error of a file that contradicts another one, if it is
// new in the file or in the defaults of the set. The file is nil for a workspace
// that no file describes.
func (l *load) contradict(f *file, err spec.Error) {
	if f == nil || f.use == nil {
		return
	}
	changed, inDefaults := f.changed(), l.over.Has(err.Pos) && !l.ofLast
	if changed || inDefaults {
		l.report(f, err)
	}
	if changed {
		f.stepDown()
	}
	if inDefaults {
		l.rejectSet()
	}
}

// allowed are the workspaces of the last load that the policy allows. What it
// forbids is left out, and reported.
func (l *load) allowed(workspaces []spec.Workspace) (all []spec.Workspace) {
	for _, w := range workspaces {
		before := len(l.leftOut)
		if l.check != nil {
			l.check(w, func(_, hint, format string, args ...any) {
				l.leftOut.Add(spec.Pos{File: l.name(w.Source)}, hint, format, args...)
			})
		}
		if len(l.leftOut) == before {
			all = append(all, w.WithoutPlaces())
		}
	}
	return all
}

// reportRest adds the errors that did not decide which versions count: those of
// workspaces beside an error in their file, and those of what is left out.
func (l *load) reportRest() {
	over := l.over
	over.Unknown = true
	for _, f := range l.files {
		if f.now != nil && len(f.now.Errors) > 0 {
			_, errs := f.now.Workspaces(over, l.check)
			l.errs = append(l.errs, errs...)
		}
	}
	type text struct{ file, msg string }
	reported := map[text]bool{}
	for _, err := range l.errs {
		reported[text{err.Pos.File, err.Msg}] = true
	}
	for _, err := range l.leftOut {
		if !reported[text{err.Pos.File, err.Msg}] {
			l.errs.Add(err.Pos, err.Hint, "what was valid before is left out: %s", err.Msg)
		}
	}
}

// reportOldSet says so when the set has other defaults than the files say now.
func (l *load) reportOldSet() {
	holders := l.holders()
	if !l.ofLast || len(holders) != 1 || holders[0].older {
		return
	}
	if set := holders[0].use.Sets[0]; !set.Equal(l.over) {
		l.errs.Add(set.Pos, "correct the other errors", "the name and the defaults of the set stay as they were")
	}
}

// name is what a person calls a file.
func (l *load) name(source string) string {
	if name, ok := l.names[source]; ok {
		return name
	}
	return source
}

// invalid are the files that have an error.
func (l *load) invalid() (sources []string) {
	for _, err := range l.errs {
		if source, absErr := filepath.Abs(err.Pos.File); absErr == nil && err.Pos.File != "" {
			sources = append(sources, source)
		}
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}
