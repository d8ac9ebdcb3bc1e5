package decide

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/plan/state"
	"carrel/spec"
)

// Options are the choices a person has in planning. The zero value is the usual
// plan.
type Options struct {
	// AdoptPrefixes are put before a workspace's name to find a container that
	// carrel did not make. The bare name is always tried.
	AdoptPrefixes []string

	// PruneOrphans deletes containers of the set that no spec and no record
	// knows. Their data is preserved.
	PruneOrphans bool

	// Busy are workspaces that are being changed: nothing is planned for them.
	Busy map[string]bool
}

// Frame is what holds for every workspace of a plan.
type Frame struct {
	Set     spec.Set
	Now     state.State
	Options Options

	Back  bool     // the plan is the way back from a change that failed
	Named []string // workspaces that a person named: they are subjects, whoever else knows them
}

// Subject is one workspace as its sources know it: the specs, the store and the
// host. Each may know nothing of it.
type Subject struct {
	Name     string
	Desired  *spec.Workspace // nil when no spec describes it
	Record   *state.Record   // nil when the store has none
	Instance *state.Instance // nil when it is missing
	Image    state.Image     // the desired one
	Data     Data            // the engine says what it is
	Network  Network         // the engine says what it is
	From     *Subject        // the workspace that it is renamed from; nil when it is not

	RunAnyway bool // its process is to run even if the spec does not say so

	renaming bool // the instance, the record and the data are those of From, as far as they did not move yet

	orphan bool            // only the label of its instance names it
	inWay  *state.Instance // another one, which has the id that a new instance would get
	ports  []takenPort     // desired ports that other sets have
	notes  []string        // of how its instance was found
}

// Network is what the host has of the network of a workspace.
type Network struct {
	Attached bool
	Owner    string // the set whose workspace it was attached for
	Ports    []spec.Port
	Broken   string // why it does not work, or not for the process that runs; "" when it does
	Restart  bool   // only a restart repairs it
	Stale    string // what has changed that it does not say yet; "" when nothing has
	Remains  bool   // an earlier one left something, which may be removed now
}

// takenPort is a desired port that a workspace of another set has.
type takenPort struct {
	index int // of the desired port
	by    state.Attachment
}

// index finds what was observed by its names.
type index struct {
	Frame
	records    map[string]*state.Record     // by workspace
	instances  map[string]*state.Instance   // by id
	labelled   map[string][]*state.Instance // by workspace, newest first
	publishing map[int][]*state.Attachment  // workspaces of other sets, by port of the host
	claimed    map[string]bool              // ids of instances that a subject has
}

// Pair brings together what is desired, recorded and observed of each
// workspace. Subjects are all that the specs describe, all that the store has
// of this set and host, and all that left something on the host: orphans,
// networks, discarded data. They come by name. Owned is how many records the
// set has on this host.
func Pair(f Frame) (subjects []Subject, owned int) {
	x := newIndex(f)
	found := make(map[string]*Subject, len(f.Set.Workspaces))
	subjectOf := func(name string) *Subject {
		if found[name] == nil {
			found[name] = &Subject{Name: name}
		}
		return found[name]
	}
	for i := range f.Set.Workspaces {
		w := &f.Set.Workspaces[i]
		if subjectOf(w.Name).Desired = w; w.RenamedFrom != "" {
			subjectOf(w.RenamedFrom)
		}
	}
	for name, r := range x.records {
		ours := r.Set == f.Set.Name && r.Host == f.Now.Host
		if ours {
			owned++
		}
		if ours || found[name] != nil {
			subjectOf(name).Record = r
		}
	}
	for _, s := range found {
		s.Instance, s.notes = x.find(*s)
	}
	x.orphans(subjectOf)
	x.leftovers(subjectOf)
	x.byName(subjectOf)
	x.renames(found)
	subjects = make([]Subject, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if s := found[name]; !f.Options.Busy[name] && (s.From == nil || !f.Options.Busy[s.From.Name]) {
			x.desire(s)
			subjects = append(subjects, *s)
		}
	}
	return subjects, owned
}

// renames makes the workspace that a desired one is renamed from a part of that: it
// is no subject of its own any more.
func (x index) renames(found map[string]*Subject) {
	for _, s := range slices.Collect(maps.Values(found)) {
		if s.Desired == nil || found[s.Desired.RenamedFrom] == nil || found[s.Desired.RenamedFrom].Desired != nil {
			continue
		}
		s.From = found[s.Desired.RenamedFrom]
		delete(found, s.From.Name)
	}
}

func newIndex(f Frame) index {
	x := index{
		Frame: f, records: make(map[string]*state.Record, len(f.Now.Records)), instances: make(map[string]*state.Instance, len(f.Now.Instances)),
		labelled: make(map[string][]*state.Instance, len(f.Now.Instances)), publishing: map[int][]*state.Attachment{},
		claimed: make(map[string]bool, len(f.Now.Instances)),
	}
	for i := range f.Now.Records {
		x.records[f.Now.Records[i].Workspace] = &f.Now.Records[i]
	}
	for i := range f.Now.Instances {
		c := &f.Now.Instances[i]
		x.instances[c.ID] = c
		if c.Workspace != "" {
			x.labelled[c.Workspace] = append(x.labelled[c.Workspace], c)
		}
	}
	for _, all := range x.labelled {
		newestFirst(all)
	}
	for i := range f.Now.Networks {
		a := &f.Now.Networks[i]
		for _, p := range a.Ports {
			if a.Set != f.Set.Name || f.Back { // what comes back may be too late for its ports
				x.publishing[p.Host] = append(x.publishing[p.Host], a)
			}
		}
	}
	return x
}

