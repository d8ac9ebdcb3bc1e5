package plan

import (
	"cmp"
	"maps"
	"slices"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// Rollback plans the way back from a change that failed half-way: the previous
// spec is desired, made from the very image that ran, and the process runs if it
// did before. Its data returns if this change, or one that was killed before it,
// has discarded that. What else the trash has is not its data.
func Rollback(failed Change, now state.State) (Change, error) {
	previous := failed.Previous
	now.Images = maps.Clone(now.Images)
	if now.Images == nil {
		now.Images = map[string]state.Image{}
	}
	now.Images[previous.Spec.Image] = state.Image{Name: previous.Image, Digest: cmp.Or(previous.Digest, previous.Image), Source: previous.Digest}
	now.Trash = slices.DeleteFunc(slices.Clone(now.Trash), func(t state.Trashed) bool {
		return t.Workspace != failed.Workspace || !t.At.Equal(previous.Discarded)
	})
	want := backTo(failed, now)
	f := decide.Frame{Set: spec.Set{Name: failed.Set, Workspaces: []spec.Workspace{want}}, Now: now, Back: true}
	host := newObserved(f)
	var decisions []decide.Decision
	subjects, _ := decide.Pair(f)
	for _, s := range subjects {
		if s.Name == want.Name {
			s.RunAnyway = previous.Running
			decisions = append(decisions, decide.Decide(f, host.subject(s)))
		}
	}
	p, errs := lowerAll(f, slices.Values(decisions))
	if err := errs.Err(); err != nil || len(p.Changes) == 0 {
		return Change{Workspace: failed.Workspace}, err
	}
	back := p.Changes[0]
	back.Action, back.Previous = decide.ActionRollback, nil
	return back, nil
}

// backTo is the spec that the way back desires. A workspace that was to get another
// name keeps its old one while it still has its container and its data; when its
// data has moved, it goes on under the new name.
func backTo(failed Change, now state.State) spec.Workspace {
	want := failed.Previous.Spec
	if failed.RenamedFrom == "" || want.Name != failed.RenamedFrom {
		return want
	}
	volume := slices.ContainsFunc(now.Volumes, func(v state.Volume) bool { return v.Workspace == want.Name })
	there := slices.ContainsFunc(now.Instances, func(c state.Instance) bool {
		return c.Workspace == want.Name && c.Set == failed.Set && c.Host == now.Host && (volume || c.Volume != now.VolumesDir+"/"+want.Name)
	})
	if !there {
		want.Name, want.RenamedFrom = failed.Workspace, failed.RenamedFrom
	}
	return want
}
