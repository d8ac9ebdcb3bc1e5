package plan

import (
	"maps"
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// Rollback plans the way back from a change that failed half-way: the previous
// spec is the wish, made from the very image that ran, and the task runs if it
// did before.
func Rollback(failed Change, now state.State) (Change, error) {
	previous := failed.Previous
	now.Images = maps.Clone(now.Images)
	if now.Images == nil {
		now.Images = map[string]state.Image{}
	}
	now.Images[previous.Spec.Image] = state.Image{Name: previous.Image, Digest: previous.Image}
	now.Trash = slices.DeleteFunc(slices.Clone(now.Trash), func(t state.Trashed) bool { return t.Workspace != failed.Workspace })
	p := newPlanner(spec.Set{Name: failed.Set, Workspaces: []spec.Workspace{previous.Spec}}, now, Options{})
	p.back = true
	for _, s := range p.subjects() {
		if s.name == failed.Workspace {
			s.resume = previous.Running
			p.decide(s)
		}
	}
	p.clean()
	plan, err := p.finish()
	if err != nil || len(plan.Changes) == 0 {
		return Change{Workspace: failed.Workspace}, err
	}
	back := plan.Changes[0]
	back.Action, back.Previous = ActionRollback, nil
	return back, nil
}