// find is the instance of a workspace: by record, else by label, else by id
// among the adoption prefixes. What another set or host has is found only for a
// workspace that is desired, which then has an error. It notes which others say
// that they are the workspace.
func (x index) find(s Subject) (chosen *state.Instance, notes []string) {
	var labelled []*state.Instance
	for _, c := range x.labelled[s.Name] {
		if x.ours(c) {
			labelled = append(labelled, c)
		}
	}
	if len(labelled) == 0 && s.Desired != nil {
		labelled = x.labelled[s.Name]
	}
	if s.Record != nil {
		if c := x.instances[s.Record.Container]; isOf(c, s.Name) && (s.Desired != nil || !x.madeElsewhere(c)) {
			chosen = c
		}
	}
	if chosen == nil && len(labelled) > 0 {
		chosen = labelled[0]
	}
	for _, other := range labelled {
		if other != chosen {
			x.claimed[other.ID] = true
			notes = append(notes, fmt.Sprintf("container %s also says that it is %s; %s is used (look at its data, then delete the one that is not wanted)", other.ID, s.Name, chosen.ID))
		}
	}
	if chosen == nil && s.Desired != nil {
		chosen, notes = x.adoptable(s.Name)
	}
	if chosen != nil {
		x.claimed[chosen.ID] = true
	}
	return chosen, notes
}

// ours reports whether an instance was made for this set and host.
func (f Frame) ours(c *state.Instance) bool { return c.Set == f.Set.Name && c.Host == f.Now.Host }

// madeElsewhere reports whether an instance says that it was made for another set
// or host. One whose labels somebody has removed says nothing.
func (f Frame) madeElsewhere(c *state.Instance) bool {
	return c.Workspace != "" && (c.Set != "" && c.Set != f.Set.Name || c.Host != "" && c.Host != f.Now.Host)
}

// isOf reports whether an instance says that it is a workspace. The same id alone
// proves nothing: somebody else may have made a new instance with it.
func isOf(c *state.Instance, workspace string) bool {
	return c != nil && (c.Workspace == workspace || c.Workspace == "" && c.Applied != nil && c.Applied.Name == workspace)
}

// adoptable is the newest instance without an owner that has an id which the
// workspace may have.
func (x index) adoptable(workspace string) (newest *state.Instance, notes []string) {
	var found []*state.Instance
	for _, id := range x.Aliases(workspace) {
		if c := x.instances[id]; c != nil && c.Workspace == "" && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	newestFirst(found)
	if len(found) > 1 {
		notes = append(notes, fmt.Sprintf("several containers could be %s: %s; the newest, %s, is adopted", workspace, ids(found), found[0].ID))
	}
	return found[0], notes
}

// Aliases are the ids that the instance of a workspace may have when carrel did
// not make it.
func (f Frame) Aliases(workspace string) []string {
	all := []string{workspace}
	for _, prefix := range f.Options.AdoptPrefixes {
		all = append(all, prefix+workspace)
	}
	return all
}

func newestFirst(all []*state.Instance) {
	slices.SortFunc(all, func(a, b *state.Instance) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

func ids(all []*state.Instance) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.ID
	}
	return strings.Join(names, ", ")
}

// orphans adds the workspaces that only the label of an instance of this set
// names. Of several instances, the newest is the subject: it is pruned first.
func (x index) orphans(subjectOf func(string) *Subject) {
	for _, name := range slices.Sorted(maps.Keys(x.labelled)) {
		for _, c := range x.labelled[name] {
			if !x.ours(c) || x.claimed[c.ID] || x.records[name] != nil {
				continue
			}
			if s := subjectOf(name); s.Instance == nil && s.Desired == nil {
				s.Instance, s.orphan = c, true
			} else {
				s.notes = append(s.notes, orphaned(c))
			}
		}
	}
}

// leftovers adds the workspaces that are gone and left a network or discarded
// data. What another set or host has a record of is theirs.
func (x index) leftovers(subjectOf func(string) *Subject) {
	for _, a := range x.Now.Networks {
		if name := a.Workspace; a.Set == x.Set.Name && x.records[name] == nil && len(x.labelled[name]) == 0 {
			subjectOf(name)
		}
	}
	for _, l := range x.Now.Left {
		if name := l.Workspace; l.Of(x.Set.Name) && x.records[name] == nil && len(x.labelled[name]) == 0 {
			subjectOf(name)
		}
	}
	for _, kept := range x.Now.Trash {
		if x.records[kept.Workspace] == nil {
			subjectOf(kept.Workspace)
		}
	}
}

// byName adds the workspaces that a person named. One that another host has a
// record of may have left an instance here.
func (x index) byName(subjectOf func(string) *Subject) {
	for _, name := range x.Named {
		s := subjectOf(name)
		if labelled := x.labelled[name]; s.Instance == nil && len(labelled) > 0 && labelled[0].Host == x.Now.Host {
			s.Instance = labelled[0]
		}
	}
}

// desire adds what the host has of what a workspace desires.
func (x index) desire(s *Subject) {
	if s.Desired == nil {
		return
	}
	s.Image = x.Now.Images[s.Desired.Image]
	if other := x.instances[s.Name]; other != nil && other != s.Instance {
		s.inWay = other
	}
	for i, port := range s.Desired.Network.Ports {
		for _, a := range x.publishing[port.Host] {
			if a.Workspace != s.Name && a.Workspace != s.Desired.RenamedFrom && slices.ContainsFunc(a.Ports, port.Meets) {
				s.ports = append(s.ports, takenPort{i, *a})
			}
		}
	}
}
