package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// Stop plans to end the tasks of workspaces. They stay stopped until a person
// starts them or their specs change.
func Stop(now state.State, names ...string) (Plan, error) {
	return each(now, names, (*decide.Decision).Stop)
}

// Start plans to start the tasks of workspaces, also of those that a person
// stopped.
func Start(now state.State, names ...string) (Plan, error) {
	return each(now, names, (*decide.Decision).Start)
}

// Restart plans to restart the tasks of workspaces.
func Restart(now state.State, names ...string) (Plan, error) {
	return each(now, names, (*decide.Decision).Restart)
}

// Delete plans to delete workspaces, whatever the specs say: a spec that still
// describes one creates it again at the next apply.
func Delete(now state.State, names ...string) (Plan, error) {
	owners := ownersOf(now)
	for _, v := range now.Volumes {
		if _, owned := owners[v.Workspace]; !owned {
			owners[v.Workspace] = setOf(now, v.Workspace)
		}
	}
	return eachOf(owners, now, names, (*decide.Decision).Delete)
}

// Pause plans to end the task of a workspace for a while: if nobody resumes it,
// the next apply does.
func Pause(now state.State, name string) (Plan, error) {
	return each(now, []string{name}, (*decide.Decision).Pause)
}

// Resume plans to start the task of a workspace that was paused.
func Resume(now state.State, name string) (Plan, error) {
	return each(now, []string{name}, (*decide.Decision).Resume)
}

// Restore plans to make preserved data the volume of its workspace: the newest,
// or that of a moment, written as RFC 3339 to any precision. The data that the
// workspace has now is preserved. A workspace that is gone finds it when it
// returns.
func Restore(now state.State, name, moment string) (Plan, error) {
	return ofData(now, name, func(d *decide.Decision) {
		if kept := d.Choose(now.Preserved, moment); len(kept) > 0 {
			d.Restore(kept)
		}
	})
}

// Import plans to make an archive the volume of a workspace. It is unpacked
// before anything is stopped; the data that the workspace has now is preserved.
func Import(now state.State, name, file string) (Plan, error) {
	return ofData(now, name, func(d *decide.Decision) { d.Import(file) })
}

// Discard plans to delete preserved data of a workspace: of one time, or all.
func Discard(now state.State, name, moment string) (Plan, error) {
	return ofData(now, name, func(d *decide.Decision) {
		if kept := d.Choose(now.Preserved, moment); len(kept) > 0 {
			d.Discard(kept)
		}
	})
}

// each plans for workspaces by their names. Those of one call are of one set, or
// the plan could not say whose it is.
func each(now state.State, names []string, decision func(*decide.Decision)) (Plan, error) {
	return eachOf(ownersOf(now), now, names, decision)
}

func eachOf(owners map[string]string, now state.State, names []string, decision func(*decide.Decision)) (Plan, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var errs spec.Errors
	var known []string
	for _, name := range names {
		set, ok := owners[name]
		switch {
		case !ok:
			errs.Add(spec.Pos{}, knownNames(owners), "no workspace of host %s is called %s", now.Host, name)
		case len(known) > 0 && set != owners[known[0]]:
			errs.Add(spec.Pos{}, "name those of one set at a time", "workspaces %s and %s are of different sets", known[0], name)
		default:
			known = append(known, name)
		}
	}
	if err := errs.Err(); err != nil || len(known) == 0 {
		return Plan{Host: now.Host}, err
	}
	return decided(decide.Frame{Set: spec.Set{Name: owners[known[0]]}, Now: now, Named: known}, decision)
}

// ofData plans for the data of one workspace, which may be gone.
func ofData(now state.State, name string, decision func(*decide.Decision)) (Plan, error) {
	set := cmp.Or(ownersOf(now)[name], setOf(now, name))
	return decided(decide.Frame{Set: spec.Set{Name: set}, Now: now, Named: []string{name}}, decision)
}

// setOf is the set of a workspace that this host does not have: of its record on
// another host, or of its newest preserved data. It is "" when nothing tells: what is
// preserved of it then is for the set that first describes it.
func setOf(now state.State, name string) string {
	for _, r := range now.Records {
		if r.Workspace == name {
			return r.Set
		}
	}
	newest := state.Preserved{}
	for _, kept := range now.Preserved {
		if kept.Workspace == name && kept.At.After(newest.At) {
			newest = kept
		}
	}
	return newest.Set
}

// decided is the plan of the decisions about the workspaces that a person named.
// One whose kept spec cannot be read has an error.
func decided(f decide.Frame, decision func(*decide.Decision)) (Plan, error) {
	var decisions []decide.Decision
	subjects, owned := decide.Pair(f)
	host := newObserved(f)
	for _, s := range subjects {
		if !slices.Contains(f.Named, s.Name) {
			continue
		}
		d := decide.Decision{Subject: host.subject(s)}
		if c := s.Instance; c != nil && c.Unreadable != "" {
			d.Errors.Add(spec.Pos{}, "", "container %s: %s", c.ID, c.Unreadable)
		} else {
			decision(&d)
		}
		decisions = append(decisions, d)
	}
	p, errs := lowerAll(f, slices.Values(decisions))
	if err := errs.Err(); err != nil {
		return Plan{}, err
	}
	p.Owned = owned
	if err := check(f, &p).Err(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// ownersOf are the sets of the workspaces of this host, by workspace: those that
// the store has, and those that only the label of a container names.
func ownersOf(now state.State) map[string]string {
	owners := map[string]string{}
	for _, c := range now.Instances {
		if c.Workspace != "" && c.Host == now.Host {
			owners[c.Workspace] = c.Set
		}
	}
	for _, r := range now.Records {
		if r.Host == now.Host {
			owners[r.Workspace] = r.Set
		}
	}
	return owners
}

// knownNames says in a hint which workspaces there are.
func knownNames(owners map[string]string) string {
	switch {
	case len(owners) == 0:
		return "it has none"
	case len(owners) > decide.MaxNamed:
		return fmt.Sprintf("carrel status lists its %d", len(owners))
	}
	return "it has " + strings.Join(slices.Sorted(maps.Keys(owners)), ", ")
}
