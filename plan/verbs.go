package plan

import (
	"fmt"
	"slices"
	"strings"

	"carrel/plan/state"
	"carrel/spec"
)

// Stop plans to end the task of workspaces and to keep it ended: they are on
// hold until they are started by a person or their spec changes.
func Stop(now state.State, names ...string) (Plan, error) {
	return each(now, names, func(p *planner, s subject) {
		change := Change{Action: ActionStop, Cost: CostRestart, Reasons: []string{"asked for"}}
		if held(s) && (s.container == nil || !s.container.Task.Alive()) {
			p.plan.Unchanged++
			return
		}
		// The hold is written first: if the run is cut short, the next plan
		// ends the task, and does not start it again.
		p.hold(s, &change, true)
		if s.container != nil {
			change.Steps = append(change.Steps, stop(s))
		}
		p.detach(s, &change)
		p.add(s, change)
	})
}

// Start plans to end the hold of workspaces and to start their tasks.
func Start(now state.State, names ...string) (Plan, error) {
	return each(now, names, func(p *planner, s subject) {
		if !p.startable(s) {
			return
		}
		change := Change{Action: ActionStart, Cost: CostNone, Reasons: []string{"asked for"}}
		if !held(s) && s.container.Task.Status == state.TaskRunning {
			p.plan.Unchanged++
			return
		}
		p.hold(s, &change, false)
		p.start(s, &change, networkOf(s), s.container.ID)
		p.add(s, change)
	})
}

// Restart plans to end the tasks of workspaces and to start them anew.
func Restart(now state.State, names ...string) (Plan, error) {
	return each(now, names, func(p *planner, s subject) {
		if !p.startable(s) {
			return
		}
		change := Change{Action: ActionRestart, Cost: CostRestart, Reasons: []string{"asked for"}}
		p.hold(s, &change, false)
		change.Steps = append(change.Steps, stop(s))
		p.start(s, &change, networkOf(s), s.container.ID)
		p.add(s, change)
	})
}

// Halt plans to end the task of a workspace for a while, without a hold: if
// nobody resumes it, the next apply does.
func Halt(now state.State, name string) (Plan, error) {
	return each(now, []string{name}, func(p *planner, s subject) {
		if s.container == nil || !s.container.Task.Alive() {
			p.plan.Unchanged++
			return
		}
		p.add(s, Change{Action: ActionStop, Cost: CostRestart, Reasons: []string{"its data is copied"}, Steps: []Step{stop(s)}})
	})
}

// Resume plans to start the task of a workspace that was halted.
func Resume(now state.State, name string) (Plan, error) {
	return each(now, []string{name}, func(p *planner, s subject) {
		if !p.startable(s) {
			return
		}
		change := Change{Action: ActionStart, Cost: CostNone, Reasons: []string{"its data was copied"}}
		p.start(s, &change, networkOf(s), s.container.ID)
		p.add(s, change)
	})
}

// Delete plans to take workspaces away, whatever the specs say: a spec that
// still describes one makes it anew at the next apply.
func Delete(now state.State, names ...string) (Plan, error) {
	return each(now, names, func(p *planner, s subject) {
		p.remove(s, "asked for")
		if r := s.record; r != nil && strings.HasPrefix(r.Source, "/") && !r.Gone {
			p.note("%s is still there: if it describes %s, the next apply or the agent that watches it makes it anew (take it out there first, or use carrel stop)", r.Source, s.name)
		}
	})
}

// startable reports whether there is a container to start.
func (p *planner) startable(s subject) bool {
	if s.container == nil {
		p.faults.Add(spec.Pos{}, "apply its spec, which makes it anew", "workspace %s has no container", s.name)
	}
	return s.container != nil
}

// networkOf is the network that was applied.
func networkOf(s subject) spec.Network {
	if was := applied(s); was != nil {
		return was.Network
	}
	return spec.Network{Mode: spec.NetworkNone}
}

// hold adds the writing of a person's wish that a workspace be stopped, or not.
func (p *planner) hold(s subject, change *Change, held bool) {
	record := state.Record{Workspace: s.name, Set: p.want.Name, Host: p.now.Host, StoppedByUser: held, Applied: applied(s)}
	if s.record != nil {
		record.Source, record.Container, record.Version = s.record.Source, s.record.Container, s.record.Version
	}
	if s.container != nil {
		record.Container = s.container.ID
	}
	change.Steps = append(change.Steps, SaveRecord{Record: record})
}

// each plans for workspaces by their names. Those of one call are of one set,
// or the plan could not say whose it is.
func each(now state.State, names []string, decide func(*planner, subject)) (Plan, error) {
	var faults spec.Errors
	set := ""
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for i, name := range names {
		owner := ownerOf(now, name)
		if i > 0 && owner != set && owner != "" {
			faults.Add(spec.Pos{}, "name those of one set at a time", "workspaces %s and %s are of different sets", names[0], name)
		}
		set = owner
	}
	p := newPlanner(spec.Set{Name: set}, now, Options{})
	subjects := map[string]subject{}
	for _, s := range p.subjects() {
		subjects[s.name] = s
	}
	for _, name := range names {
		s, ok := subjects[name]
		if labelled := p.newestFirst(p.byLabel[name]); !ok && len(labelled) > 0 && labelled[0].Host == now.Host {
			s, ok = subject{name: name, container: labelled[0]}, true
		}
		switch {
		case !ok:
			faults.Add(spec.Pos{}, known(now), "no workspace of host %s is called %s", now.Host, name)
		case s.container != nil && s.container.Unreadable != "":
			faults.Add(spec.Pos{}, "", "container %s: %s", s.container.ID, s.container.Unreadable)
		default:
			decide(p, s)
		}
	}
	p.faults = append(p.faults, faults...)
	p.empty(nil)
	return p.finish()
}

func ownerOf(now state.State, workspace string) string {
	for _, r := range now.Records {
		if r.Workspace == workspace && r.Host == now.Host {
			return r.Set
		}
	}
	for _, c := range now.Instances {
		if c.Workspace == workspace && c.Host == now.Host {
			return c.Set
		}
	}
	return ""
}

// maxNamed is how many names a hint lists.
const maxNamed = 8

func known(now state.State) string {
	var names []string
	for _, r := range now.Records {
		if r.Host == now.Host {
			names = append(names, r.Workspace)
		}
	}
	switch {
	case len(names) == 0:
		return "it has none"
	case len(names) > maxNamed:
		return fmt.Sprintf("carrel status lists its %d", len(names))
	}
	return "it has " + strings.Join(names, ", ")
}
