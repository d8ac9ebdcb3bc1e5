package plan

import (
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// Keep plans to start the tasks of workspaces as they were applied, whatever is
// wanted of them now: what they are to become cannot be done yet, or is left to a
// person, and until then they run as before. It changes nothing else.
func Keep(now state.State, names map[string]bool, opts Options) Plan {
	sets := map[string][]spec.Workspace{}
	for _, r := range now.Records {
		if w := asApplied(now, r); r.Host == now.Host && names[r.Workspace] && w != nil {
			sets[r.Set] = append(sets[r.Set], *w)
		}
	}
	kept := Plan{Host: now.Host}
	for set, all := range sets {
		p, _ := Around(spec.Set{Name: set, Workspaces: all}, now, opts) // what cannot be started is left
		kept.Set = set
		kept.Changes = append(kept.Changes, p.Only(func(c Change) bool { return names[c.Workspace] && c.Action == ActionStart }).Changes...)
	}
	slices.SortFunc(kept.Changes, byWorkspace)
	return kept
}

// asApplied is a workspace as its container is, nil when it has none.
func asApplied(now state.State, r state.Record) *spec.Workspace {
	for _, c := range now.Instances {
		if c.ID == r.Container && c.Workspace == r.Workspace && c.Applied != nil {
			w := *c.Applied
			w.Source = r.Source
			return &w
		}
	}
	return nil
}
