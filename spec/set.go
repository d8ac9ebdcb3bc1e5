package spec

import (
	"path/filepath"
	"slices"
	"strings"
)

// DefaultSet is the set of a tree that has no WorkspaceSet document.
const DefaultSet = "default"

// Set is what one tree of specs says: the workspaces it owns, by name.
type Set struct {
	Name       string
	At         Pos // of the name; zero without a WorkspaceSet
	Workspaces []Workspace

	// Sources are the paths that were loaded, absolute; folders end in a
	// slash, standard input is "-".
	Sources []string

	// Empty are the files that were loaded and describe nothing, absolute.
	Empty []string

	// Ignored are the files and folders that .carrelignore leaves out, absolute;
	// folders end in a slash. They may describe anything.
	Ignored []string

	// Folders are those in which a change can change the set, absolute and
	// without symlinks, sorted: all that were read, and those of the symlinks
	// that were followed and of what they lead to.
	Folders []string

	// Invalid are the files and folders that have an error, absolute and
	// sorted. Only package lastvalid loads a set that has any: they count as
	// they last were, and nothing may be deleted.
	Invalid []string
}

// Covers reports whether a file that described a workspace before was among
// what was loaded now: if so, and the workspace is not in the set, its
// description was taken away. What comes by standard input may be something
// else each time.
func (s Set) Covers(source string) bool {
	return source != stdin && within(s.Sources, source)
}

// LeavesOut reports whether .carrelignore leaves out a file that described a
// workspace before: then its description is not gone.
func (s Set) LeavesOut(source string) bool { return within(s.Ignored, source) }

// within reports whether a path is one of a list, or in a folder of it.
func within(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return p == path || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}

// Doubts reports whether a file that described a workspace before may still
// describe it. While any file has an error that is true of all: a workspace may be
// on its way from one file to another.
func (s Set) Doubts(_ string) bool { return len(s.Invalid) > 0 }

// Moved is the set as it would have been loaded from another path.
func (s Set) Moved(from, to string) Set {
	move := func(path string) string {
		below, within := strings.CutPrefix(inside(path), inside(from))
		if !within {
			return path
		}
		return strings.TrimSuffix(inside(to)+below, "/")
	}
	all := func(paths []string) []string {
		moved := slices.Clone(paths)
		for i, path := range moved {
			if moved[i] = move(path); strings.HasSuffix(path, "/") {
				moved[i] = inside(moved[i])
			}
		}
		return moved
	}
	s.Sources, s.Empty, s.Invalid, s.Ignored = all(s.Sources), all(s.Empty), all(s.Invalid), all(s.Ignored)
	s.Workspaces = slices.Clone(s.Workspaces)
	for i := range s.Workspaces {
		w := &s.Workspaces[i]
		w.Source = move(w.Source)
		archive, _ := w.Archive()
		if below, err := filepath.Rel(from, archive.File); w.relative && err == nil {
			archive.File = filepath.Join(to, below)
			w.Image = ArchivePrefix + archive.String()
		}
	}
	return s
}

// Here are the workspaces that a host may apply.
func (s Set) Here(host string) []Workspace {
	var all []Workspace
	for _, w := range s.Workspaces {
		if w.Host == "" || w.Host == host {
			all = append(all, w)
		}
	}
	return all
}
