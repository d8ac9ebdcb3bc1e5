package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/plan/state"
	"carrel/spec"
)

// subject is one workspace as three sources know it: the specs, the store and
// containerd. Each may be missing.
type subject struct {
	name      string
	want      *spec.Workspace
	record    *state.Record
	container *state.Instance
	resume    bool // start the task even if the spec does not ask for it
}

// planner holds the state by name while one plan is made.
type planner struct {
	want spec.Set
	now  state.State
	opts Options

	records   map[string]*state.Record   // by workspace
	byID      map[string]*state.Instance // by container id
	byLabel   map[string][]*state.Instance
	volumes   map[string]bool
	preserved map[string]state.Preserved // the newest of each workspace
	networks  map[string]*state.Attachment
	claimed   map[string]bool // containers that a subject has
	discarded map[string]bool // workspaces whose data the plan discards
	left      map[string]bool // workspaces that are left as they are: with faults, or busy
	back      bool            // the plan is the way back from one that failed

	plan   Plan
	faults spec.Errors
}

func newPlanner(want spec.Set, now state.State, opts Options) *planner {
	p := &planner{
		want: want, now: now, opts: opts,
		records:   map[string]*state.Record{},
		byID:      map[string]*state.Instance{},
		byLabel:   map[string][]*state.Instance{},
		volumes:   map[string]bool{},
		preserved: map[string]state.Preserved{},
		networks:  map[string]*state.Attachment{},
		claimed:   map[string]bool{},
		discarded: map[string]bool{},
		left:      map[string]bool{},
		plan:      Plan{Set: want.Name, Host: now.Host},
	}
	for i := range now.Records {
		p.records[now.Records[i].Workspace] = &now.Records[i]
	}
	for i := range now.Instances {
		c := &now.Instances[i]
		p.byID[c.ID] = c
		if c.Workspace != "" {
			p.byLabel[c.Workspace] = append(p.byLabel[c.Workspace], c)
		}
	}
	for _, v := range now.Volumes {
		p.volumes[v.Workspace] = true
	}
	for _, v := range now.Preserved {
		if (v.Set == want.Name || v.Set == "") && v.At.After(p.preserved[v.Workspace].At) {
			p.preserved[v.Workspace] = v
		}
	}
	for i := range now.Networks {
		p.networks[now.Networks[i].Workspace] = &now.Networks[i]
	}
	return p
}

// subjects are the workspaces this plan may decide about, by name: all that
// are wanted here, and all that the store has of this set and host.
func (p *planner) subjects() []subject {
	found := map[string]*subject{}
	for i := range p.want.Workspaces {
		w := &p.want.Workspaces[i]
		found[w.Name] = &subject{name: w.Name, want: w}
	}
	for name, r := range p.records {
		if r.Set == p.want.Name && r.Host == p.now.Host {
			p.plan.Owned++
			if found[name] == nil {
				found[name] = &subject{name: name}
			}
		}
		if s := found[name]; s != nil {
			s.record = r
		}
	}
	for _, s := range found {
		s.container = p.find(*s)
		if s.container != nil {
			p.claimed[s.container.ID] = true
		}
	}
	subjects := make([]subject, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		subjects = append(subjects, *found[name])
	}
	return subjects
}

// find is the container of a workspace: by record, else by label, else by
// name among the adoption prefixes.
func (p *planner) find(s subject) *state.Instance {
	labelled := p.newestFirst(p.byLabel[s.name])
	var chosen *state.Instance
	if s.record != nil && isOf(p.byID[s.record.Container], s.name) {
		chosen = p.byID[s.record.Container]
	} else if len(labelled) > 0 {
		chosen = labelled[0]
	}
	for _, other := range labelled {
		if other != chosen {
			p.claimed[other.ID] = true
			p.note("container %s also says that it is %s; %s is used (delete the one that is not wanted)", other.ID, s.name, chosen.ID)
		}
	}
	if chosen == nil && s.want != nil {
		chosen = p.adoptable(s.name)
	}
	return chosen
}

// isOf reports whether a container says that it is a workspace. One that has
// only the id of a container that was may be anybody's.
func isOf(c *state.Instance, workspace string) bool {
	return c != nil && (c.Workspace == workspace || c.Workspace == "" && c.Applied != nil && c.Applied.Name == workspace)
}

func (p *planner) adoptable(workspace string) *state.Instance {
	var found []*state.Instance
	for _, id := range p.aliases(workspace) {
		if c := p.byID[id]; c != nil && c.Workspace == "" && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	found = p.newestFirst(found)
	if len(found) > 1 {
		p.note("several containers could be %s: %s; the newest, %s, is adopted", workspace, ids(found), found[0].ID)
	}
	return found[0]
}

// aliases are the ids that the container of a workspace may have when carrel
// did not make it.
func (p *planner) aliases(workspace string) []string {
	all := []string{workspace}
	for _, prefix := range p.opts.AdoptPrefixes {
		all = append(all, prefix+workspace)
	}
	return all
}

func (p *planner) newestFirst(containers []*state.Instance) []*state.Instance {
	return slices.SortedFunc(slices.Values(containers), func(a, b *state.Instance) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

func ids(containers []*state.Instance) string {
	names := make([]string, len(containers))
	for i, c := range containers {
		names[i] = c.ID
	}
	return strings.Join(names, ", ")
}

// orphans are containers that carry the set's label and that neither a spec
// nor a record knows.
func (p *planner) orphans() {
	for i := range p.now.Instances {
		c := &p.now.Instances[i]
		if c.Workspace == "" || c.Set != p.want.Name || c.Host != p.now.Host || p.claimed[c.ID] || p.records[c.Workspace] != nil || p.opts.Busy[c.Workspace] {
			continue
		}
		if !p.opts.PruneOrphans {
			p.note("container %s says that it is workspace %s of this set, but no spec and no record knows it (delete it with --prune-orphans, which preserves its data)", c.ID, c.Workspace)
			continue
		}
		p.remove(subject{name: c.Workspace, container: c}, "an orphan: no spec and no record knows it")
	}
}

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}
