package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/plan/decide"
	"carrel/spec"
)

// check looks at what concerns a plan as a whole: what several workspaces share,
// and what a person should know of the host. A change that cannot be made beside
// the others is taken out, with an error. The guards against deleting too much are
// methods of Plan.
func check(f decide.Frame, p *Plan) spec.Errors {
	errs := checkPorts(f, p)
	p.Notes = append(p.Notes, staying(p.Stays)...)
	p.Notes = append(p.Notes, sharedDevices(f)...)
	p.Notes = append(p.Notes, networks(f, *p)...)
	p.Notes = append(p.Notes, remains(f)...)
	p.Notes = append(p.Notes, perhapsRenamed(*p)...)
	slices.SortFunc(p.Changes, byWorkspace)
	slices.Sort(p.Notes)
	p.Notes = slices.Compact(p.Notes) // several workspaces may have one image
	return errs
}

// staying notes the workspaces that no spec describes and that are not deleted: a
// line for each cause.
func staying(all []decide.Stay) (notes []string) {
	causes := map[string][]decide.Stay{}
	for _, s := range all {
		causes[s.Several] = append(causes[s.Several], s)
	}
	for _, same := range causes {
		first := same[0]
		if len(same) == 1 {
			notes = append(notes, fmt.Sprintf("%s stays: %s (%s carrel delete %s)", first.Workspace, first.Why, first.Otherwise, first.Workspace))
			continue
		}
		names := make([]string, len(same))
		for i, s := range same {
			names[i] = s.Workspace
		}
		notes = append(notes, fmt.Sprintf("%d workspaces stay: %s (%s carrel delete NAME): %s", len(same), first.Several, first.Otherwise, spec.Names(names)))
	}
	return notes
}

// sharedDevices notes the devices that several workspaces name, and CDI files
// that cannot be used when a workspace needs any device.
func sharedDevices(f decide.Frame) (notes []string) {
	users := map[string][]string{}
	for _, w := range f.Set.Workspaces {
		if w.Host != "" && w.Host != f.Now.Host {
			continue
		}
		for _, name := range w.Devices {
			users[name] = append(users[name], w.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if len(users[name]) > 1 {
			notes = append(notes, fmt.Sprintf("device %s is given to %s: they share it", name, strings.Join(users[name], ", ")))
		}
	}
	if len(users) > 0 {
		for _, warning := range f.Now.Devices.Warnings {
			notes = append(notes, "devices: "+warning)
		}
	}
	return notes
}

// networks notes what networks are attached with, when one is to be, and which
// nameservers are left out.
func networks(f decide.Frame, p Plan) []string {
	if f.Now.CNI == "" {
		return nil
	}
	for _, c := range p.Changes {
		for _, s := range c.Steps {
			if _, attaches := s.(AttachNetwork); attaches {
				return append([]string{"networks: " + f.Now.CNI}, f.Now.DNS...)
			}
		}
	}
	return nil
}

// remains notes what networks left on the host and cannot be removed now.
func remains(f decide.Frame) (notes []string) {
	for _, l := range f.Now.Left {
		if l.Blocked != "" && l.Of(f.Set.Name) {
			notes = append(notes, fmt.Sprintf("%s of network %s may be left of %s: %s (mend that, and the next apply removes it; or remove it yourself, and then %s)",
				l.What, l.Network, l.Workspace, l.Blocked, l.File))
		}
	}
	return notes
}

// perhapsRenamed notes where the data of a workspace stays that is deleted while
// another one begins without any: the two may be one, under another name.
func perhapsRenamed(p Plan) (notes []string) {
	var gone, anew []Change
	for _, c := range p.Changes {
		if _, begins := find[CreateVolume](c); begins && c.First {
			anew = append(anew, c)
		}
		if _, keeps := find[PreserveData](c); keeps && c.Deletes() {
			gone = append(gone, c)
		}
	}
	for _, old := range gone {
		now := slices.DeleteFunc(slices.Clone(anew), func(c Change) bool { return old.recorded == nil || c.Source() != old.recorded.Source })
		if len(now) == 0 && len(gone) == 1 {
			now = anew
		}
		if len(now) == 1 {
			notes = append(notes, fmt.Sprintf("%s is deleted, and its data is preserved under that name; %s begins with new data (if it is %s under another name, write renamedFrom: %s into its metadata, and it keeps its data)",
				old.Workspace, now[0].Workspace, old.Workspace, old.Workspace))
		}
	}
	return notes
}

// find is the first step of a kind that a change has.
func find[S Step](c Change) (found S, ok bool) {
	for _, step := range c.Steps {
		if s, is := step.(S); is {
			return s, true
		}
	}
	return found, false
}
