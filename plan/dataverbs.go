package plan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// Restore plans to make preserved data the volume of its workspace: the newest,
// or that of a moment, written as RFC 3339 to any precision. The data that the workspace has
// now is preserved. A workspace that is gone finds it when it returns.
func Restore(now state.State, name, moment string) (Plan, error) {
	return ofData(now, name, func(p *planner, s subject) {
		kept, ok := p.choose(name, moment)
		if !ok {
			return
		}
		newest := kept[len(kept)-1]
		p.swap(s, []string{"asked for"}, nil, RestoreData{Workspace: name, Set: newest.Set, At: newest.At})
	})
}

// Import plans to make an archive the volume of a workspace. It is unpacked
// before anything is stopped; the data that the workspace has now is preserved.
func Import(now state.State, name, file string) (Plan, error) {
	return ofData(now, name, func(p *planner, s subject) {
		p.swap(s, []string{"asked for"}, []Step{ExtractData{Workspace: name, File: file}}, PlaceData{Workspace: name})
	})
}

// Discard plans to delete preserved data of a workspace: of one time, or all.
func Discard(now state.State, name, moment string) (Plan, error) {
	return ofData(now, name, func(p *planner, s subject) {
		kept, ok := p.choose(name, moment)
		if !ok {
			return
		}
		change := Change{Action: ActionDiscard, Cost: CostDataAtRisk, Reasons: []string{"asked for"}}
		for _, k := range kept {
			change.Steps = append(change.Steps, DiscardPreserved{Workspace: name, Set: k.Set, At: k.At})
		}
		p.discarded[name] = true
		p.add(s, change)
	})
}

// swap puts other data in the place of the volume of a workspace, while its
// task does not run.
func (p *planner) swap(s subject, reasons []string, before []Step, place Step) {
	c := s.container
	change := Change{Action: ActionSwap, Cost: CostNone, Reasons: reasons, Steps: before}
	if c != nil && !p.bound(c, s.name) {
		p.faults.Add(spec.Pos{}, "change its spec so that it is replaced, which moves its data into a volume",
			"container %s of workspace %s does not have its data in a volume", c.ID, s.name)
		return
	}
	alive := c != nil && c.Task.Alive()
	if alive {
		if c.Applied != nil {
			change.Previous = previous(c, *c.Applied)
		}
		change.Cost = CostRestart
		change.Steps = append(change.Steps, stop(s))
	}
	if p.volumes[s.name] {
		change.Steps = append(change.Steps, PreserveData{Workspace: s.name, Set: p.want.Name, At: p.now.Time})
	}
	change.Steps = append(change.Steps, place)
	if alive {
		p.start(s, &change, networkOf(s), c.ID)
	}
	p.add(s, change)
}

// choose is the preserved data of a workspace, oldest first: all of it, or that
// of a moment.
func (p *planner) choose(name, moment string) ([]state.Preserved, bool) {
	var all, chosen []state.Preserved
	var times []string
	for _, kept := range p.now.Preserved {
		if kept.Workspace != name {
			continue
		}
		all = append(all, kept)
		times = append(times, kept.At.UTC().Format(time.RFC3339Nano))
		if moment != "" && written(kept.At, moment) {
			chosen = append(chosen, kept)
		}
	}
	switch {
	case len(all) == 0:
		p.faults.Add(spec.Pos{}, "carrel data ls lists all", "no data of %s is preserved", name)
	case moment == "":
		return all, true
	case len(chosen) == 0:
		p.faults.Add(spec.Pos{}, "there is "+strings.Join(times, ", "), "no data of %s was preserved at %s", name, moment)
	case len(chosen) > 1:
		p.faults.Add(spec.Pos{}, "write one of "+strings.Join(times, ", "), "more data of %s than one was preserved at %s", name, moment)
	}
	return chosen, len(chosen) == 1
}

// written reports whether a time is the one that a person wrote, to the precision in
// which it was written.
func written(t time.Time, moment string) bool {
	wanted, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		return false
	}
	precision := time.Second
	if _, fraction, ok := strings.Cut(moment, "."); ok {
		for range strings.TrimRight(fraction, "Zz") {
			precision /= 10
		}
	}
	return t.Truncate(max(precision, 1)).Equal(wanted)
}

// lastOwner is the set of the newest data that is preserved of a workspace.
func lastOwner(now state.State, name string) string {
	set := ""
	for _, kept := range now.Preserved {
		if kept.Workspace == name {
			set = kept.Set
		}
	}
	return set
}

// ofData plans for the data of one workspace, which may be gone.
func ofData(now state.State, name string, decide func(*planner, subject)) (Plan, error) {
	p := newPlanner(spec.Set{Name: cmp.Or(ownerOf(now, name), lastOwner(now, name), spec.DefaultSet)}, now, Options{})
	chosen := subject{name: name}
	for _, s := range p.subjects() {
		if s.name == name {
			chosen = s
		}
	}
	if labelled := p.newestFirst(p.byLabel[name]); chosen.container == nil && len(labelled) > 0 && labelled[0].Host == now.Host {
		chosen.container = labelled[0]
	}
	if chosen.container != nil && chosen.container.Unreadable != "" {
		return Plan{}, spec.Errors{{Msg: fmt.Sprintf("container %s: %s", chosen.container.ID, chosen.container.Unreadable)}}
	}
	decide(p, chosen)
	p.clean()
	return p.finish()
}
