package plan

import (
	"slices"

	"carrel/plan/state"
)

// Root is a root filesystem that a change deletes.
type Root struct {
	Key       string // of its snapshot
	Container string // whose it is; "" when that is gone
	Moved     string // the folder in it that the change makes the volume; "" when it does not
}

// Roots are the root filesystems that the plan deletes. What was written to them is
// not part of an observation: finding that out takes long.
func (p Plan) Roots() []Root {
	var all []Root
	for _, c := range p.Changes {
		all = append(all, c.roots...)
	}
	return all
}

// Tell adds to the plan what was written to the root filesystems that it deletes, by
// their keys.
func (p Plan) Tell(written map[string]state.Written) Plan {
	p.Changes, p.Notes = slices.Clone(p.Changes), slices.Clone(p.Notes)
	lost := false
	for i := range p.Changes {
		c := &p.Changes[i]
		for _, root := range c.roots {
			if w, told := written[root.Key]; told && !w.Nothing() {
				c.Lost, lost = append(slices.Clone(c.Lost), w), true
			}
		}
	}
	if lost {
		p.Notes = append(p.Notes, "what was written outside of dataPath and mounts is lost with the root filesystem of a container (to keep it, set dataPath, or mount a folder of the host there)")
		slices.Sort(p.Notes)
	}
	return p
}
