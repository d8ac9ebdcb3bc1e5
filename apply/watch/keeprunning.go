package watch

import (
	"maps"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// keepRunning adds starts to a decision: a workspace whose change is blocked
// keeps running as it was applied last. Such starts have a backoff of their own.
func (b *backlog) keepRunning(d decision, observed state.State, desired spec.Set, options plan.Options, s situation) decision {
	starts := plan.Keep(observed, b.blockedWorkspaces(d, observed, desired, s), options)
	needed := maps.Clone(s.busy)
	due := starts.Only(func(c plan.Change) bool {
		needed[c.Workspace] = true
		r := b.starts[c.Workspace].need(c.Key(), s.now)
		r.restart = true
		b.starts[c.Workspace] = r
		if s.now.Before(r.at) {
			d.addWaiting(c, r.why(c), r)
			return false
		}
		return true
	})
	b.starts.keepOnly(needed, s.now)
	d.do.Changes = append(d.do.Changes, due.Changes...)
	return d
}

// blockedWorkspaces are the workspaces of the set whose change, if they need
// one, is not made now. One whose restart is backing off is not among them: it
// does not run because of its own task, and that backoff counts.
func (b *backlog) blockedWorkspaces(d decision, observed state.State, desired spec.Set, s situation) map[string]bool {
	names := map[string]bool{}
	for _, r := range observed.Records {
		names[r.Workspace] = r.Set == desired.Name && !s.busy[r.Workspace]
	}
	for _, w := range desired.Workspaces {
		names[w.Name] = !s.busy[w.Name] // its record may name another set
	}
	for _, c := range d.do.Changes {
		names[c.Workspace], names[c.RenamedFrom] = false, false
	}
	for _, w := range d.waiting {
		if b.changes[w.Workspace].restart {
			names[w.Workspace] = false
		}
	}
	return names
}
