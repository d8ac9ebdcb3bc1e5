// Package plan decides what to do: it compares what the specs want with what
// exists, and says which steps lead from one to the other, and why.
//
// It is pure: values in, values out. It reads nothing, asks nothing, and knows
// no time but the one of the observation. Carrying a plan out is package
// apply's.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// Plan is everything to be done to the workspaces of one set on one host.
type Plan struct {
	Set       string
	Host      string
	Changes   []Change // by workspace; those with nothing to do are only counted
	Unchanged int
	Elsewhere int      // wanted on other hosts
	Notes     []string // what a person should know and carrel does nothing about
	Owned     int      // the workspaces of the set that this host's store has
}

// Change is what is done to one workspace: its steps run in order.
type Change struct {
	Workspace string
	Set       string
	Host      string
	Action    Action
	Cost      Cost
	Reasons   []string
	Fields    []Field
	Steps     []Step

	// Recorded is whether the workspace has a record, or is to have one.
	Recorded bool

	// Previous is what runs now, when the change takes it down on its way:
	// what a failed change is rolled back to.
	Previous *Previous

	// First is whether nothing was known of the workspace.
	First bool

	wish *spec.Workspace
}

// Source is the file that describes the workspace; "" when none does.
func (c Change) Source() string {
	if c.wish == nil {
		return ""
	}
	return c.wish.Source
}

// Previous is a workspace as it is before a change.
type Previous struct {
	Spec    spec.Workspace
	Image   string // the name in containerd's image store, by digest
	Running bool
}

// Action is what a change does to a workspace.
type Action string

// The actions.
const (
	ActionCreate  Action = "create"
	ActionAdopt   Action = "adopt"
	ActionUpdate  Action = "update"
	ActionStart   Action = "start"
	ActionStop    Action = "stop"
	ActionRestart Action = "restart"
	ActionReplace Action = "replace"
	ActionDelete  Action = "delete"
	ActionForget  Action = "forget"
	ActionRepair  Action = "repair"
	ActionSwap    Action = "swap data"
	ActionDiscard Action = "discard data" // that was preserved
	ActionClean   Action = "clean"        // what an earlier run left of a workspace

	ActionRollback Action = "rollback" // never planned by New
)

// Actions are those that plans have, in the order in which they are summed up.
var Actions = []Action{
	ActionCreate, ActionAdopt, ActionUpdate, ActionStart, ActionStop, ActionRestart,
	ActionReplace, ActionRepair, ActionSwap, ActionDelete, ActionForget, ActionDiscard, ActionClean,
}

// Cost is what a change does to what runs now.
type Cost string

// The cost classes.
const (
	CostNone       Cost = "none"         // nothing that exists is disturbed
	CostInPlace    Cost = "in place"     // changed while it runs
	CostRestart    Cost = "restart"      // the process ends; the container and the data stay
	CostReplace    Cost = "replace"      // a new container; the data stays
	CostRemoval    Cost = "removal"      // the container goes; the data is preserved
	CostDataAtRisk Cost = "data at risk" // data is deleted
)

// Options are the choices a person has in planning. The zero value is the
// usual plan.
type Options struct {
	// AdoptPrefixes are put before a workspace's name to find a container
	// that carrel did not make. The bare name is always tried.
	AdoptPrefixes []string

	// PruneOrphans deletes containers of the set that no spec and no record
	// knows. Their data is preserved.
	PruneOrphans bool

	// Busy are workspaces that are being changed: nothing is planned for them.
	Busy map[string]bool
}

// New compares what is wanted with what exists now. Its error is a spec.Errors
// with every reason why the specs cannot be carried out on this host; then
// there is no plan, and nothing is to be changed.
func New(want spec.Set, now state.State, opts Options) (Plan, error) {
	p := newPlanner(want, now, opts)
	p.all()
	return p.finish()
}

// Around is New for a host that nobody watches over: a workspace with a fault
// is left as it is, and all others are planned for.
func Around(want spec.Set, now state.State, opts Options) (Plan, spec.Errors) {
	p := newPlanner(want, now, opts)
	p.all()
	p.sort()
	return p.plan, p.faults
}

// all plans for everything.
func (p *planner) all() {
	for _, s := range p.subjects() {
		if p.opts.Busy[s.name] {
			p.left[s.name] = true
			continue
		}
		before := len(p.faults)
		p.decide(s)
		p.left[s.name] = len(p.faults) > before
	}
	p.orphans()
	p.abandoned()
	p.clean()
	p.devicesNoted()
	p.networkNoted()
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Deletes are the workspaces that the plan takes away.
func (p Plan) Deletes() []string {
	var names []string
	for _, c := range p.Changes {
		if c.Deletes() {
			names = append(names, c.Workspace)
		}
	}
	return names
}

// MassDelete reports whether the plan takes away more than half of the set,
// and at least three workspaces.
func (p Plan) MassDelete() bool {
	n := len(p.Deletes())
	return n >= 3 && 2*n > p.Owned
}

// Losses are the workspaces whose data the plan deletes.
func (p Plan) Losses() []string {
	var names []string
	for _, c := range p.Changes {
		if c.Cost == CostDataAtRisk {
			names = append(names, c.Workspace)
		}
	}
	return names
}

func (p *planner) finish() (Plan, error) {
	if err := p.faults.Err(); err != nil {
		return Plan{}, err
	}
	p.sort()
	return p.plan, nil
}

func (p *planner) sort() {
	slices.SortFunc(p.plan.Changes, byWorkspace)
	slices.Sort(p.plan.Notes)
}

func byWorkspace(a, b Change) int { return cmp.Compare(a.Workspace, b.Workspace) }

// Only is the plan with the changes that keep chooses, and no others.
func (p Plan) Only(keep func(Change) bool) Plan {
	p.Changes = slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return !keep(c) })
	return p
}

// Deletes reports whether the change takes its workspace away.
func (c Change) Deletes() bool { return c.Action == ActionDelete || c.Action == ActionForget }

// Key names what the change is to achieve: it stays the same while the change
// is wanted again and again, whatever its steps are.
func (c Change) Key() string {
	text, err := json.Marshal(struct {
		Workspace string
		Action    Action
		Fields    []Field
		Wish      *spec.Workspace
	}{c.Workspace, c.Action, c.Fields, c.wish})
	if err != nil {
		panic(err) // strings, numbers and lists of them cannot fail to encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Pulls are the images that the change fetches from a registry.
func (c Change) Pulls() []string {
	var images []string
	for _, s := range c.Steps {
		if pull, ok := s.(PullImage); ok {
			images = append(images, pull.Image)
		}
	}
	return images
}
