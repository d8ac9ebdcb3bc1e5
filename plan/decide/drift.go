package decide

import (
	"fmt"
	"maps"
	"slices"

	"carrel/spec"
)

// drift is how the instance differs from what was applied to it: somebody has
// changed it on the host. A field that the desired spec changes anyway is left out,
// and so are labels that no spec has: they are somebody else's.
func (f Frame) drift(s Subject, applied spec.Workspace) []Field {
	var found fields
	c, want := s.Instance, s.Desired
	if c.Applied != nil { // otherwise carrel has given it no labels yet
		for _, key := range slices.Sorted(maps.Keys(applied.Labels)) {
			if value := applied.Labels[key]; want.Labels[key] == value {
				found.add(CostInPlace, "labels."+key, c.Labels[key], value)
			}
		}
		found.add(CostInPlace, "owner", owner(c.Set, c.Host), owner(f.Set.Name, f.Now.Host))
	}
	if now := c.Task.Limits; now != nil {
		var changed fields
		changed.limits(applied.Resources.Limits, want.Resources.Limits)
		found.limits(*now, want.Resources.Limits)
		found = slices.DeleteFunc(found, func(one Field) bool {
			return slices.ContainsFunc(changed, func(other Field) bool { return other.Path == one.Path })
		})
	}
	for _, d := range c.Drift {
		found.add(CostInPlace, d.Path, d.Now, d.Made)
	}
	for i := range found {
		found[i].Drift = true
	}
	return found
}

// owner is whose an instance says that it is.
func owner(set, host string) string {
	return fmt.Sprintf("set %s on host %s", shown(set), shown(host))
}
