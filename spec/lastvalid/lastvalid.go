// Package lastvalid loads specs again and again, and goes on while some files
// have errors. Its rule is:
//
//   - Each file that has an error counts as it last was without one, its last
//     valid version. A file that never was valid counts as absent.
//   - While any file has an error, the set's name and defaults stay as they were,
//     and nothing is deleted.
//   - What the policy of the host does not allow is left out, whatever was valid
//     before.
//
// Files that contradict each other, for example two that describe the same
// workspace, have an error when they changed. When no older versions of such files
// resolve the contradiction, everything stays as it was.
//
// Memory is the rule (this file and versions.go). Store keeps a Memory over a
// restart of the program (store.go).
package lastvalid

import (
	"bytes"
	"slices"

	"carrel/spec"
)

// Memory is what files last said without an error. The zero value is the memory
// of a program that never loaded anything. It is for one choice of paths, and may
// contain secrets, as specs do.
type Memory struct {
	files map[string][]byte // the last valid version of each file, by source
	last  *last             // what the last load gave, nil before the first
}

// last is what a load gave, as far as the valid versions of files do not say it.
type last struct {
	name       string
	set        *version         // the file with the WorkspaceSet, nil when there was none
	workspaces []spec.Workspace // also those that no file describes any more
}

// version is the content of a file at some time.
type version struct {
	Source  string `json:"source"`
	Content []byte `json:"content"`
}

// Result is what a load gives.
type Result struct {
	Set    spec.Set    // its Invalid are the files that have an error
	Errors spec.Errors // of all files, in the order of their places

	// Known is whether there is anything to plan from. It is false until the
	// set's name and defaults are known for the first time. Then the Set has
	// only Sources, Folders and Invalid.
	Known bool
}

// maxPasses limits how often the files are put together again. Each pass
// replaces at least one file by an older version. Files that contradict each
// other in a longer chain all stay as they were.
const maxPasses = 10

// Load reads the specs below paths. The check finds what the policy of the host
// does not allow; it may be nil. Workspaces of the result never contradict each
// other.
func (m *Memory) Load(check spec.Check, paths ...string) Result {
	if len(paths) == 0 {
		return Result{Errors: spec.Errors{{Msg: "no spec was named", Hint: "name a file or a folder"}}}
	}
	l := m.begin(check, paths)
	set := spec.Set{Sources: l.tree.Sources, Folders: l.tree.Folders, Ignored: l.tree.Ignored}
	known := l.settle()
	switch {
	case known:
		set.Name, set.At, set.Workspaces, set.Empty = l.over.Name, l.over.Pos, l.workspaces, l.empty
		spec.SortByName(set.Workspaces)
		m.remember(l)
	case m.last != nil:
		known, l.leftOut = true, nil
		l.errs.Add(spec.Pos{}, "correct the other errors", "these specs cannot be put together: everything stays as it was")
		set.Name, set.Workspaces = m.last.name, l.allowed(m.last.workspaces)
	default:
		l.errs.Add(spec.Pos{}, "correct the other errors", "it is not known which WorkspaceSet these specs have: nothing is applied")
	}
	l.reportOldSet()
	l.reportRest()
	set.Invalid = l.invalid()
	return Result{Set: set, Errors: l.errs.Sorted(), Known: known}
}

// remember keeps what counts now.
func (m *Memory) remember(l *load) {
	m.files = map[string][]byte{}
	for _, f := range l.files {
		switch {
		case f.use != nil && !f.older:
			m.files[f.source] = f.now.Content
		case f.before != nil:
			m.files[f.source] = f.before
		}
	}
	m.last = &last{name: l.over.Name, set: l.holder, workspaces: l.workspaces}
}

// settle puts the files together until they have no errors. It is false when they
// still contradict each other, or the set is not known.
func (l *load) settle() bool {
	for range maxPasses {
		ok := l.oneSet()
		if !l.chooseSet() {
			return false
		}
		for _, f := range l.files {
			ok = l.makeWorkspaces(f) && ok
		}
		if ok && l.combine() {
			return true
		}
	}
	return false
}

// oneSet reports files that have a WorkspaceSet while another file has one too.
// Those that changed step down.
func (l *load) oneSet() (ok bool) {
	holders := l.holders()
	if len(holders) < 2 {
		return true
	}
	var changed []*file
	for i, f := range holders {
		other := holders[0].use
		if i == 0 {
			other = holders[1].use
		}
		if f.changed() {
			l.errs.Add(f.use.Sets[0].Pos, "keep one of them, or load them one by one", "there is another WorkspaceSet at %s", other.Sets[0].Pos)
			changed = append(changed, f)
		}
	}
	for _, f := range changed {
		f.stepDown()
	}
	return false
}

// holders are the files that have a WorkspaceSet in the version that counts.
func (l *load) holders() (all []*file) {
	for _, f := range l.files {
		if f.use != nil && len(f.use.Sets) > 0 {
			all = append(all, f)
		}
	}
	return all
}

// chooseSet finds the WorkspaceSet. While any file has an error it is the one of
// the last load. It is false when the set is not known.
func (l *load) chooseSet() bool {
	before, holders := l.holder, l.holders()
	l.holder, l.ofLast = nil, false
	switch {
	case len(l.errs) > 0 && l.memory.last != nil:
		l.holder, l.ofLast = l.memory.last.set, true
	case len(holders) > 0:
		l.holder = &version{holders[0].source, holders[0].use.Content}
	case l.setMayBe():
		return false
	}
	if l.over.Name != "" && same(before, l.holder) {
		return true
	}
	for _, f := range l.files {
		f.made = false
	}
	return l.readSet()
}

// setMayBe reports whether something that has an error may have a WorkspaceSet.
func (l *load) setMayBe() bool {
	return len(l.tree.Unread) > 0 || slices.ContainsFunc(l.files, func(f *file) bool {
		return f.use == nil && f.now != nil && (f.now.MayHaveSet || len(f.now.Sets) > 0)
	})
}

// readSet reads the name and the defaults of the set. It is false when the one of
// the last load cannot be read any more.
func (l *load) readSet() bool {
	l.over = spec.WorkspaceSet{Name: spec.DefaultSet}
	if l.holder == nil {
		return true
	}
	f := spec.Parse(l.name(l.holder.Source), l.holder.Source, l.holder.Content)
	if len(f.Errors) > 0 || len(f.Sets) != 1 {
		return false
	}
	l.over = f.Sets[0]
	return true
}

func same(a, b *version) bool {
	return a == b || a != nil && b != nil && a.Source == b.Source && bytes.Equal(a.Content, b.Content)
}
