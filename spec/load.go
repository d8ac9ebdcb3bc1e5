package spec

import (
	"cmp"
	"errors"
	"slices"
)

// Load reads the specs below paths: files, folders, and "-" for standard
// input. Its error is an Errors with every error of every file.
func Load(paths ...string) (Set, error) {
	return LoadChecked(nil, paths...)
}

// Check finds errors of a workspace beyond those that Load finds, for example
// what a host does not allow.
type Check func(w Workspace, report Report)

// Report reports an error of a field of a workspace, at its place. A field has at
// most one error: a check that depends on a value with an error has no effect.
type Report func(path, hint, format string, args ...any)

// LoadChecked reads specs as Load does, with one more check of each workspace.
func LoadChecked(check Check, paths ...string) (Set, error) {
	if len(paths) == 0 {
		return Set{}, errors.New("no spec was named (name a file, a folder, or - for standard input)")
	}
	tree := Read(paths...)
	over, errs := SetOf(tree.Files)
	over.Unknown = over.Unknown || len(tree.Unread) > 0
	errs = append(errs, tree.Errors...)
	set := Set{Name: over.Name, At: over.Pos, Sources: tree.Sources, Folders: tree.Folders, Ignored: tree.Ignored}
	for _, f := range tree.Files {
		workspaces, found := f.Workspaces(over, check)
		errs = slices.Concat(errs, f.Errors, found)
		set.Workspaces = append(set.Workspaces, workspaces...)
		if f.Documents == 0 {
			set.Empty = append(set.Empty, f.Source)
		}
	}
	for _, c := range Conflicts(set.Workspaces) {
		errs = append(errs, c.AtSecond)
	}
	if err := errs.Err(); err != nil {
		return Set{}, err
	}
	SortByName(set.Workspaces)
	return set, nil
}

// SortByName sorts workspaces as a Set has them.
func SortByName(workspaces []Workspace) {
	slices.SortFunc(workspaces, func(a, b Workspace) int { return cmp.Compare(a.Name, b.Name) })
}
