// Package plan decides what to do: it compares the specs with what exists, and
// says which steps lead from one to the other, and why.
//
// It does so in four stages, each a function of values:
//
//   - pair (decide/pair.go, observed.go) brings together what is desired,
//     recorded and observed of each workspace: a subject
//   - decide (package decide) says what is to become of a subject: a decision
//   - lower (lower.go, builder.go) turns a decision into the steps of
//     containerd, over a World
//   - check (check.go) looks at the plan as a whole
//
// A World (world.go) is a host that can be simulated: each step says what it
// does to one. Commands for one workspace (verbs.go) make their decisions
// themselves, and share the rest.
//
// The package is pure: it reads nothing, asks nothing, and knows no time but the
// one of the observation. Carrying a plan out is the work of package apply.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// Plan is everything to be done to the workspaces of one set on one host.
type Plan struct {
	Set       string
	Host      string
	Changes   []Change // by workspace; those with nothing to do are only counted
	Unchanged int
	Elsewhere int           // wanted on other hosts
	Notes     []string      // what a person should know and carrel does nothing about
	Stays     []decide.Stay // workspaces that no spec describes and that are not deleted, by name
	Owned     int           // the workspaces of the set that this host's store has
}

// Change is what is done to one workspace: its steps run in order.
type Change struct {
	Workspace string
	Set       string
	Host      string
	Action    decide.Action
	Cost      decide.Cost
	Reasons   []string
	Fields    []decide.Field
	Steps     []Step

	// Recorded is whether the workspace has a record, or is to have one.
	Recorded bool

	// Previous is what ran before, if the change stops it: what a failed change
	// is rolled back to.
	Previous *Previous

	// After are the workspaces whose changes must have been made before: they give
	// up a port of the host that this one publishes.
	After []string

	// LastError is why the last change of the workspace failed; "" when it did not.
	LastError string

	// First is whether nothing was known of the workspace.
	First bool

	// Regardless is whether the process is started or ended also when the store takes
	// nothing at present: a person asked for just that.
	Regardless bool

	// RenamedFrom is the workspace that becomes this one; "" when none does.
	RenamedFrom string

	// Lost is what was written to the root filesystems that the change deletes, once
	// the plan was told (roots.go).
	Lost []state.Written

	desired  *spec.Workspace
	recorded *state.Record // nil when it has none
	roots    []Root
}

// Source is the file that describes the workspace; "" when none does.
func (c Change) Source() string {
	if c.desired == nil {
		return ""
	}
	return c.desired.Source
}

// Previous is a workspace as it is before a change.
type Previous struct {
	Spec      spec.Workspace
	Image     string    // the name in containerd's image store, by digest
	Digest    string    // of the image
	Discarded time.Time // when its data was put into the trash; zero when it was not
	Running   bool
	NeverRan  bool // as far as is known: its own creation failed
}

// Options are the choices a person has in planning.
type Options = decide.Options

// New compares what is desired with what exists now. Its error is a spec.Errors
// with every reason why the specs cannot be carried out on this host; then there
// is no plan, and nothing is to be changed.
func New(want spec.Set, now state.State, opts Options) (Plan, error) {
	p, errs := Around(want, now, opts)
	if err := errs.Err(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// Around plans what can be planned: a workspace with an error is left as it is,
// and its error is returned.
func Around(want spec.Set, now state.State, opts Options) (Plan, spec.Errors) {
	f := decide.Frame{Set: want, Now: now, Options: opts}
	subjects, owned := decide.Pair(f)
	host := newObserved(f)
	p, errs := lowerAll(f, func(yield func(decide.Decision) bool) {
		for _, s := range subjects {
			if !yield(decide.Decide(f, host.subject(s))) {
				return
			}
		}
	})
	p.Owned = owned
	errs = append(errs, check(f, &p)...)
	return p, errs.Sorted()
}

// lowerAll makes the plan of decisions: those to change something become
// changes, the others are counted. Most plans change little of many workspaces,
// so decisions come one by one, and the world is made for the first change.
func lowerAll(f decide.Frame, decisions iter.Seq[decide.Decision]) (p Plan, errs spec.Errors) {
	p = Plan{Set: f.Set.Name, Host: f.Now.Host}
	var world *World
	for d := range decisions {
		p.Notes = append(p.Notes, d.Notes...)
		if d.Stay != nil {
			p.Stays = append(p.Stays, *d.Stay)
		}
		switch d.Counted {
		case decide.Unchanged:
			p.Unchanged++
		case decide.Elsewhere:
			p.Elsewhere++
		}
		switch {
		case len(d.Errors) > 0:
			for _, err := range d.Errors {
				err.Workspaces = []string{d.Name}
				errs = append(errs, err)
			}
		case d.Action != "":
			if world == nil {
				world = NewWorld(f.Now)
			}
			change, err := lower(f, d, world)
			if err != nil {
				errs = append(errs, spec.Error{Pos: d.Position(), Msg: err.Error(), Workspaces: []string{d.Name}})
				continue
			}
			p.Changes = append(p.Changes, change)
		}
	}
	return p, errs
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Deletes are the workspaces that the plan takes away.
func (p Plan) Deletes() []string { return p.names(Change.Deletes) }

// names are the workspaces of some changes.
func (p Plan) names(of func(Change) bool) []string {
	var names []string
	for _, c := range p.Changes {
		if of(c) {
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

// Losses are the workspaces whose data the plan deletes although nobody has asked for
// just that: such a plan needs a flag of its own.
func (p Plan) Losses() []string {
	return p.names(func(c Change) bool { return c.Cost == decide.CostDataAtRisk && c.Action != decide.ActionDiscard })
}

// Discards are the workspaces whose preserved data the plan deletes. That is all that
// such a plan is for, so that its approval is enough.
func (p Plan) Discards() []string {
	return p.names(func(c Change) bool { return c.Action == decide.ActionDiscard })
}

func byWorkspace(a, b Change) int { return cmp.Compare(a.Workspace, b.Workspace) }

// Only is the plan with the changes that keep chooses, and no others.
func (p Plan) Only(keep func(Change) bool) Plan {
	p.Changes = slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return !keep(c) })
	return p
}

// Deletes reports whether the change takes its workspace away.
func (c Change) Deletes() bool {
	return c.Action == decide.ActionDelete || c.Action == decide.ActionRemoveRecord
}

// Key names what the change is to achieve: it stays the same while the change
// is wanted again and again, whatever its steps are.
func (c Change) Key() string {
	text, err := json.Marshal(struct {
		Workspace string
		Action    decide.Action
		Fields    []decide.Field
		Wish      *spec.Workspace
	}{c.Workspace, c.Action, c.Fields, c.desired})
	if err != nil {
		panic(err) // strings, numbers and lists of them cannot fail to encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Image is the image that the desired spec names; "" when there is none.
func (c Change) Image() string {
	if c.desired == nil {
		return ""
	}
	return c.desired.Image
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
