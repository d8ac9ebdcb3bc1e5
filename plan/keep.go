package plan

import (
	"slices"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// Keep plans to start the tasks of workspaces as they were applied, whatever the
// specs say now: their changes are blocked or need approval, and until then they
// run as before. It changes nothing else.
func Keep(now state.State, names map[string]bool, opts decide.Options) Plan {
	instances := map[string]state.Instance{}
	for _, c := range now.Instances {
		instances[c.ID] = c
	}
	sets := map[string][]spec.Workspace{}
	for _, r := range now.Records {
		if w := asApplied(instances[r.Container], r); r.Host == now.Host && names[r.Workspace] && w != nil {
			sets[r.Set] = append(sets[r.Set], *w)
		}
	}
	kept := Plan{Host: now.Host}
	for set, all := range sets {
		p, _ := Around(spec.Set{Name: set, Workspaces: all}, now, opts) // what cannot be started is left
		kept.Set = set
		kept.Changes = append(kept.Changes, p.Only(func(c Change) bool { return names[c.Workspace] && c.Action == decide.ActionStart }).Changes...)
	}
	slices.SortFunc(kept.Changes, byWorkspace)
	return kept
}

// asApplied is a workspace as its instance is, nil when it has none.
func asApplied(c state.Instance, r state.Record) *spec.Workspace {
	if c.Workspace != r.Workspace || c.Applied == nil {
		return nil
	}
	w := *c.Applied
	w.Source = r.Source
	return &w
}
