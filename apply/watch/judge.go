package watch

import (
	"carrel/plan/decide"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carrel/plan"
	"carrel/plan/state"
)

// verdict is what becomes of the changes of a plan.
type verdict struct {
	Do      plan.Plan // to be carried out now
	Fetch   []string  // images that changes need first
	Pending []state.Pending
	Waiting []state.Waiting
}

// memory is what is remembered from one look to the next.
type memory struct {
	changes attempts        // by workspace
	images  attempts        // to fetch, by name
	kept    attempts        // starts of workspaces whose change is held back, by workspace
	deleted []time.Time     // workspaces that were deleted of late
	held    map[string]bool // workspaces whose deletion is left to a person, and stays so
	apply   string          // the command of a person who applies what is watched
}

func newMemory(paths []string) *memory {
	return &memory{changes: attempts{}, images: attempts{}, kept: attempts{}, held: map[string]bool{}, apply: "carrel apply " + strings.Join(paths, " ")}
}

// mass reports whether a plan, with what was deleted of late, takes away more
// than half of a set, and at least three workspaces: files may go one by one.
func (m *memory) mass(p plan.Plan, now time.Time) bool {
	m.deleted = slices.DeleteFunc(m.deleted, func(at time.Time) bool { return now.Sub(at) >= steady })
	n := len(p.Deletes()) + len(m.deleted)
	return len(p.Deletes()) > 0 && n >= 3 && 2*n > p.Owned+len(m.deleted)
}

// hold holds the deletions of a plan that takes away too much. They stay held,
// whatever else comes or goes, until they are not wanted any more: a person has
// done them, or the files describe the workspaces again. Of those that are busy
// nothing is known.
func (m *memory) hold(p plan.Plan, busy map[string]bool, now time.Time) {
	all := p.Deletes()
	mass := m.mass(p, now)
	maps.DeleteFunc(m.held, func(name string, _ bool) bool { return !busy[name] && !slices.Contains(all, name) })
	for _, name := range all {
		if mass {
			m.held[name] = true
		}
	}
}

// recall takes the deletions that the last run of the agent left to a person. A
// change that was rolled back is tried once by each run: what failed may have
// been the end of the last one.
func (m *memory) recall(last []state.Pending) {
	for _, p := range last {
		if p.Action == string(decide.ActionDelete) || p.Action == string(decide.ActionRemoveRecord) {
			m.held[p.Workspace] = true
		}
	}
}

// keep decides which workspaces, whose changes are held back, are started as they
// were applied.
func (m *memory) keep(p plan.Plan, busy map[string]bool, now time.Time, v *verdict) plan.Plan {
	wanted := maps.Clone(busy)
	do := p.Only(func(c plan.Change) bool {
		wanted[c.Workspace] = true
		a := m.kept[c.Workspace].want(c.Key(), now)
		a.mends = true
		m.kept[c.Workspace] = a
		return !v.wait(c, a, now)
	})
	m.kept.forget(wanted, now)
	return do
}

// end remembers how a change went.
func (m *memory) end(c plan.Change, err error, now time.Time) attempt {
	all := m.changes
	if kept := m.kept[c.Workspace]; kept.wanted && kept.key == c.Key() {
		all = m.kept
	}
	all[c.Workspace] = all[c.Workspace].end(err, now)
	return all[c.Workspace]
}

// judge decides what becomes of the changes of a plan. What deletes data, or
// most of a set, is left to a person; what failed, or had to be done again
// just now, waits; images are fetched before what runs is touched. Nothing was
// planned for workspaces that are busy; files that have not settled say nothing.
func (m *memory) judge(p plan.Plan, busy map[string]bool, settled bool, doubt func(plan.Change) string, now time.Time) verdict {
	v := verdict{}
	m.hold(p, busy, now)
	wanted, images := maps.Clone(busy), map[string]bool{}
	v.Do = p.Only(func(c plan.Change) bool {
		for _, image := range c.Pulls() {
			images[image] = true
		}
		why := m.dangerous(c)
		if why == "" {
			why = doubt(c)
		}
		if why == "" {
			wanted[c.Workspace] = true
			why = m.rolledBack(c)
		}
		if why != "" {
			v.Pending = append(v.Pending, state.Pending{Workspace: c.Workspace, Action: string(c.Action), Why: why})
			return false
		}
		if !settled && !mends(c) {
			return false
		}
		m.want(c, now)
		return !v.wait(c, m.changes[c.Workspace], now) && !m.fetches(c, now, &v)
	})
	m.changes.forget(wanted, now)
	m.images.forget(images, now)
	return v
}

// dangerous is why a change is not for an agent to make; "" when it is.
func (m *memory) dangerous(c plan.Change) string {
	switch {
	case c.Cost == decide.CostDataAtRisk:
		return fmt.Sprintf("it deletes data (%s --allow-data-loss does it)", m.apply)
	case c.Deletes() && m.held[c.Workspace]:
		return fmt.Sprintf("more than half of the set would be deleted (check the specs, or %s --allow-mass-delete)", m.apply)
	}
	return ""
}

// rolledBack is why a change that was tried is not tried again: doing so would
// disturb what runs once more. It is "" for all others.
func (m *memory) rolledBack(c plan.Change) string {
	a := m.changes[c.Workspace]
	if !a.back || a.key != c.Key() {
		return ""
	}
	return fmt.Sprintf("it failed: %s (mend the spec, or try again with %s)", a.failed, m.apply)
}

// want remembers that a change is wanted.
func (m *memory) want(c plan.Change, now time.Time) {
	a := m.changes[c.Workspace]
	if c.First && !a.wanted {
		a = attempt{} // a person took it away since
	}
	a = a.want(c.Key(), now)
	a.mends = mends(c)
	m.changes[c.Workspace] = a
}

// mends reports whether a change makes a task run that should, and did.
func mends(c plan.Change) bool {
	return c.Action == decide.ActionStart || c.Action == decide.ActionRestart
}

// wait reports whether a change that is wanted is not due yet, and says so.
func (v *verdict) wait(c plan.Change, a attempt, now time.Time) bool {
	if !now.Before(a.until) {
		return false
	}
	why := a.failed
	if why == "" {
		why = strings.Join(c.Reasons, "; ") + ", again and again"
	}
	v.Waiting = append(v.Waiting, state.Waiting{Workspace: c.Workspace, Why: why, Attempts: a.tries - 1, Until: a.until})
	return true
}

// fetches reports whether a change needs images that are not here. They are
// fetched once, whoever needs them.
func (m *memory) fetches(c plan.Change, now time.Time, v *verdict) bool {
	images := c.Pulls()
	for _, image := range images {
		a := m.images[image].want(image, now)
		m.images[image] = a
		told := slices.ContainsFunc(v.Waiting, func(w state.Waiting) bool { return w.Image == image })
		switch {
		case told || slices.Contains(v.Fetch, image):
		case now.Before(a.until):
			v.Waiting = append(v.Waiting, state.Waiting{Image: image, Why: a.failed, Attempts: a.tries - 1, Until: a.until})
		default:
			v.Fetch = append(v.Fetch, image)
		}
	}
	return len(images) > 0
}

// next is the first time at which something that waits is due; zero when
// nothing waits.
func (v verdict) next() time.Time {
	var first time.Time
	for _, w := range v.Waiting {
		if first.IsZero() || w.Until.Before(first) {
			first = w.Until
		}
	}
	return first
}
