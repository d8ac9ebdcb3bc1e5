package decide

import "slices"

// Stay is a workspace that is not deleted though no spec describes it.
type Stay struct {
	Workspace string
	Why       string // in words that follow its name
	Several   string // the same of several workspaces
	Otherwise string // what a person can do instead of deleting it by hand
}

// stays is the text of a Stay. All are empty when the workspace is to be deleted.
func (f Frame) stays(s Subject) (why, several, otherwise string) {
	source := s.Record.Source
	covered := f.Set.Covers(source)
	switch {
	case source == "" && s.Instance == nil && !s.Data.Volume && !s.onlyLeftover():
		return "", "", "" // there is only the record
	case source == "":
		return "its record does not say what described it", "their records do not say what described them", "describe it, or run"
	case source == "-":
		return "standard input described it", "standard input described them", "run"
	case f.Set.Doubts(source):
		why := "there is an error in " + f.Set.Invalid[0]
		return why, why, "correct it, or run"
	case f.Set.LeavesOut(source):
		return source + ", which described it, is left out by .carrelignore",
			"the files that described them are left out by .carrelignore", "take it out of there, or run"
	case slices.Contains(f.Set.Empty, source):
		return source + ", which described it, describes nothing now", "the files that described them describe nothing now", "delete that file, or run"
	case !covered && s.Record.Gone:
		return source + ", which described it, is gone, and nothing was loaded from there",
			"the files that described them are gone, and nothing was loaded from there", "describe it, or run"
	case !covered:
		return source + " describes it, and was not loaded", "the files that describe them were not loaded", "load that too, or run"
	}
	return "", "", ""
}
