package plan

import (
	"fmt"
	"slices"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// volume adds the step that makes a volume: on the way back data that was
// discarded returns, else data that was preserved does, else what is left of a
// lost container's, else it gets what the image has.
func (p *planner) volume(s subject, change *Change, image string) {
	if at, ok := p.recoverable(s); ok {
		change.Steps = append(change.Steps, RecoverData{Workspace: s.name, At: at})
		return
	}
	if kept, ok := p.preserved[s.name]; ok {
		change.because("its preserved data returns")
		change.Steps = append(change.Steps, RestoreData{Workspace: s.name, Set: kept.Set, At: kept.At})
		return
	}
	for _, key := range p.aliases(s.name) {
		if slices.Contains(p.now.Snapshots, key) && s.container == nil {
			change.because(fmt.Sprintf("root filesystem %s is left of a container that is gone", key))
			change.Steps = append(change.Steps, MigrateData{Workspace: s.name, Snapshot: key, DataPath: s.want.DataPath})
			return
		}
	}
	change.Steps = append(change.Steps, CreateVolume{
		Workspace: s.name, Image: image, DataPath: s.want.DataPath, User: s.want.User,
	})
}

// recoverable is the discarded data that a change which failed, or was cut
// short, has to bring back.
func (p *planner) recoverable(s subject) (at time.Time, ok bool) {
	cutShort := s.container != nil && p.bound(s.container, s.name) && !p.volumes[s.name] && !p.discarded[s.name]
	for _, t := range p.now.Trash {
		if t.Workspace == s.name && (p.back || cutShort && t.At.After(s.container.CreatedAt)) {
			at, ok = t.At, true
		}
	}
	return at, ok
}

// missing reports, with a fault, that a workspace had a volume and that neither
// it is there nor what a change that was cut short would have made of it. The
// disk may not be mounted: an empty volume, or data of long ago, in its place
// would look like the real one.
func (p *planner) missing(s subject) bool {
	var since time.Time
	switch c, r := s.container, s.record; {
	case p.volumes[s.name]:
		return false
	case c != nil && p.bound(c, s.name):
		since = c.CreatedAt
	case c == nil && r != nil && r.Container != "" && r.Applied != nil && !p.leftover(s.name):
		since = r.CreatedAt
	default:
		return false
	}
	if kept, ok := p.preserved[s.name]; ok && kept.At.After(since) {
		return false
	}
	if slices.ContainsFunc(p.now.Trash, func(t state.Trashed) bool { return t.Workspace == s.name && t.At.After(since) }) {
		return false
	}
	p.faults.Add(s.want.At("metadata.name"),
		fmt.Sprintf("mount or bring back what is missing, or take preserved data with carrel data restore %s, or begin anew with carrel delete %s", s.name, s.name),
		"the volume of workspace %s, %s/%s, is missing", s.name, p.now.VolumesDir, s.name)
	return true
}

// leftover reports whether a root filesystem is left of a container that a
// workspace may have had.
func (p *planner) leftover(workspace string) bool {
	return slices.ContainsFunc(p.aliases(workspace), func(key string) bool { return slices.Contains(p.now.Snapshots, key) })
}

// bound reports whether the data of a container is in its volume. The data of
// one that carrel did not make is in its root filesystem, or in another folder.
func (p *planner) bound(c *state.Instance, workspace string) bool {
	return c.Volume != "" && c.Volume == p.now.VolumesDir+"/"+workspace
}

// migrate adds the steps that bring data into the volume, before the container
// that has it elsewhere is deleted. What the volume holds already may be from a
// run that was cut short, and the container may have run since: it is kept too.
func (p *planner) migrate(s subject, change *Change, dataPath string) {
	c := s.container
	if p.volumes[s.name] {
		change.Steps = append(change.Steps, PreserveData{Workspace: s.name, Set: p.want.Name, At: p.now.Time})
	}
	step := MigrateData{Workspace: s.name, Snapshot: c.Snapshot, DataPath: dataPath}
	reason := fmt.Sprintf("container %s keeps its data in its root filesystem", c.ID)
	if c.Volume != "" {
		step = MigrateData{Workspace: s.name, Folder: c.Volume, DataPath: "/"}
		reason = fmt.Sprintf("container %s keeps its data in %s, which stays as it is", c.ID, c.Volume)
	}
	change.because(reason)
	change.Steps = append(change.Steps, step)
	p.volumes[s.name] = true
}

// discard adds the step that gives up the data of a workspace.
func (p *planner) discard(s subject, change *Change, policy spec.PreservePolicy) {
	change.Cost = CostDataAtRisk
	change.because(fmt.Sprintf("preserveData is %s: its data is deleted", policy))
	change.Steps = append(change.Steps, DiscardData{Workspace: s.name, At: p.now.Time})
	p.volumes[s.name] = false
	p.discarded[s.name] = true
}

// setAside adds the steps that take the data of a workspace that goes out of
// use. The policy that counts is the one that was applied: deleting a spec
// cannot take a protection away with it. An orphan's is always kept.
func (p *planner) setAside(s subject, change *Change) {
	policy, c := spec.PreserveAlways, s.container
	if was := applied(s); was != nil && s.record != nil {
		policy = was.PreserveData
	}
	if policy != spec.PreserveAlways {
		if p.volumes[s.name] {
			p.discard(s, change, policy)
		} else if c != nil && c.Volume == "" {
			change.Cost = CostDataAtRisk
			change.because(fmt.Sprintf("preserveData is %s: the data in its root filesystem is deleted", policy))
		}
		return
	}
	at := p.now.Time
	if c != nil && c.Volume == "" {
		p.migrate(s, change, dataPath(s))
		at = at.Add(time.Nanosecond) // later than what the volume held before
	}
	if p.volumes[s.name] {
		change.Steps = append(change.Steps, PreserveData{Workspace: s.name, Set: p.want.Name, At: at})
	}
}

func dataPath(s subject) string {
	if was := applied(s); was != nil {
		return was.DataPath
	}
	return spec.Default().DataPath
}

// clean adds the removal of what was discarded, once nothing can need it any
// more: at the end of the change that discarded it, or of the next.
func (p *planner) clean() {
	left := map[string]bool{}
	for _, t := range p.now.Trash {
		left[t.Workspace] = true
	}
	p.empty(left)
	for workspace := range left {
		if !p.cleans(workspace) {
			continue
		}
		p.add(subject{name: workspace}, Change{
			Action: ActionClean, Cost: CostNone, Reasons: []string{"its discarded data is not removed yet"},
			Steps: []Step{EmptyTrash{Workspace: workspace}},
		})
	}
}

// empty adds the removal of what was discarded to the changes of its workspaces,
// and takes them out of those that are left.
func (p *planner) empty(left map[string]bool) {
	for i := range p.plan.Changes {
		c := &p.plan.Changes[i]
		if left[c.Workspace] || p.discarded[c.Workspace] {
			c.Steps = slices.Insert(c.Steps, len(c.Steps)-1, Step(EmptyTrash{Workspace: c.Workspace})) // what is last writes it down
			delete(left, c.Workspace)
		}
	}
}

// cleans reports whether leftovers of a workspace are this plan's to remove:
// not when another set has a workspace of that name, nor when what happens to
// the workspace is not decided here.
func (p *planner) cleans(workspace string) bool {
	r := p.records[workspace]
	if p.left[workspace] || p.opts.Busy[workspace] {
		return false
	}
	return r == nil || r.Set == p.want.Name && r.Host == p.now.Host
}
